"""What comes in is validated first; what is wrong with it is dropped under its name."""

from __future__ import annotations

import struct

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from native import ip
from scenario.ip_wire import (
    DESTINATION,
    FAMILIES,
    FRAGMENT,
    HOP_BY_HOP,
    IPV4,
    IPV6,
    NO_NEXT,
    ROUTING,
    TCP,
    UDP,
    echo,
    family_name,
    fragment_header,
    icmp,
    options_header,
    packet,
    read_icmp,
    routing_header,
    running_host,
    udp,
)

both = pytest.mark.parametrize("family", FAMILIES, ids=family_name)
PAD = options_header(b"")


@pytest.fixture
def host():
    with running_host() as running:
        yield running


def dropped(host, data, **metadata):
    """Hand in a packet that nobody may get; return the name under which it was dropped."""
    before = host.counters
    assert host.receive(data, **metadata) is None
    after = host.counters
    names = [name for name in after if after[name] != before.get(name, 0)]
    reasons = [name for name in names if name.startswith("ip_drop") or "_ignored_" in name]
    assert len(reasons) == 1, names
    return reasons[0].removeprefix("ip_drop_").removeprefix("ip_")


def problem(host):
    """The one Parameter Problem that was sent: code, pointer, quoted packet."""
    (sent,) = host.transmit()
    message = read_icmp(sent.data)
    assert (message.source, message.type) == (IPV6.ours, 4)
    return message.code, message.word, message.data


# What is good


@both
def test_a_packet_to_any_of_our_addresses_reaches_its_transport(host, family):
    """RFC 1122 section 3.2.1: version, lengths, checksum, addresses; then by protocol."""
    data = packet(family, UDP, udp(b"hello"), tos=0xB8, **ttl(family, 3))
    got = host.receive(data)
    assert got == ip.Delivered(
        "udp", family.peer, family.ours, UDP, data[family.header_length :], 3, 0xB8, 0, 0
    )
    assert host.receive(packet(family, TCP, dpkt.tcp.TCP(dport=80))).to == "tcp"
    assert host.transmit() == []


def ttl(family, value):
    return {"hop_limit" if family.v6 else "ttl": value}


@both
def test_the_ttl_of_a_packet_to_us_is_not_judged(host, family):
    """RFC 1122 section 3.2.1.7: no packet is discarded just because its TTL is below 2."""
    assert host.receive(packet(family, UDP, udp(), **ttl(family, 0))).ttl == 0


@both
def test_what_a_link_pads_is_cut_off(host, family):
    """RFC 894: the packet ends where its length field says."""
    assert len(host.receive(packet(family, UDP, udp(b"hello")) + bytes(20)).payload) == 13


@both
def test_a_train_is_one_large_packet(host, family):
    """Offload metadata travels with it: who is on this machine is trusted to add up."""
    segments = dpkt.tcp.TCP(dport=80, data=bytes(60000), sum=0xBAD)
    data = packet(family, TCP, bytes(segments))
    gso = ip.GSO_TCP6 if family.v6 else ip.GSO_TCP4
    got = host.receive(
        data, csum=ip.CSUM_PARTIAL, csum_start=family.header_length, csum_offset=16, gso=gso,
        gso_size=1448,
    )  # fmt: skip
    assert (got.to, len(got.payload), got.csum, got.gso_size) == (
        "tcp", 60020, ip.CSUM_PARTIAL, 1448,
    )  # fmt: skip


# What is not well-formed


@both
def test_a_packet_that_is_cut_short_is_dropped(host, family):
    """RFC 1122 section 3.2.1.2, RFC 8200 section 3."""
    good = packet(family, UDP, udp(b"hello"))
    assert dropped(host, b"") == "too_short"
    assert dropped(host, good[:1]) == "too_short"
    assert dropped(host, good[: family.header_length - 1]) == "too_short"
    assert dropped(host, good[:-1]) == "bad_total_length"


@pytest.mark.parametrize("version", [0, 5, 7, 15])
def test_an_unknown_version_is_dropped(host, version):
    """RFC 1122 section 3.2.1.1."""
    data = packet(IPV4, UDP, udp())
    assert dropped(host, bytes([version << 4 | 5]) + data[1:]) == "bad_version"


def test_ipv4_header_faults_have_names(host):
    """RFC 1122 section 3.2.1.2: the checksum is verified whatever the device says."""
    good = packet(IPV4, UDP, udp())
    assert dropped(host, b"\x44" + good[1:]) == "bad_header_length"
    assert dropped(host, b"\x4f" + good[1:]) == "bad_header_length"
    assert dropped(host, good[:2] + b"\0\x13" + good[4:]) == "bad_total_length"
    bad = good[:10] + bytes([good[10] ^ 0x10]) + good[11:]
    assert dropped(host, bad) == "bad_checksum"
    assert dropped(host, bad, csum=ip.CSUM_VERIFIED) == "bad_checksum"


# Addresses


@pytest.mark.parametrize(
    "source",
    ["0.0.0.0", "0.1.2.3", "127.0.0.1", "224.0.0.1", "239.1.1.1", "255.255.255.255",
     "10.3.0.0", "10.3.0.255", "10.3.0.77"],
)  # fmt: skip
def test_an_ipv4_source_that_is_no_hosts_address_is_dropped(host, source):
    """RFC 1122 section 3.2.1.3; RFC 1812 section 5.3.7; ours come by the loop queue only."""
    assert dropped(host, packet(IPV4, UDP, udp(), source=source)) == "bad_source"


@pytest.mark.parametrize("source", ["::", "::1", "ff02::1", "::ffff:192.0.2.7", "fd03::77"])
def test_an_ipv6_source_that_is_no_hosts_address_is_dropped(host, source):
    """RFC 4291 sections 2.5.2, 2.5.3, 2.7 and 2.5.5.2: mapped addresses are never on a wire."""
    assert dropped(host, packet(IPV6, UDP, udp(), source=source)) == "bad_source"


@both
def test_the_excluded_address_is_a_good_source(host, family):
    """The kernel's end of a TUN lies in the network too."""
    assert host.receive(packet(family, UDP, udp(), source=family.excluded)).to == "udp"


@both
def test_our_own_packets_come_back_by_the_loop_queue(host, family):
    assert host.send(family.second, family.ours, UDP, bytes(udp(b"hello"))) == 0
    (got,) = host.loop()
    assert (got.to, got.source, got.destination) == ("udp", family.second, family.ours)
    assert host.transmit() == []


@pytest.mark.parametrize(
    "destination", ["10.4.0.1", "10.3.0.1", "192.0.2.1", "127.0.0.1", "0.0.0.0"]
)
def test_an_ipv4_packet_to_somebody_else_is_dropped(host, destination):
    """RFC 1122 section 3.2.1.3: a host is no router; no error is sent."""
    assert dropped(host, packet(IPV4, UDP, udp(), destination=destination)) == "not_our_address"
    assert host.transmit() == []


@pytest.mark.parametrize("destination", ["fd04::5", "fd03::1", "::", "::1", "::ffff:10.3.0.5"])
def test_an_ipv6_packet_to_somebody_else_is_dropped(host, destination):
    assert dropped(host, packet(IPV6, UDP, udp(), destination=destination)) == "not_our_address"
    assert host.transmit() == []


@pytest.mark.parametrize("destination", ["255.255.255.255", "10.3.0.255", "10.3.0.0", "224.0.0.9"])
@pytest.mark.parametrize("protocol", [TCP, 1, 99])
def test_broadcast_and_multicast_never_reach_a_transport_that_answers(host, destination, protocol):
    """RFC 1122 sections 3.2.2.6, 4.2.3.10; RFC 919, 922: no answer, no error."""
    data = echo(IPV4) if protocol == 1 else bytes(udp(bytes(12)))
    data = packet(IPV4, protocol, data, destination=destination)
    assert dropped(host, data) == "broadcast_or_multicast"
    assert host.transmit() == []


@pytest.mark.parametrize(
    ("family", "protocol", "payload", "destination", "source"),
    [
        (IPV4, 2, b"\x22\0\xdd\xff" + bytes(4), "224.0.0.22", "0.0.0.0"),  # IGMPv3 report
        (IPV4, UDP, bytes(udp(port=5353)), "224.0.0.251", "10.3.0.1"),  # mDNS
        (IPV4, UDP, bytes(udp(port=5355)), "224.0.0.252", "10.3.0.1"),  # LLMNR
        (IPV4, 1, icmp(IPV4, 10, 0, 0), "224.0.0.2", "10.3.0.1"),  # router solicitation
        (IPV6, 58, icmp(IPV6, 133, 0, 0), "ff02::2", "fe80::1"),
        (IPV6, 58, icmp(IPV6, 135, 0, 0, bytes(16)), "ff02::1:ff00:1", "::"),  # DAD
        (IPV6, 58, icmp(IPV6, 143, 0, 0), "ff02::16", "::"),  # MLDv2 report
        (IPV6, UDP, bytes(udp(port=5353)), "ff02::fb", "fe80::1"),
    ],
)
def test_what_a_kernel_says_on_a_new_interface_is_passed_over(
    host, family, protocol, payload, destination, source
):
    """Counted apart from what might be worth a look."""
    data = packet(family, protocol, payload, source=source, destination=destination)
    assert dropped(host, data) == "ignored_multicast_control"
    if family.v6:
        alert = [(HOP_BY_HOP, options_header(b"\5\2\0\0"))]
        data = packet(
            family, protocol, payload, source=source, destination=destination, extensions=alert
        )
        assert dropped(host, data) == "ignored_multicast_control"
    assert host.transmit() == []


@pytest.mark.parametrize("kind", [131, 132, 133, 134, 135, 136, 143])
def test_neighbour_discovery_to_one_of_our_addresses_is_passed_over(host, kind):
    """RFC 4861: there are no neighbours on a TUN."""
    data = packet(IPV6, 58, icmp(IPV6, kind, 0, 0, bytes(16)))
    assert dropped(host, data) == "ignored_multicast_control"
    assert host.transmit() == []


# IPv4 options


@pytest.mark.parametrize("options", [b"\1\1\1\0", b"\x07\x07\x04" + bytes(5), b"\x94\x04\0\0"])
def test_ipv4_options_are_passed_over(host, options):
    """RFC 1122 section 3.2.1.8: record route, timestamps and alerts may be ignored."""
    got = host.receive(packet(IPV4, UDP, udp(b"hello"), options=options))
    assert (got.to, len(got.payload)) == ("udp", 13)


@pytest.mark.parametrize(
    "options",
    [b"\x83\x07\x04" + bytes(5), b"\x89\x07\x04" + bytes(5), b"\x07\x09\x04\0", b"\x07\1\0\0"],
)
def test_source_routes_and_broken_options_are_dropped(host, options):
    """RFC 7126 sections 4.3 and 4.4; RFC 1122 section 3.2.1.8."""
    assert dropped(host, packet(IPV4, UDP, udp(), options=options)) == "bad_options"
    assert host.transmit() == []


# IPv6 extension headers


def extended(*extensions, payload=b"", protocol=UDP, **fields):
    return packet(IPV6, protocol, payload or udp(b"hello"), extensions=extensions, **fields)


def test_the_transport_is_found_behind_all_extension_headers(host):
    """RFC 8200 section 4.1: in the order in which they come."""
    got = host.receive(
        extended(
            (HOP_BY_HOP, PAD),
            (DESTINATION, PAD),
            (ROUTING, routing_header(4, 0)),
            (DESTINATION, PAD),
        )
    )
    assert (got.to, got.payload[8:]) == ("udp", b"hello")


def test_hop_by_hop_is_accepted_in_the_first_place_only(host):
    """RFC 8200 section 4.1: elsewhere its number is an unknown next header."""
    data = extended((DESTINATION, PAD), (HOP_BY_HOP, PAD))
    assert dropped(host, data) == "bad_extension_header"
    assert problem(host) == (1, 40, data)


@pytest.mark.parametrize("number", [HOP_BY_HOP, DESTINATION])
def test_an_unknown_option_says_itself_what_to_do(host, number):
    """RFC 8200 section 4.2: the two highest bits of its type."""

    def option(kind):
        return extended((number, options_header(bytes([1, 0, kind, 1, 0]))))

    assert host.receive(option(0x1E)).to == "udp"
    assert dropped(host, option(0x5E)) == "bad_extension_header"
    assert host.transmit() == []
    for kind in (0x9E, 0xDE):
        assert dropped(host, option(kind)) == "bad_extension_header"
        assert problem(host) == (2, 44, option(kind))


def test_an_unknown_option_to_a_multicast_address(host):
    """RFC 8200 section 4.2: 10 is reported even then, 11 is not. RFC 4443 section 2.4 (e.3)."""
    for kind, reported in ((0x9E, True), (0xDE, False)):
        header = options_header(bytes([kind, 1, 0]))
        data = extended((DESTINATION, header), destination="ff02::1", source=IPV6.excluded)
        assert dropped(host, data) == "bad_extension_header"
        sent = host.transmit()
        assert len(sent) == reported
        if reported:
            message = read_icmp(sent[0].data)
            assert host.is_local(message.source)
            assert (message.type, message.code, message.word) == (4, 2, 42)


def test_a_jumbogram_is_refused(host):
    """RFC 2675 section 3: to a host that knows no jumbo payloads the option is an unknown one."""
    jumbo = options_header(b"\xc2\4\0\1\0\0")
    assert dropped(host, extended((HOP_BY_HOP, jumbo))) == "bad_extension_header"
    assert problem(host)[:2] == (2, 42)
    data = extended((HOP_BY_HOP, jumbo))
    assert dropped(host, data[:4] + b"\0\0" + data[6:]) == "bad_extension_header"
    assert host.transmit() == []


@pytest.mark.parametrize("kind", [0, 2, 3, 4, 253])
def test_a_route_with_segments_left_is_refused(host, kind):
    """RFC 8200 section 4.4, RFC 5095: Parameter Problem, pointing at the routing type."""
    data = extended((DESTINATION, PAD), (ROUTING, routing_header(kind, 1)))
    assert dropped(host, data) == "bad_extension_header"
    assert problem(host) == (0, 40 + 8 + 2, data)
    assert host.receive(extended((ROUTING, routing_header(kind, 0)))).to == "udp"


def test_no_next_header_ends_a_packet_in_silence(host):
    """RFC 8200 section 4.7."""
    assert dropped(host, packet(IPV6, NO_NEXT, b"whatever")) == "ignored_no_next_header"
    assert dropped(host, extended((DESTINATION, PAD), protocol=NO_NEXT, payload=b"x")) == (
        "ignored_no_next_header"
    )
    assert host.transmit() == []


def test_an_extension_header_that_leads_out_of_the_packet_is_dropped(host):
    whole = extended((DESTINATION, options_header(bytes(20))), payload=b"12345678", protocol=99)
    for cut in range(41, 64):
        data = whole[:4] + struct.pack("!H", cut - 40) + whole[6:cut]
        assert dropped(host, data) == "bad_extension_header"
    assert host.transmit() == []


def test_the_number_of_extension_headers_is_bounded(host):
    """A chain is walked once for each packet: nobody needs more than eight."""
    assert host.receive(extended(*[(DESTINATION, PAD)] * 8)).to == "udp"
    assert dropped(host, extended(*[(DESTINATION, PAD)] * 9)) == "bad_extension_header"


# Protocols


def test_an_unknown_ipv4_protocol_is_unreachable(host):
    """RFC 1122 section 3.2.2.1."""
    data = packet(IPV4, 99, b"whatever")
    assert dropped(host, data) == "unknown_protocol"
    (sent,) = host.transmit()
    message = read_icmp(sent.data)
    assert (message.source, message.destination) == (IPV4.ours, IPV4.peer)
    assert (message.type, message.code, message.word, message.data) == (3, 2, 0, data)


@pytest.mark.parametrize("protocol", [1, 2, 50, 51, 99, 135, 255])
def test_an_unknown_ipv6_next_header_is_a_parameter_problem(host, protocol):
    """RFC 8200 section 4, RFC 4443 section 3.4: code 1, pointing at what named it."""
    data = packet(IPV6, protocol, b"whatever")
    assert dropped(host, data) == "unknown_protocol"
    assert problem(host) == (1, 6, data)
    data = extended((HOP_BY_HOP, PAD), (DESTINATION, PAD), protocol=protocol, payload=b"x")
    assert dropped(host, data) == "unknown_protocol"
    assert problem(host) == (1, 48, data)


def test_icmpv6_is_unknown_to_ipv4(host):
    assert dropped(host, packet(IPV4, 58, echo(IPV6))) == "unknown_protocol"


# Garbage


def garbage(family):
    """Packets that are right where it takes them further."""
    numbers = st.sampled_from([0, 43, 44, 60, 6, 17, 58, 59, 99])
    headers = st.lists(st.tuples(numbers, st.binary(min_size=8, max_size=24)), max_size=4)
    if not family.v6:
        protocols = st.sampled_from([1, 6, 17, 99])
        options = st.binary(max_size=40).map(lambda o: o[: len(o) // 4 * 4])
        return st.builds(
            lambda p, d, o, more, offset: packet(
                family, p, d, options=o, more=more, offset=offset * 8
            ),
            protocols, st.binary(max_size=120), options, st.booleans(),
            st.sampled_from([0, 0, 1, 2, 8189]),
        )  # fmt: skip
    return st.builds(
        lambda p, d, h, destination: packet(family, p, d, extensions=h, destination=destination),
        numbers, st.binary(max_size=120), headers, st.sampled_from([family.ours, "ff02::1"]),
    )  # fmt: skip


@given(st.lists(st.one_of(garbage(IPV4), garbage(IPV6), st.binary(max_size=100)), max_size=12))
def test_garbage_is_survived_and_nothing_leaks(packets):
    """Whatever comes: no crash, no packet kept, and only well-formed answers."""
    with running_host() as host:
        host.policy("10.3.0.6/32", ip.MIRROR)
        for data in packets:
            host.receive(data, answer="port unreachable")
        for sent in host.transmit():
            read_icmp(sent.data)
        host.advance(61)
        host.transmit()
        assert host.live == 0


@given(
    st.sampled_from(FAMILIES),
    st.integers(0, 127),
    st.binary(min_size=1, max_size=4),
    st.integers(0, 127),
    st.sampled_from(["tcp", "mirror", "fragment"]),
)
def test_a_packet_with_some_bytes_changed_is_survived(family, at, new, cut, shape):
    with running_host() as host:
        if shape == "mirror":
            host.policy("10.3.0.0/24", ip.MIRROR)
            host.policy("fd03::/64", ip.MIRROR)
        quoted = packet(family, TCP, bytes(24), source=family.ours, destination=family.peer)
        payload = icmp(family, 1 if family.v6 else 3, 3, 0, quoted)
        fields = {}
        if shape == "fragment":
            header = [(FRAGMENT, fragment_header(7, 0, True))]
            fields = {"extensions": header} if family.v6 else {"more": True}
        data = packet(family, family.icmp, payload, **fields)
        data = data[:at] + new + data[at + len(new) :]
        host.receive(data)
        host.receive(data[:cut])
        host.advance(61)
        host.transmit()
        assert host.live == 0


@both
def test_no_wire_carries_loopback_addresses(family):
    """RFC 1122 section 3.2.1.3 (g), RFC 4291 section 2.5.3: not even if they are ours."""
    host = ip.IpHost("127.0.0.0/8", "::1/128", "10.3.0.0/24", "fd03::/64")
    loopback = "::1" if family.v6 else "127.0.0.1"
    to_us = packet(family, UDP, udp(b"hello"), destination=loopback)
    assert dropped(host, to_us) == "not_our_address"
    for destination in (loopback, family.ours):
        from_us = packet(family, UDP, udp(b"hello"), source=loopback, destination=destination)
        assert dropped(host, from_us) in ("bad_source", "not_our_address")
    assert host.close() == 0
