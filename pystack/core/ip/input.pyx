# IP input: a packet's way in: validation, policy for whole addresses, reassembly, delivery.
# Called by: stack; ip_mirror by udp and tcp too.
# RFCs: 791, 1122 section 3.2, 8200.

from libc.stdint cimport uint32_t
from pystack.core.context cimport count, packet_drop
from pystack.core.counters cimport Counter
from pystack.core.ip.fragmentation cimport ip_fragment
from pystack.core.ip.icmp cimport icmp_prohibited, icmp_protocol_unreachable
from pystack.core.ip.icmp_input cimport icmp_input
from pystack.core.ip.ipv4_input cimport ipv4_accept, ipv4_open
from pystack.core.ip.ipv6_input cimport ipv6_accept, ipv6_open
from pystack.core.ip.layer cimport (
    IP_TAKEN, IP_TCP, IP_UDP, IcmpError, IpLayer, IpVerdict, IpView, POLICY_DROP,
    POLICY_MIRROR, POLICY_REFUSE, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_IGMP, PROTOCOL_TCP,
    PROTOCOL_UDP, PolicyAction
)
from pystack.core.ip.membership cimport ip_multicast_accepts
from pystack.core.ip.membership_query cimport igmp_input, mld_input
from pystack.core.ip.mirror cimport mirror_swap
from pystack.core.ip.networks cimport ip_is_local
from pystack.core.ip.policy cimport policy_find, policy_find_whole
from pystack.core.memory.packet cimport GSO_NONE, Packet, packet_push
from pystack.core.memory.random cimport random_next
from pystack.core.wire.bytes cimport load16
from pystack.core.wire.icmp cimport (
    ICMP4_ECHO, ICMP4_ECHO_REPLY, ICMP6_ECHO, ICMP6_ECHO_REPLY
)
from pystack.core.wire.ipv4 cimport IPV4_DF

cdef enum:
    FRAGMENT_FIELD_AT = 6       # in the IPv4 header


cdef IpVerdict drop(IpLayer* ip, IpView* view, Counter reason) noexcept nogil:
    packet_drop(ip.context, view.packet, reason)
    return IP_TAKEN


cdef bint must_be_cut(IpLayer* ip, const Packet* packet) noexcept nogil:
    """What came whole leaves whole; what was reassembled here may be too large for the device."""
    if packet.gso != GSO_NONE or packet.length <= ip.context.mtu:
        return False
    return packet.data[0] >> 4 == 6 or not load16(packet.data + FRAGMENT_FIELD_AT) & IPV4_DF


cdef void ip_mirror(IpLayer* ip, IpView* view) noexcept nogil:
    """Write a packet or train back with its addresses swapped; its offload metadata stays true."""
    cdef Packet* packet = view.packet
    # Two of our addresses would mirror each other for ever.
    if ip_is_local(ip, &view.source):
        drop(ip, view, Counter.IP_DROP_BAD_SOURCE)
        return
    mirror_swap(packet)
    count(ip.context, Counter.IP_MIRRORED)
    if must_be_cut(ip, packet):
        ip_fragment(ip, packet, ip.context.mtu, <uint32_t>random_next(&ip.context.random))
        return
    packet_push(&ip.context.tx, packet)


cdef bint is_echo_request(const IpView* view) noexcept nogil:
    cdef int kind = ICMP6_ECHO if view.v6 else <int>ICMP4_ECHO
    return view.length > 0 and view.payload[0] == kind


cdef bint is_echo_reply(const IpView* view) noexcept nogil:
    cdef int kind = ICMP6_ECHO_REPLY if view.v6 else <int>ICMP4_ECHO_REPLY
    return view.length > 0 and view.payload[0] == kind


cdef bint policy_takes_whole(IpLayer* ip, IpView* view) noexcept nogil:
    """Apply rules about everything at an address, to fragments as they are."""
    cdef PolicyAction action
    if ip.policy.length_count == 0:
        return False
    action = policy_find_whole(ip, &view.destination)
    if action == POLICY_MIRROR:
        ip_mirror(ip, view)
        return True
    if action == POLICY_DROP:
        drop(ip, view, Counter.IP_DROP_BY_POLICY)
        return True
    return False


cdef bint policy_takes(IpLayer* ip, IpView* view) noexcept nogil:
    """Apply the rules about a protocol that has no ports.

    Refused is what asks for something: an echo reply or an error doesn't.
    """
    cdef PolicyAction action = policy_find(ip, &view.destination, view.protocol, 0, NULL)
    if action == POLICY_MIRROR:
        ip_mirror(ip, view)
        return True
    if action == POLICY_DROP:
        drop(ip, view, Counter.IP_DROP_BY_POLICY)
        return True
    if action == POLICY_REFUSE and is_echo_request(view):
        icmp_prohibited(ip, view)
        drop(ip, view, Counter.IP_DROP_BY_POLICY)
        return True
    return False


cdef IpVerdict icmp_deliver(IpLayer* ip, IpView* view, IcmpError* error) noexcept nogil:
    """ICMP of the packet's family: echo by policy, errors to those whom they concern."""
    if is_echo_request(view) or is_echo_reply(view):
        if policy_takes(ip, view):
            return IP_TAKEN
    return icmp_input(ip, view, error)


cdef IpVerdict unknown_deliver(IpLayer* ip, IpView* view) noexcept nogil:
    """A protocol that is not spoken here."""
    cdef PolicyAction action = policy_find(ip, &view.destination, view.protocol, 0, NULL)
    if action == POLICY_MIRROR:
        ip_mirror(ip, view)
        return IP_TAKEN
    if action == POLICY_DROP:
        return drop(ip, view, Counter.IP_DROP_BY_POLICY)
    icmp_protocol_unreachable(ip, view)
    return drop(ip, view, Counter.IP_DROP_UNKNOWN_PROTOCOL)


cdef IpVerdict many_deliver(IpLayer* ip, IpView* view) noexcept nogil:
    """A packet to a group or to all: nothing that answers (RFC 1122 sections 3.2.2 and 4.2.3.10).

    UDP, and what is said about groups; the address policy is about our own addresses.
    """
    if not (ipv6_open(ip, view) if view.v6 else ipv4_open(ip, view)):
        return IP_TAKEN
    if view.protocol == PROTOCOL_UDP:
        if view.v6 and not ip_multicast_accepts(ip, &view.destination, &view.source):
            return drop(ip, view, Counter.IP_DROP_BROADCAST_OR_MULTICAST)
        return IP_UDP
    if view.v6 and view.protocol == PROTOCOL_ICMPV6:
        return mld_input(ip, view)
    if not view.v6 and view.protocol == PROTOCOL_IGMP:
        return igmp_input(ip, view)
    return drop(ip, view, Counter.IP_DROP_BROADCAST_OR_MULTICAST)


cdef IpVerdict ip_input(
    IpLayer* ip, Packet* packet, IpView* view, IcmpError* error
) noexcept nogil:
    """Take a packet whose data begins at the IP header; say whose it is."""
    cdef bint v6 = packet.length > 0 and packet.data[0] >> 4 == 6
    if not (ipv6_accept(ip, packet, view) if v6 else ipv4_accept(ip, packet, view)):
        return IP_TAKEN
    if view.to_many:
        return many_deliver(ip, view)
    if policy_takes_whole(ip, view):
        return IP_TAKEN
    if not (ipv6_open(ip, view) if v6 else ipv4_open(ip, view)):
        return IP_TAKEN
    if view.protocol == PROTOCOL_TCP:
        return IP_TCP
    if view.protocol == PROTOCOL_UDP:
        return IP_UDP
    if view.protocol == (PROTOCOL_ICMPV6 if v6 else PROTOCOL_ICMP):
        return icmp_deliver(ip, view, error)
    if view.protocol == PROTOCOL_IGMP and not v6:
        return igmp_input(ip, view)
    return unknown_deliver(ip, view)
