# The datagram layer's interface: UDP sockets and echo ("ping") sockets.
# Called by: stack.
# RFCs: 768, 1122 section 4.1, 8200 section 8.1; Linux's ping sockets (IPPROTO_ICMP, SOCK_DGRAM).

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from pystack.core.endpoint cimport Endpoint
from pystack.core.ip.layer cimport IpLayer, IpSend
from pystack.core.ip.membership_table cimport Membership
from pystack.core.memory.flow cimport FlowKey, FlowTable
from pystack.core.memory.packet cimport PacketQueue
from pystack.core.wire.address cimport Addr

# How a socket speaks to groups, and which it hears.
ctypedef struct MulticastOptions:
    Addr source                 # IP_MULTICAST_IF; unspecified: the stack chooses
    uint8_t ttl                 # IP_MULTICAST_TTL, IPV6_MULTICAST_HOPS; 0: not beyond this stack
    bint loop                   # IP_MULTICAST_LOOP: to members on this stack too
    bint all                    # IP_MULTICAST_ALL: hear groups that others here have joined

# A datagram that is written in pieces; written by cork.pyx.
ctypedef struct Cork:
    IpSend send                 # as its first piece said
    uint16_t port
    uint16_t gso_size
    uint32_t length
    uint32_t room               # bytes at data
    uint8_t* data

ctypedef struct Datagram:
    # Written by udp/.
    Endpoint endpoint           # key: local address or unspecified, port (echo: identifier); remote
    PacketQueue queue           # received; control holds DatagramInfo, data/length are the payload
    uint32_t queue_bytes        # buffers' true size, not payload
    uint32_t dropped            # datagrams that found no room (SO_RXQ_OVFL)
    Addr bound_address          # of bind, or unspecified: what a disconnect returns to
    Datagram* twin              # the next older socket with an equal key (reuse_address)
    Datagram* port_next         # the next with the same port
    Datagram* previous          # all sockets of this layer
    Datagram* next
    Cork* cork                  # NULL: nothing is held back
    Membership* memberships     # in multicast groups, newest first
    uint32_t membership_count
    bint v6                     # AF_INET6; may still speak IPv4, by mapped addresses
    bint bound                  # has a port and is in the tables
    bint port_given             # by bind; a port found at first use goes with a disconnect
    bint connected
    bint shut_read
    bint shut_write
    # Options, written by the stack, as are v6only and marking of the endpoint.
    uint32_t queue_limit        # SO_RCVBUF
    bint reuse_address
    bint broadcast
    bint gro                    # UDP_GRO: trains are delivered whole
    bint corked                 # UDP_CORK
    bint no_checksum            # SO_NO_CHECK: none over IPv4
    bint no_checksum6           # UDP_NO_CHECK6_TX: none over IPv6 (RFC 6935)
    bint zero_checksum6         # UDP_NO_CHECK6_RX: none is taken
    uint16_t port_low           # IP_LOCAL_PORT_RANGE; 0: none
    uint16_t port_high
    MulticastOptions multicast[2]   # to IPv4 groups, to IPv6 groups

ctypedef struct DatagramInfo:
    Addr source
    Addr destination            # the address of ours that it was sent to
    uint16_t source_port
    uint16_t gso_size           # of a train that is delivered whole (UDP_GRO on), else 0
    uint16_t destination_port   # an echo socket's: its identifier
    uint8_t ttl
    uint8_t tos
    uint8_t peeked              # an empty one that MSG_PEEK has told of (SO_PEEK_OFF)
    uint32_t flow_label         # of IPv6
    uint32_t dropped            # by the socket's queue, before this one came
    int64_t received_at         # in the core's time

# The sockets that share a port, whatever their addresses: whom a bind may collide with.
ctypedef struct DatagramPort:
    FlowKey key                 # protocol and local_port alone
    Datagram* first

ctypedef struct UdpLayer:
    IpLayer* ip
    FlowTable sockets           # bound ones, by local (and, if connected, remote) address and port
    FlowTable ports             # of DatagramPort
    Datagram* first             # all that are open
    uint32_t connected_count    # sockets with a peer
    uint32_t address_count      # sockets in the table that are found by a local address
