# Deadline queue, as tests see it.
# Called by: tests/unit/test_deadline, tests/unit/exhaustion.
# RFCs: none.

from libc.stdint cimport int64_t, uint8_t
from pystack.core.memory.deadline cimport (
    DEADLINE_NEVER, DeadlineNode, DeadlineQueue, deadline_first, deadline_of, deadline_pop,
    deadline_queue_release, deadline_register, deadline_set, deadline_unregister,
)

NEVER = DEADLINE_NEVER


cdef class Node:
    """A node at an address of its own. It must outlive its registration."""
    cdef DeadlineNode node

    @property
    def kind(self):
        return self.node.kind


cdef class Queue:
    cdef DeadlineQueue queue

    def __dealloc__(self):
        deadline_queue_release(&self.queue)

    @property
    def count(self):
        return self.queue.count

    @property
    def capacity(self):
        return self.queue.capacity

    @property
    def first(self):
        return deadline_first(&self.queue)

    def register(self, Node node not None, uint8_t kind=0):
        return deadline_register(&self.queue, &node.node, <void*>node, kind)

    def unregister(self, Node node not None):
        deadline_unregister(&self.queue, &node.node)

    def set(self, Node node not None, int64_t when):
        deadline_set(&self.queue, &node.node, when)

    def of(self, Node node not None):
        return deadline_of(&self.queue, &node.node)

    def pop(self, int64_t now):
        cdef DeadlineNode* node = deadline_pop(&self.queue, now)
        return None if node == NULL else <Node>node.owner

    def release(self):
        deadline_queue_release(&self.queue)
