# Who is meant: connections by 4-tuple, listeners by address and port; and which port is free.
# Called by: input, calls, errors.
# RFCs: 9293 section 3.10.7, 6056, 3493 section 3.7.

from libc.stdint cimport uint16_t
from pystack.core.ip.layer cimport IpView
from pystack.core.memory.flow cimport FlowKey
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.wire.address cimport Addr
from pystack.core.wire.tcp cimport TcpSegment

cdef void connection_key(
        FlowKey* key, const Addr* local, uint16_t local_port, const Addr* remote, uint16_t
        remote_port) noexcept nogil
cdef Tcb* connection_find(
        TcpLayer* tcp, const Addr* local, uint16_t local_port, const Addr* remote, uint16_t
        remote_port) noexcept nogil
# There is no connection here; True: the packet was handed on to another shard, which may have it.
cdef bint connection_elsewhere(
        TcpLayer* tcp, const IpView* view, const TcpSegment* seg) noexcept nogil
# The LISTEN TCB for a destination: the exact address, then all addresses of the family, then ::
# without V6ONLY.
cdef Tcb* listener_find(const TcpLayer* tcp, const Addr* local, uint16_t port) noexcept nogil
# The listener that gets a flow, of those that share an address and a port.
cdef Tcb* listener_share(
        const TcpLayer* tcp, Tcb* listener, const Addr* local, const Addr* remote,
        uint16_t remote_port) noexcept nogil
# Into the table of those that have an address and a port, which may be shared: 0, or -1: no memory.
cdef int bound_insert(TcpLayer* tcp, Tcb* tcb) noexcept nogil
cdef void bound_remove(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# May tcb bind to address and port? 0 or -EADDRINUSE.
cdef int bind_conflict(
        const TcpLayer* tcp, const Tcb* tcb, const Addr* address, uint16_t port) noexcept nogil
# An unused port for bind(0), or for a connection whose key lacks only the local port (RFC 6056
# section 3.3); 0: none.
cdef uint16_t port_for_bind(TcpLayer* tcp, const Tcb* tcb, const Addr* address) noexcept nogil
cdef uint16_t port_for_connect(TcpLayer* tcp, const Tcb* tcb, FlowKey* key) noexcept nogil
# May connect() put a new connection in the place of this one?
cdef bint time_wait_is_reusable(const TcpLayer* tcp, const Tcb* old) noexcept nogil
