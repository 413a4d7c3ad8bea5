# The IP layer's interface: what transports and the stack see of it, IPv4 and IPv6 alike.
# Called by: udp, tcp, stack.
# RFCs: 791, 1122 section 3, 8200.

from libc.stdint cimport int32_t, uint8_t, uint16_t, uint32_t, uint64_t
from pystack.core.context cimport Context
from pystack.core.endpoint cimport Endpoint, IpMarking
from pystack.core.ip.fragment_table cimport FragmentTable
from pystack.core.ip.identification cimport Identification
from pystack.core.ip.membership_table cimport MembershipTable
from pystack.core.ip.network_list cimport NetworkList
from pystack.core.ip.path_mtu_cache cimport PathMtuCache
from pystack.core.ip.policy_table cimport PolicyTable
from pystack.core.ip.rate_limit cimport RateLimit
from pystack.core.ip.token_bucket cimport TokenBucket
from pystack.core.memory.flow cimport FlowKey, FlowTable
from pystack.core.memory.packet cimport Packet
from pystack.core.wire.address cimport Addr

cdef enum Protocol:
    PROTOCOL_ICMP = 1
    PROTOCOL_IGMP = 2
    PROTOCOL_TCP = 6
    PROTOCOL_UDP = 17
    PROTOCOL_ICMPV6 = 58

# A checked and, if need be, reassembled packet to one of our addresses, or to many hosts of which
# we are one. Transports trust it.
ctypedef struct IpView:
    Addr source
    Addr destination
    Packet* packet
    uint8_t* payload            # transport header
    uint32_t length             # transport header and payload, borrowed bytes never
    uint8_t protocol            # behind all extension headers
    uint8_t ttl
    uint8_t tos
    uint32_t flow_label         # of IPv6
    bint v6
    bint to_many                # to a multicast group or a broadcast address

cdef enum IcmpErrorKind:
    ICMP_ERROR_UNREACHABLE = 1      # net, host, protocol, admin ...: soft for TCP (RFC 5927)
    ICMP_ERROR_PORT_UNREACHABLE = 2
    ICMP_ERROR_TOO_BIG = 3          # mtu says how much fits
    ICMP_ERROR_TIME_EXCEEDED = 4
    ICMP_ERROR_PARAMETER = 5
    ICMP_ERROR_UNKNOWN = 6          # ICMPv6, of a type or code that is not known: soft

# An ICMP error about a packet that claims to be from us; the transport checks that it really sent
# it.
ctypedef struct IcmpError:
    Addr local                  # source of the offending packet
    Addr remote                 # its destination
    Addr reporter               # who sent the error
    const uint8_t* transport    # offending transport header, as far as it was quoted
    uint32_t length             # >= 8
    uint32_t mtu                # with TOO_BIG
    uint32_t info               # what ICMP says beside type and code, as Linux's ee_info
    uint32_t rest               # bytes from transport to the end of the message
    uint32_t extension_at       # from transport to RFC 4884's extensions; 0: there are none
    int32_t error               # errno that Linux gives for it (ECONNREFUSED, EMSGSIZE, ...)
    uint8_t kind                # IcmpErrorKind
    uint8_t protocol
    uint8_t icmp_type           # as on the wire
    uint8_t icmp_code
    uint8_t ttl                 # of the packet that brought the error
    uint8_t tos
    bint v6
    bint extension_invalid

cdef enum IpVerdict:
    IP_TAKEN = 0                # the packet is gone: dropped, answered, mirrored, in reassembly
    IP_TCP = 1                  # view is filled; the caller owns view.packet
    IP_UDP = 2
    IP_ECHO_REPLY = 3           # of either ICMP, verified; view.payload is the ICMP header
    IP_TRANSPORT_ERROR = 4      # error is filled, it points into view.packet, which the caller owns

cdef enum PolicyAction:
    POLICY_ACCEPT = 0           # sockets and services
    POLICY_REFUSE = 1           # RST, port unreachable
    POLICY_DROP = 2
    POLICY_MIRROR = 3

# Where a packet to a multicast group goes.
cdef enum MulticastSend:
    MULTICAST_LOOP = 0x01       # also to members on this stack
    MULTICAST_STAY = 0x02       # not to the device

# What a packet to be sent says about itself.
ctypedef struct IpSend:
    Addr source
    Addr destination
    uint8_t protocol
    uint8_t multicast           # MulticastSend, if the destination is a group
    IpMarking marking

cdef enum:
    ASKED_PACKETS = 8               # of one flow, kept until somebody decides

# A flow that nobody here waits for, until somebody decides what becomes of it.
ctypedef struct AskedFlow:
    FlowKey key                     # first: the flow table holds pointers to it
    AskedFlow* previous             # in the order in which they came
    AskedFlow* next
    uint64_t number                 # no two flows have the same
    uint32_t count
    IpView views[ASKED_PACKETS]     # what it has sent so far; the packets are its own

# Who decides about flows that nobody waits for. Written by ip/doorman.
ctypedef struct Doorman:
    Endpoint endpoint               # READ: there are flows that nobody has looked at
    FlowTable flows
    AskedFlow* first
    AskedFlow* last
    AskedFlow* unseen               # the first that nobody has looked at; all after it are so too
    uint64_t numbers                # given so far
    uint32_t count
    uint32_t limit                  # of flows; the oldest goes for a new one
    bint tcp
    bint udp

# Opaque to transports: its fields belong to the rooms of ip/ that they are named after.
ctypedef struct IpLayer:
    Context* context
    NetworkList networks
    PolicyTable policy
    FragmentTable fragments
    PathMtuCache path_mtus
    Identification identification
    TokenBucket icmp_errors     # that we may still send
    RateLimit icmp_destinations     # the same for each destination
    MembershipTable membership
    Doorman* doorman            # NULL: nobody is asked
