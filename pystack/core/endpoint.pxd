# Endpoint: what a connection (or a listener) and a datagram socket have in common, so that one
# table finds them
# and one ready list reports them.
# Called by: udp and tcp, which embed it as their first member; stack, which drains the ready list.
# RFCs: none.

from libc.stdint cimport int16_t, uint8_t, uint32_t
from pystack.core.error_queue cimport ErrorQueue
from pystack.core.memory.flow cimport FlowKey

cdef enum EndpointKind:
    ENDPOINT_TCP = 1            # tcp/layer: Tcb
    ENDPOINT_DATAGRAM = 2       # udp/layer: Datagram
    ENDPOINT_DOORMAN = 3        # ip/layer: Doorman
    ENDPOINT_GONE = 4           # of which nothing is left but its place in a ready list

cdef enum Ready:
    READY_READ = 0x01           # data, end of stream, or a connection to accept
    READY_WRITE = 0x02          # room to send; or connect has succeeded
    READY_ERROR = 0x04          # `error` was set
    READY_HANGUP = 0x08         # both directions are over
    READY_END = 0x10            # the peer sends nothing more; only asked for (poll), never notified
    READY_LITTLE = 0x20         # data, but less than READ asks for; notified, never of poll
    READY_URGENT = 0x40         # urgent text, come or on its way, that was not read yet

cdef enum Service:
    SERVICE_NONE = 0
    SERVICE_ECHO = 1            # RFC 862
    SERVICE_DISCARD = 2         # RFC 863
    SERVICE_CHARGEN = 3         # RFC 864

cdef enum MtuDiscover:
    MTU_DISCOVER_DONT = 0       # IP_PMTUDISC_DONT: fragment, DF clear
    # IP_PMTUDISC_WANT: follow the path MTU, fragment what is larger (UDP), DF otherwise
    MTU_DISCOVER_WANT = 1
    MTU_DISCOVER_DO = 2         # IP_PMTUDISC_DO: never fragment; EMSGSIZE

# What few endpoints are asked for.
cdef enum Manner:
    MANNER_FREE_BIND = 0x01     # IP_FREEBIND: bind to addresses that are not ours
    MANNER_TRANSPARENT = 0x02   # IP_TRANSPARENT: and speak from them
    MANNER_REUSE_PORT = 0x04    # SO_REUSEPORT
    MANNER_NO_LABEL = 0x08      # IPV6_AUTOFLOWLABEL off
    MANNER_OWN_LABEL = 0x10     # the application has chosen the flow label (IPV6_FLOWINFO_SEND)
    MANNER_REPORT_ERRORS = 0x20         # IP_RECVERR
    MANNER_REPORT_EXTENSIONS = 0x40     # IP_RECVERR_RFC4884

# How an endpoint wants its packets marked.
ctypedef struct IpMarking:
    uint32_t flow_label         # IPv6, 20 bits (RFC 6437 section 3); 0: none
    uint8_t ttl                 # 0: the stack's default (IPv6: hop limit)
    uint8_t tos                 # DSCP and ECN bits (IPv6: traffic class)
    uint8_t mtu_discover        # MtuDiscover

ctypedef struct Endpoint:
    FlowKey key                 # first: the flow table holds pointers to it
    Endpoint* ready_next        # ready list link; stack only
    void* owner                 # the handle of the layer above, NULL when nobody holds it (orphan)
    ErrorQueue* errors          # made by the first error that is reported (IP_RECVERR)
    # pending error (errno, positive), taken by SO_ERROR or the next call
    int16_t error
    uint8_t kind                # EndpointKind
    uint8_t ready               # Ready bits gathered since the driver last took them
    uint8_t listed              # on a ready list
    uint8_t service             # Service: answered inside the core; never given to the driver
    uint8_t v6only
    uint8_t manners             # Manner, written by the engine's options
    IpMarking marking

ctypedef struct ReadyList:
    Endpoint* first
    Endpoint* last
