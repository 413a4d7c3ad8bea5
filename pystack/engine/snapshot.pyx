# Snapshot: what connections a stack has, as far as a person wants to see them.
# Called by: pystack.stack.
# RFCs: none; the fields are those of ss(8).

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from pystack.core.memory.flow cimport FlowKey, flow_next
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.engine.endpoint cimport addr_bytes
from pystack.engine.engine cimport Engine
from pystack.engine.errors cimport check

STATES = (
    "CLOSED", "LISTEN", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2",
    "CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT",
)

ctypedef struct Item:
    FlowKey key
    uint8_t state
    bint held
    uint32_t receive_queue
    uint32_t send_queue
    uint32_t cwnd
    int64_t srtt


cdef Py_ssize_t fill(const TcpLayer* tcp, Item* items, Py_ssize_t room) noexcept nogil:
    """Describe up to `room` connections; how many were."""
    cdef uint32_t cursor = 0
    cdef Py_ssize_t count = 0
    cdef FlowKey* key = flow_next(&tcp.connections, &cursor)
    cdef const Tcb* tcb
    while key != NULL and count < room:
        tcb = <const Tcb*>key
        items[count].key = key[0]
        items[count].state = tcb.state
        items[count].held = tcb.held
        items[count].receive_queue = tcb.busy.received.length
        items[count].send_queue = tcb.busy.send_ring.length
        items[count].cwnd = tcb.congestion.cwnd
        items[count].srtt = tcb.rtt.srtt
        count += 1
        key = flow_next(&tcp.connections, &cursor)
    return count


cdef tuple as_tuple(const Item* item):
    return (
        addr_bytes(&item.key.local), item.key.local_port,
        addr_bytes(&item.key.remote), item.key.remote_port,
        STATES[item.state], bool(item.held),
        item.receive_queue, item.send_queue, item.cwnd, item.srtt,
    )


def connections(Engine engine, Py_ssize_t limit):
    """Up to `limit` TCP connections, in no order, as tuples."""
    cdef Item* items
    cdef Py_ssize_t i, count = 0
    cdef int code
    with nogil:
        code = engine.enter()
        if code == 0:
            limit = min(limit, <Py_ssize_t>engine.core.tcp.connections.count)
            engine.leave(NULL)
    check(code)
    if limit <= 0:
        return []
    items = <Item*>malloc(limit * sizeof(Item))
    if items == NULL:
        raise MemoryError
    try:
        with nogil:
            code = engine.enter()
            if code == 0:
                count = fill(&engine.core.tcp, items, limit)
                engine.leave(NULL)
        check(code)
        return [as_tuple(&items[i]) for i in range(count)]
    finally:
        free(items)
