"""ICMP and ICMPv6: echo, errors that we send, errors that we hear of."""

from __future__ import annotations

import errno
import struct

import dpkt
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from native import ip
from scenario.ip_wire import (
    DESTINATION,
    FAMILIES,
    FRAGMENT,
    IPV4,
    IPV6,
    TCP,
    UDP,
    echo,
    family_name,
    fragment,
    fragment_header,
    fragments,
    icmp,
    joined,
    options_header,
    packet,
    read,
    read_icmp,
    running_host,
    udp,
)

both = pytest.mark.parametrize("family", FAMILIES, ids=family_name)


@pytest.fixture
def host():
    with running_host() as running:
        yield running


def reply_types(family):
    return (129, 0) if family.v6 else (0, 0)


# Echo


@given(st.sampled_from(FAMILIES), st.binary(max_size=1400), st.integers(0, 2**32 - 1))
@example(IPV4, bytes(56), 0)  # the only bytes whose checksum is 0xffff
def test_an_echo_reply_is_the_request_with_another_type(family, data, word):
    """RFC 792; RFC 1122 section 3.2.2.6; RFC 4443 section 4.2: identical data, id, sequence."""
    with running_host() as host:
        request = icmp(family, 128 if family.v6 else 8, 0, word, data)
        assert host.receive(packet(family, family.icmp, request)) is None
        (sent,) = host.transmit()
        message = read_icmp(sent.data)
        assert (message.source, message.destination) == (family.ours, family.peer)
        assert (message.type, message.code) == reply_types(family)
        assert (message.word, message.data) == (word, data)
        assert read(sent.data).ttl == 64
        assert host.counters == {"icmp_echo_requests_in": 1, "icmp_echo_replies_out": 1}


@both
def test_an_echo_request_may_have_a_code_which_comes_back(host, family):
    """As with Linux: the request is turned into the reply. nmap recognises a system by it."""
    kind, _ = reply_types(family)
    request = icmp(family, 128 if family.v6 else 8, 9, 1, b"x")
    host.receive(packet(family, family.icmp, request))
    (sent,) = host.transmit()
    message = read_icmp(sent.data)
    assert (message.type, message.code, message.data) == (kind, 9, b"x")


@both
def test_every_one_of_our_addresses_answers(host, family):
    for address in (family.ours, family.second):
        request = icmp(family, 128 if family.v6 else 8, 0, 1, b"x", destination=address)
        host.receive(packet(family, family.icmp, request, destination=address))
        (sent,) = host.transmit()
        assert read_icmp(sent.data).source == address


@both
def test_an_echo_reply_keeps_the_dscp_but_not_the_congestion_mark(host, family):
    """RFC 2474; RFC 3168: the mark tells of the way that the request took."""
    host.receive(packet(family, family.icmp, echo(family), tos=0xBB))
    (sent,) = host.transmit()
    assert read(sent.data).tos == 0xB8


@both
def test_a_large_ping_is_answered_in_fragments(host, family):
    """RFC 1122 section 3.2.2.6: also when the request had to be reassembled."""
    data = bytes(range(256)) * 20
    for each in fragments(family, family.icmp, echo(family, data), 1400):
        host.receive(each)
    sent = host.transmit()
    assert len(sent) > 1
    assert all(len(each.data) <= 1500 for each in sent)
    whole = joined(sent)
    assert (whole.source, whole.destination, whole.protocol) == (
        family.ours, family.peer, family.icmp,
    )  # fmt: skip
    assert whole.data[8:] == data
    assert host.live == 0


def test_fragments_of_an_echo_reply_take_any_ipv6_path(host):
    """RFC 8200 section 5: who does not discover the path MTU sends no more than 1,280 bytes."""
    for each in fragments(IPV6, 58, echo(IPV6, bytes(3000)), 1400):
        host.receive(each)
    assert max(len(each.data) for each in host.transmit()) <= 1280


def test_routers_may_cut_an_ipv4_echo_reply(host):
    """Nobody here would hear of a path that is narrower: DF stays clear, as in Linux."""
    host.receive(packet(IPV4, 1, echo(IPV4, bytes(1000)), df=True))
    assert not read(host.transmit()[0].data).df


@both
def test_an_echo_request_that_is_damaged_is_dropped(host, family):
    """RFC 1122 section 3.2.2; RFC 4443 section 2.3."""
    bad = bytearray(echo(family, b"data"))
    bad[-1] ^= 1
    assert host.receive(packet(family, family.icmp, bytes(bad))) is None
    host.receive(packet(family, family.icmp, echo(family)[:7]))
    assert host.transmit() == []
    assert host.counters == {"icmp_drop_bad_checksum": 1, "icmp_drop_too_short": 1}


@both
def test_a_checksum_that_the_device_vouches_for_is_not_verified(host, family):
    bad = bytearray(echo(family, b"data"))
    bad[-1] ^= 1
    host.receive(packet(family, family.icmp, bytes(bad)), csum=ip.CSUM_VERIFIED)
    assert len(host.transmit()) == 1


@both
def test_a_checksum_that_is_still_to_be_completed_is_completed_in_the_reply(host, family):
    """Offload metadata: the field holds the pseudo-header sum."""
    whole = bytearray(echo(family, b"odd"))
    pseudo = 0
    if family.v6:
        pseudo = (
            ~dpkt.in_cksum(packet(family, 58, b"")[8:40] + struct.pack("!II", len(whole), 58))
            & 0xFFFF
        )
    whole[2:4] = struct.pack("!H", pseudo)
    host.receive(
        packet(family, family.icmp, bytes(whole)), csum=ip.CSUM_PARTIAL,
        csum_start=family.header_length, csum_offset=2,
    )  # fmt: skip
    (sent,) = host.transmit()
    assert sent.csum == ip.CSUM_FULL
    assert read_icmp(sent.data).data == b"odd"


@both
def test_offsets_that_lead_out_of_the_packet_are_survived(host, family):
    host.receive(
        packet(family, family.icmp, echo(family)), csum=ip.CSUM_PARTIAL, csum_start=9000,
        csum_offset=2,
    )  # fmt: skip
    assert host.transmit() == []
    assert host.counters["icmp_drop_bad_checksum"] == 1


@both
def test_an_echo_reply_is_for_whoever_asked(host, family):
    got = host.receive(packet(family, family.icmp, echo(family, b"x", reply=True)))
    assert (got.to, got.source, got.payload[8:]) == ("echo reply", family.peer, b"x")
    assert host.counters == {"icmp_echo_replies_in": 1}


@both
def test_an_echo_reply_may_have_a_code_too(host, family):
    """As with Linux."""
    kind, _ = reply_types(family)
    got = host.receive(packet(family, family.icmp, icmp(family, kind, 9, 1, b"x")))
    assert (got.to, got.payload[1]) == ("echo reply", 9)


@both
def test_two_of_our_addresses_ping_each_other(host, family):
    kind = 128 if family.v6 else 8
    request = icmp(family, kind, 0, 5, bytes(3000), family.second, family.ours)
    assert host.send(family.second, family.ours, family.icmp, request) == 0
    got = host.loop()
    assert [each and each.to for each in got] == [None, "echo reply"]
    assert got[1].source == family.ours
    assert host.transmit() == []


@both
def test_two_of_our_addresses_tell_each_other_of_closed_ports(host, family):
    host.send(family.second, family.ours, UDP, bytes(udp(b"hello")))
    got, error = host.loop(answer="port unreachable")
    assert got.to == "udp"
    assert (error.local, error.remote, error.kind) == (
        family.second, family.ours, ip.PORT_UNREACHABLE,
    )  # fmt: skip
    assert error.transport == bytes(udp(b"hello"))


# Errors that we send


def port_unreachable(host, data):
    """The ICMP errors that a datagram to a closed port draws."""
    host.receive(data, answer="port unreachable")
    return [read_icmp(sent.data) for sent in host.transmit()]


@both
def test_a_closed_port_is_unreachable(host, family):
    """RFC 1122 section 4.1.3.1, RFC 4443 section 3.1: as much quoted as fits 576 or 1,280 bytes."""
    for size in (0, 100, 5000):
        data = packet(family, UDP, udp(bytes(size)))
        (error,) = port_unreachable(host, data)
        assert (error.source, error.destination) == (family.ours, family.peer)
        assert (error.type, error.code, error.word) == ((1, 4, 0) if family.v6 else (3, 3, 0))
        limit = 1280 - 48 if family.v6 else 576 - 28
        assert error.data == data[:limit]


def test_an_ipv4_error_has_the_precedence_of_routing(host):
    """RFC 1812 section 4.3.2.5: internetwork control."""
    host.receive(packet(IPV4, UDP, udp()), answer="port unreachable")
    assert read(host.transmit()[0].data).tos == 0xC0


@pytest.mark.parametrize("kind", [3, 4, 5, 11, 12])
def test_no_ipv4_error_about_an_error(host, kind):
    """RFC 1122 section 3.2.2."""
    data = packet(IPV4, 1, icmp(IPV4, kind, 0, 0, packet(IPV4, UDP, udp())))
    host.policy("10.3.0.0/24", ip.REFUSE)
    assert host.receive(data) is None
    assert host.transmit() == []


@pytest.mark.parametrize(
    ("kind", "answers"), [(1, 0), (4, 0), (100, 0), (137, 0), (128, 1), (200, 1)]
)
def test_no_ipv6_error_about_an_error_or_redirect(host, kind, answers):
    """RFC 4443 section 2.4 (e.1), (e.2): not even for an unknown option."""
    header = (DESTINATION, options_header(b"\x9e\0"))
    quoted = packet(IPV6, UDP, udp())
    host.receive(packet(IPV6, 58, icmp(IPV6, kind, 0, 0, quoted), extensions=[header]))
    assert len(host.transmit()) == answers
    assert host.counters.get("icmp_errors_suppressed_by_rule", 0) == 1 - answers


@pytest.mark.parametrize(
    "source", ["0.0.0.0", "224.0.0.1", "255.255.255.255", "127.0.0.1", "10.3.0.255"]
)
def test_no_error_to_what_is_no_host(host, source):
    """RFC 1122 section 3.2.2, RFC 1812 section 4.3.2.7."""
    host.receive(packet(IPV4, 99, b"x", source=source))
    assert host.transmit() == []


@pytest.mark.parametrize("destination", ["224.0.0.1", "255.255.255.255", "10.3.0.255", "ff02::1"])
def test_no_error_about_broadcast_or_multicast(host, destination):
    """RFC 1122 section 3.2.2; RFC 4443 section 2.4 (e.3)."""
    family = IPV6 if ":" in destination else IPV4
    host.receive(packet(family, 99, b"x", destination=destination))
    assert host.transmit() == []


def test_no_error_about_a_later_fragment(host):
    """RFC 1122 section 3.2.2: its ports would be guesswork."""
    host.receive(fragment(IPV4, 99, bytes(16), 16, False))
    host.receive(fragment(IPV4, 99, bytes(16), 0, True))
    (sent,) = host.transmit()  # the whole packet is of an unknown protocol: that may be said
    assert read_icmp(sent.data).code == 2


def from_many(family, number):
    """A datagram from each of so many peers."""
    prefix = "2001:db8::1:{}" if family.v6 else "198.18.{}.{}"
    for i in range(number):
        source = prefix.format(f"{i:x}") if family.v6 else prefix.format(i >> 8, i & 255)
        yield packet(family, UDP, udp(), source=source)


@both
def test_errors_are_limited_in_rate(host, family):
    """RFC 4443 section 2.4 (f): a token bucket; RFC 1812 section 4.3.2.8."""
    datagrams = list(from_many(family, 3 * ip.ICMP_ERRORS_BURST))
    sent = sum(len(port_unreachable(host, data)) for data in datagrams)
    assert ip.ICMP_ERRORS_BURST * 0.8 < sent < ip.ICMP_ERRORS_BURST * 1.2
    assert host.counters["icmp_errors_suppressed_by_rate"] == 3 * ip.ICMP_ERRORS_BURST - sent
    host.advance(0.1)
    more = sum(len(port_unreachable(host, data)) for data in from_many(family, 500))
    expected = ip.ICMP_ERRORS_PER_SECOND / 10
    assert expected * 0.7 < more < expected * 1.3
    host.advance(3600)
    assert len(port_unreachable(host, datagrams[0])) == 1


@both
def test_errors_to_one_destination_are_limited_further(host, family):
    """Linux's icmp_ratelimit: six at once, then one a second (IPv6: four)."""
    data = packet(family, UDP, udp())
    other = packet(family, UDP, udp(), source="2001:db8::99" if family.v6 else "198.51.100.9")
    assert sum(len(port_unreachable(host, data)) for _ in range(20)) == 6
    assert len(port_unreachable(host, other)) == 1
    seconds = sum(len(port_unreachable(host, data)) for _ in range(10) if host.advance(1) is None)
    assert seconds == 10
    at_once = 0
    for _ in range(100):
        host.advance(0.1)
        at_once += len(port_unreachable(host, data))
    assert (40 if family.v6 else 10) <= at_once <= (46 if family.v6 else 16)


@both
def test_each_of_our_hosts_has_a_limit_of_its_own(host, family):
    for ours in (family.ours, family.second):
        data = packet(family, UDP, udp(), destination=ours)
        assert sum(len(port_unreachable(host, data)) for _ in range(20)) == 6


@both
def test_echo_replies_are_not_limited(host, family):
    for _ in range(3 * ip.ICMP_ERRORS_BURST):
        host.receive(packet(family, family.icmp, echo(family)))
    assert len(host.transmit()) == 3 * ip.ICMP_ERRORS_BURST


# Errors that we hear of


def ours(family, protocol=TCP, data=b"12345678" * 3, **fields):
    """A packet that we have sent to the peer."""
    return packet(family, protocol, data, family.ours, family.peer, **fields)


def error(family, kind, code, word=0, quoted=None, extra=b"", source=None):
    quoted = ours(family) if quoted is None else quoted
    source = source or family.peer
    message = icmp(family, kind, code, word, quoted + extra, source)
    return packet(family, family.icmp, message, source)


V4_ERRORS = [
    (3, 0, ip.UNREACHABLE, errno.ENETUNREACH),
    (3, 1, ip.UNREACHABLE, errno.EHOSTUNREACH),
    (3, 2, ip.UNREACHABLE, errno.ENOPROTOOPT),
    (3, 3, ip.PORT_UNREACHABLE, errno.ECONNREFUSED),
    (3, 5, ip.UNREACHABLE, errno.EOPNOTSUPP),
    (3, 6, ip.UNREACHABLE, errno.ENETUNREACH),
    (3, 7, ip.UNREACHABLE, errno.EHOSTDOWN),
    (3, 8, ip.UNREACHABLE, errno.ENONET),
    (3, 9, ip.UNREACHABLE, errno.ENETUNREACH),
    (3, 10, ip.UNREACHABLE, errno.EHOSTUNREACH),
    (3, 11, ip.UNREACHABLE, errno.ENETUNREACH),
    (3, 12, ip.UNREACHABLE, errno.EHOSTUNREACH),
    (3, 13, ip.UNREACHABLE, errno.EHOSTUNREACH),
    (3, 15, ip.UNREACHABLE, errno.EHOSTUNREACH),
    (11, 0, ip.TIME_EXCEEDED, errno.EHOSTUNREACH),
    (11, 1, ip.TIME_EXCEEDED, errno.EHOSTUNREACH),
    (12, 0, ip.PARAMETER, errno.EPROTO),
]
V6_ERRORS = [
    (1, 0, ip.UNREACHABLE, errno.ENETUNREACH),
    (1, 1, ip.UNREACHABLE, errno.EACCES),
    (1, 2, ip.UNREACHABLE, errno.EHOSTUNREACH),
    (1, 3, ip.UNREACHABLE, errno.EHOSTUNREACH),
    (1, 4, ip.PORT_UNREACHABLE, errno.ECONNREFUSED),
    (1, 5, ip.UNREACHABLE, errno.EACCES),
    (1, 6, ip.UNREACHABLE, errno.EACCES),
    (3, 0, ip.TIME_EXCEEDED, errno.EHOSTUNREACH),
    (4, 1, ip.PARAMETER, errno.EPROTO),
]


@pytest.mark.parametrize(
    ("family", "kind", "code", "meaning", "number"),
    [(IPV4, *row) for row in V4_ERRORS] + [(IPV6, *row) for row in V6_ERRORS],
)
def test_an_error_about_our_packet_reaches_its_transport(host, family, kind, code, meaning, number):
    """RFC 1122 section 3.2.2, RFC 4443 section 2.4 (d); numbers are those of Linux."""
    router = "2001:db8::1" if family.v6 else "198.51.100.1"
    got = host.receive(error(family, kind, code, source=router))
    assert got == ip.Error(
        "error", family.ours, family.peer, router, TCP, b"12345678" * 3, meaning, number, 0, kind,
        code,
    )  # fmt: skip
    assert host.counters == {"icmp_errors_in": 1}


@both
def test_too_big_says_how_much_fits(host, family):
    """RFC 1191 section 4, RFC 4443 section 3.2."""
    kind, code = (2, 0) if family.v6 else (3, 4)
    got = host.receive(error(family, kind, code, 1300))
    assert (got.kind, got.error, got.mtu) == (ip.TOO_BIG, errno.EMSGSIZE, 1300)


@pytest.mark.parametrize(("sent", "plateau"), [(9000, 8166), (1500, 1492), (1492, 1006), (100, 0)])
def test_a_router_that_names_no_mtu_gets_the_next_plateau(host, sent, plateau):
    """RFC 1191 sections 5 and 7.1."""
    quoted = ours(IPV4, data=bytes(sent - 20))
    assert host.receive(error(IPV4, 3, 4, 0, quoted[:64])).mtu == plateau


@both
@pytest.mark.parametrize("protocol", [TCP, UDP, "echo"])
def test_errors_concern_tcp_udp_and_our_pings(host, family, protocol):
    data = bytes(udp(b"x"))
    if protocol == "echo":
        protocol, data = family.icmp, icmp(family, 128 if family.v6 else 8, 0, 7)
    got = host.receive(error(family, 1 if family.v6 else 3, 1, quoted=ours(family, protocol, data)))
    assert (got.protocol, got.transport) == (protocol, data)


@both
def test_an_error_about_what_we_did_not_send_is_dropped(host, family):
    """RFC 5927 section 4; the quoted source must be the address that hears of it."""
    kind = 1 if family.v6 else 3
    reply = icmp(family, 129 if family.v6 else 0, 0, 7)
    for quoted in (
        packet(family, TCP, bytes(20)),
        packet(family, TCP, bytes(20), family.second, family.peer),
        ours(family, 99, bytes(20)),
        ours(family, family.icmp, reply),
        ours(family, 1 if family.v6 else 58, icmp(family, 128 if family.v6 else 8, 0, 7)),
        b"\x50" + ours(family)[1:],
        packet(IPV4 if family.v6 else IPV6, TCP, bytes(40)),
        fragment(family, TCP, bytes(24), 64, False, source=family.ours, destination=family.peer),
    ):
        assert host.receive(error(family, kind, 1, quoted=quoted)) is None
    assert host.counters == {"icmp_drop_error_not_ours": 8}


@both
def test_an_error_that_quotes_too_little_is_dropped(host, family):
    """RFC 792: the header and eight bytes at least, else nobody knows whose it is."""
    kind = 1 if family.v6 else 3
    whole = ours(family)
    for size in range(family.header_length + 8):
        assert host.receive(error(family, kind, 1, quoted=whole[:size])) is None
    assert host.counters == {"icmp_drop_too_short": family.header_length + 8}
    got = host.receive(error(family, kind, 1, quoted=whole[: family.header_length + 8]))
    assert got.transport == b"12345678"


@both
def test_a_damaged_error_is_dropped(host, family):
    """RFC 1122 section 3.2.2."""
    data = bytearray(error(family, 1 if family.v6 else 3, 1))
    data[-1] ^= 1
    assert host.receive(bytes(data)) is None
    assert host.counters == {"icmp_drop_bad_checksum": 1}


@pytest.mark.parametrize(
    ("family", "kind", "word"), [(IPV4, 3, 32 << 16), (IPV4, 11, 32 << 16), (IPV6, 1, 16 << 24)]
)
def test_extensions_are_no_part_of_what_is_quoted(host, family, kind, word):
    """RFC 4884 section 4: the original packet is padded, extensions follow."""
    quoted = ours(family)
    padding = bytes(128 - len(quoted))
    extension = b"\x20\0\0\0" + b"\0\x08\1\1abcd"
    got = host.receive(error(family, kind, 0, word, quoted, padding + extension))
    assert got.transport == b"12345678" * 3
    long = ours(family, data=bytes(600))[:128]
    got = host.receive(error(family, kind, 0, word, long, extension))
    assert got.transport == long[family.header_length :]


def test_ipv6_fragments_of_ours_are_recognised(host):
    """RFC 4443 section 2.4 (d): what is quoted may have extension headers."""
    header = [(FRAGMENT, fragment_header(9, 0, True))]
    quoted = ours(IPV6, UDP, bytes(udp(bytes(40))), extensions=header)
    assert host.receive(error(IPV6, 2, 0, 1280, quoted)).transport[:4] == quoted[48:52]


def test_deprecated_types_have_no_effect(host):
    """RFC 6633 (source quench), RFC 6918."""
    deprecated = [4, 6, 15, 16, 17, 18, *range(30, 40)]
    for kind in deprecated:
        assert host.receive(error(IPV4, kind, 0)) is None
    assert host.counters == {"icmp_ignored_deprecated": len(deprecated)}
    assert host.transmit() == []


@both
def test_redirects_have_no_effect(host, family):
    """RFC 1122 section 3.2.2.2: there is one way out only."""
    assert host.receive(error(family, 137 if family.v6 else 5, 1)) is None
    assert host.counters == {"icmp_ignored_redirect": 1}


UNKNOWN = [(IPV4, 1, 0), (IPV4, 13, 0), (IPV4, 40, 0), (IPV4, 3, 16)]
UNKNOWN += [(IPV6, 200, 0)]


@pytest.mark.parametrize(("kind", "code"), [(1, 7), (5, 0), (100, 3), (127, 255)])
def test_an_unknown_icmpv6_error_is_told_to_whom_it_concerns(host, kind, code):
    """RFC 4443 section 2.4 (a): it MUST be passed to who sent the packet."""
    got = host.receive(error(IPV6, kind, code))
    assert (got.type, got.code, got.error) == (kind, code, errno.EPROTO)
    assert got.transport == b"12345678" * 3


@pytest.mark.parametrize(("family", "kind", "code"), UNKNOWN)
def test_unknown_types_and_codes_are_dropped(host, family, kind, code):
    """RFC 1122 section 3.2.2; RFC 4443 section 2.4 (a), (b)."""
    assert host.receive(error(family, kind, code)) is None
    assert host.counters == {"icmp_drop_unknown_type": 1}
    assert host.transmit() == []
