# Datagrams in: to the socket that they are for, or port unreachable.
# Called by: stack.
# RFCs: 768, 1122 section 4.1, 8200 section 8.1.

from pystack.core.ip.layer cimport AskedFlow, IpView
from pystack.core.udp.layer cimport Datagram, UdpLayer

# Takes view.packet. A UDP datagram or train; an echo reply.
cdef void udp_input(UdpLayer* udp, IpView* view) noexcept nogil
# A flow that nobody waits for, after somebody has decided: see core/ip/doorman.
cdef Datagram* udp_admit(UdpLayer* udp, AskedFlow* asked) noexcept nogil
cdef void udp_turn_away(UdpLayer* udp, AskedFlow* asked) noexcept nogil
cdef void echo_input(UdpLayer* udp, IpView* view) noexcept nogil
