# IP fragmentation: a packet that is too large for the path leaves in pieces.
# Called by: output; input, for what it mirrors.
# RFCs: 791 section 3.2, 8200 section 4.5.

from libc.stdint cimport uint32_t
from pystack.core.ip.layer cimport IpLayer
from pystack.core.memory.packet cimport Packet

# Takes a whole packet (data at an IP header without options or extension headers, no train), sends
# its fragments. id: of an IPv6 packet; IPv4 has it in its header. 0, -EMSGSIZE (mtu too small for
# any), -ENOMEM: nothing is sent.
cdef int ip_fragment(IpLayer* ip, Packet* packet, uint32_t mtu, uint32_t id) noexcept nogil
# Complete the checksum of a CSUM_PARTIAL packet without borrowed bytes. -1: its offsets lead out of
# the packet.
cdef int packet_complete_checksum(Packet* packet) noexcept nogil
