# Snapshot: what sockets and connections a stack has, as far as a person wants to see them.
# Called by: pystack.stack.
# RFCs: none; the fields are those of ss(8).

from libc.stdint cimport int64_t, uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from pystack.core.endpoint cimport ENDPOINT_TCP, Endpoint
from pystack.core.memory.flow cimport FlowKey, FlowTable, flow_next
from pystack.core.tcp.layer cimport STATE_LISTEN, Tcb
from pystack.core.udp.layer cimport Datagram
from pystack.engine.endpoint cimport addr_bytes
from pystack.engine.engine cimport Engine
from pystack.engine.errors cimport check

STATES = (
    "CLOSED", "LISTEN", "SYN-SENT", "SYN-RECEIVED", "ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2",
    "CLOSE-WAIT", "CLOSING", "LAST-ACK", "TIME-WAIT",
)

ctypedef struct Item:
    FlowKey key
    bint tcp
    uint8_t state
    bint held
    uint8_t service
    uint32_t receive_queue
    uint32_t send_queue
    uint32_t cwnd
    int64_t srtt

ctypedef struct Items:
    Item* items
    size_t count
    size_t room


cdef void add(Items* items, const Endpoint* endpoint) noexcept nogil:
    cdef Item* item = &items.items[items.count]
    cdef const Tcb* tcb = <const Tcb*>endpoint
    items.count += 1
    item.key = endpoint.key
    item.service = endpoint.service
    item.held = endpoint.owner != NULL
    item.tcp = endpoint.kind == ENDPOINT_TCP
    item.state = 0
    item.send_queue = item.cwnd = 0
    item.srtt = 0
    if not item.tcp:
        item.receive_queue = (<const Datagram*>endpoint).queue.count
        return
    item.state = tcb.state
    if tcb.state == STATE_LISTEN:
        item.receive_queue = tcb.backlog.accept.count
        return
    item.receive_queue = tcb.receive_ring.length
    item.send_queue = tcb.send_ring.length
    item.cwnd = tcb.congestion.cwnd
    item.srtt = tcb.rtt.srtt


cdef void add_table(Items* items, const FlowTable* table) noexcept nogil:
    """TCBs of a table until there is no more room."""
    cdef uint32_t cursor = 0
    cdef FlowKey* key = flow_next(table, &cursor) if items.count < items.room else NULL
    while key != NULL:
        add(items, <const Endpoint*>key)
        key = flow_next(table, &cursor) if items.count < items.room else NULL


cdef void add_datagrams(Items* items, const Datagram* socket) noexcept nogil:
    while socket != NULL and items.count < items.room:
        add(items, &socket.endpoint)
        socket = socket.next


cdef tuple as_tuple(const Item* item):
    return (
        item.key.protocol,
        addr_bytes(&item.key.local), item.key.local_port,
        addr_bytes(&item.key.remote), item.key.remote_port,
        STATES[item.state] if item.tcp else "",
        item.receive_queue, item.send_queue, bool(item.held), item.service,
        item.cwnd, item.srtt,
    )


def connections(Engine engine, Py_ssize_t limit):
    """Up to `limit` of what there is: listeners, connections, datagram sockets, as tuples."""
    cdef Items items
    cdef size_t i
    cdef int code
    if limit <= 0:
        return []
    items.count = 0
    items.room = limit
    items.items = <Item*>malloc(items.room * sizeof(Item))
    if items.items == NULL:
        raise MemoryError
    try:
        with nogil:
            code = engine.enter()
            if code == 0:
                add_table(&items, &engine.core.tcp.bound)
                add_table(&items, &engine.core.tcp.connections)
                add_datagrams(&items, engine.core.udp.first)
                engine.leave(NULL)
        check(code)
        return [as_tuple(&items.items[i]) for i in range(items.count)]
    finally:
        free(items.items)
