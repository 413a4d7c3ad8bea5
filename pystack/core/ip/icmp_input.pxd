# ICMP input: echo, and the errors that others send us.
# Called by: ip input.
# RFCs: 792, 1122 section 3.2.2, 1191, 4443, 4884, 6633, 6918.

from pystack.core.ip.layer cimport IcmpError, IpLayer, IpVerdict, IpView

# Takes view.packet, an ICMP or ICMPv6 message of the packet's family, unless the verdict is
# IP_ECHO_REPLY or IP_TRANSPORT_ERROR.
cdef IpVerdict icmp_input(IpLayer* ip, IpView* view, IcmpError* error) noexcept nogil
