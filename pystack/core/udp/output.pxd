# Datagrams out: header, checksum, trains; echo requests.
# Called by: udp/datagram.
# RFCs: 768, 1122 section 4.1, 8200 section 8.1, 792, 4443 section 4.1.

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from pystack.core.ip.layer cimport IpSend
from pystack.core.udp.layer cimport Datagram, UdpLayer

# Bytes of payload that one datagram can have.
cdef uint32_t udp_limit(const IpSend* send) noexcept nogil
# Both return the length of the data, or a negative errno. `send` says from whom and to whom.
# gso_size: 0, or the payload of each of the datagrams that data is cut into.
cdef int64_t udp_output(
    UdpLayer* udp, const Datagram* socket, const IpSend* send, uint16_t port,
    const uint8_t* data, size_t length, uint16_t gso_size
) noexcept nogil
# data: a whole ICMP message, whose identifier and checksum are overwritten.
cdef int64_t echo_output(
    UdpLayer* udp, const IpSend* send, uint16_t identifier, const uint8_t* data, size_t length
) noexcept nogil
# Whether data is a message that an echo socket may send.
cdef bint echo_is_request(uint8_t protocol, const uint8_t* data, size_t length) noexcept nogil
