"""The deadline queue against a dict from node to (time, order of setting)."""

from __future__ import annotations

import random

import pytest
from effort import some
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from native.deadline import NEVER, Node, Queue

# Few values, so that equal times are frequent.
times = st.one_of(st.integers(-3, 12), st.sampled_from([NEVER, NEVER - 1, -(1 << 63)]))


class DeadlineMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.queue = Queue()
        self.nodes: list[Node] = []
        self.due: dict[Node, tuple[int, int]] = {}
        self.sets = 0

    def pick(self, data):
        return self.nodes[data.draw(st.integers(0, len(self.nodes) - 1), label="node")]

    @rule(count=st.integers(1, 12))
    def register(self, count):
        fresh = [Node() for _ in range(count)]
        for node in fresh:
            assert self.queue.register(node) == 0
        self.nodes += fresh

    @precondition(lambda self: self.nodes)
    @rule(data=st.data())
    def unregister(self, data):
        node = self.pick(data)
        self.nodes.remove(node)
        self.due.pop(node, None)
        self.queue.unregister(node)

    @precondition(lambda self: self.nodes)
    @rule()
    def unregister_most(self):
        for node in self.nodes[1:]:
            self.due.pop(node, None)
            self.queue.unregister(node)
        del self.nodes[1:]

    @precondition(lambda self: self.nodes)
    @rule(data=st.data(), when=times)
    def set(self, data, when):
        self.set_one(self.pick(data), when)

    @precondition(lambda self: self.nodes)
    @rule(whens=st.lists(times, min_size=1, max_size=40))
    def set_many(self, whens):
        for i, when in enumerate(whens):
            self.set_one(self.nodes[i * 7 % len(self.nodes)], when)

    def set_one(self, node, when):
        self.queue.set(node, when)
        if when == NEVER:
            self.due.pop(node, None)
        elif node not in self.due or self.due[node][0] != when:
            self.sets += 1
            self.due[node] = (when, self.sets)

    @rule(now=times)
    def pop_all_due(self, now):
        expected = sorted((n for n in self.due if self.due[n][0] <= now), key=self.due.get)
        popped = []
        while (node := self.queue.pop(now)) is not None:
            popped.append(node)
            del self.due[node]
        assert popped == expected

    @rule()
    def release(self):
        self.queue.release()
        self.nodes = []
        self.due = {}
        assert self.queue.capacity == 0

    @invariant()
    def each_node_has_its_time(self):
        for node in self.nodes:
            assert self.queue.of(node) == self.due.get(node, (NEVER, 0))[0]

    @invariant()
    def the_first_is_the_earliest(self):
        assert self.queue.first == min((when for when, _ in self.due.values()), default=NEVER)
        assert self.queue.count == len(self.due)

    @invariant()
    def memory_follows_the_registered(self):
        assert self.queue.capacity >= len(self.nodes)
        assert self.queue.capacity <= max(16, 8 * len(self.nodes))


TestDeadline = DeadlineMachine.TestCase
TestDeadline.settings = settings(max_examples=some(40), stateful_step_count=40, deadline=None)


@pytest.fixture
def queue():
    return Queue()


def registered(queue, count):
    nodes = [Node() for _ in range(count)]
    for node in nodes:
        assert queue.register(node) == 0
    return nodes


def test_an_empty_queue_is_due_never(queue):
    assert queue.first == NEVER == (1 << 63) - 1
    assert queue.pop(NEVER) is None


def test_a_registered_node_is_not_queued_and_knows_its_owner(queue):
    node = Node()
    queue.register(node, 7)
    assert queue.of(node) == NEVER
    assert node.kind == 7
    queue.set(node, 5)
    assert queue.pop(4) is None
    assert queue.pop(5) is node
    assert queue.of(node) == NEVER


def test_of_equal_times_the_first_set_is_the_first_due(queue):
    nodes = registered(queue, 100)
    for node in nodes:
        queue.set(node, 1)
    assert [queue.pop(1) for _ in nodes] == nodes


def test_a_node_that_is_moved_goes_behind_its_equals_and_one_set_again_does_not(queue):
    a, b, c = registered(queue, 3)
    for node in (a, b, c):
        queue.set(node, 10)
    queue.set(b, 10)
    queue.set(a, 20)
    queue.set(a, 10)
    assert [queue.pop(10) for _ in range(3)] == [b, c, a]


def test_a_large_heap_stays_in_order_when_nodes_are_taken_out_of_its_middle(queue):
    """What fills the gap comes from another branch, and may have to rise."""
    chance = random.Random(1)
    nodes = registered(queue, 500)
    for node in nodes:
        queue.set(node, chance.randrange(10_000))
    for node in chance.sample(nodes, 250):
        queue.set(node, NEVER)
    times = []
    while queue.first != NEVER:
        times.append(queue.first)
        queue.pop(NEVER)
    assert len(times) == 250
    assert times == sorted(times)


def test_the_memory_of_a_flood_returns(queue):
    nodes = registered(queue, 10_000)
    for i, node in enumerate(nodes):
        queue.set(node, i * 7919 % 10_007)
    for node in nodes[:-2]:
        queue.unregister(node)
    assert queue.capacity == 16
    assert sorted([queue.pop(NEVER), queue.pop(NEVER)], key=nodes.index) == nodes[-2:]
