# The datagram layer's interface: UDP sockets and echo ("ping") sockets.
# Called by: stack.
# RFCs: 768, 1122 section 4.1, 8200 section 8.1; Linux's ping sockets (IPPROTO_ICMP over SOCK_DGRAM).

from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from pystack.core.endpoint cimport Endpoint
from pystack.core.ip.layer cimport IcmpError, IpLayer, IpView
from pystack.core.memory.flow cimport FlowTable
from pystack.core.memory.packet cimport Packet, PacketQueue
from pystack.core.wire.address cimport Addr

ctypedef struct Datagram:
    Endpoint endpoint           # key: local address or unspecified, port (echo: identifier); remote if connected
    PacketQueue queue           # received, control holds DatagramInfo; data/length are the payload
    uint32_t queue_bytes        # buffers' true size, not payload
    uint32_t queue_limit        # SO_RCVBUF
    bint bound
    bint connected
    bint reuse_address
    bint broadcast
    bint shut_read
    bint shut_write
    bint report_errors          # IP_RECVERR

ctypedef struct DatagramInfo:
    Addr source
    Addr destination            # the address of ours that it was sent to
    uint16_t source_port
    uint16_t gso_size           # of a train that is delivered whole (UDP_GRO on), else 0
    uint8_t ttl
    uint8_t tos

ctypedef struct UdpLayer:
    IpLayer* ip
    FlowTable sockets           # bound ones, by local (and, if connected, remote) address and port
