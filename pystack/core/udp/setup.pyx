# UDP setup: makes and releases the datagram layer.
# Called by: stack.
# RFCs: none.

from libc.string cimport memset
from pystack.core.ip.layer cimport IpLayer
from pystack.core.memory.flow cimport flow_table_init, flow_table_release
from pystack.core.udp.datagram cimport datagram_close
from pystack.core.udp.layer cimport UdpLayer


cdef void udp_init(UdpLayer* udp, IpLayer* ip) noexcept nogil:
    """Make a layer without sockets; the context's secret must have been set."""
    memset(udp, 0, sizeof(UdpLayer))
    udp.ip = ip
    flow_table_init(&udp.sockets, ip.context.secret)
    flow_table_init(&udp.ports, ip.context.secret)


cdef void udp_release(UdpLayer* udp) noexcept nogil:
    """Close every socket that is still open and free the tables."""
    while udp.first != NULL:
        datagram_close(udp, udp.first)
    flow_table_release(&udp.sockets)
    flow_table_release(&udp.ports)
