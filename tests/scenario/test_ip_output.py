"""What goes out: headers as asked for, fragments or an error if too large, trains that fit."""

from __future__ import annotations

import errno
import struct

import dpkt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from native import ip
from scenario.ip_wire import (
    FAMILIES,
    IPV4,
    IPV6,
    TCP,
    UDP,
    family_name,
    fragment,
    joined,
    packet,
    read,
    running_host,
    udp,
)

both = pytest.mark.parametrize("family", FAMILIES, ids=family_name)


@pytest.fixture
def host():
    with running_host() as running:
        yield running


def send(host, family, payload=b"payload.", protocol=UDP, **fields):
    return host.send(family.ours, family.peer, protocol, payload, **fields)


def sent_one(host, family, *args, **fields):
    assert send(host, family, *args, **fields) == 0
    (sent,) = host.transmit()
    return sent


def tcp_train(family, size, gso_size):
    gso = ip.GSO_TCP6 if family.v6 else ip.GSO_TCP4
    return {
        "protocol": TCP,
        "payload": bytes(dpkt.tcp.TCP(sum=1)),
        "borrowed": bytes(size),
        "gso": gso,
        "gso_size": gso_size,
        "csum": ip.CSUM_PARTIAL,
        "csum_offset": 16,
    }


# Headers


@given(
    st.sampled_from(FAMILIES), st.integers(1, 255), st.integers(0, 255), st.integers(0, 0xFFFFF),
    st.binary(max_size=1400), st.sampled_from([ip.DONT, ip.WANT, ip.DO]),
)  # fmt: skip
def test_the_header_says_what_the_socket_asked_for(family, ttl, tos, label, payload, discover):
    """RFC 791 section 3.1, RFC 8200 section 3; DSCP (RFC 2474), flow label (RFC 6437)."""
    with running_host() as host:
        sent = sent_one(
            host, family, payload, 99, ttl=ttl, tos=tos, flow_label=label, discover=discover
        )
        got = read(sent.data)
        assert (got.source, got.destination, got.protocol) == (family.ours, family.peer, 99)
        assert (got.data, got.ttl, got.tos) == (payload, ttl, tos)
        if family.v6:
            assert got.flow == label
        else:
            assert got.df == (discover != ip.DONT)


@both
def test_the_default_ttl_is_64(host, family):
    """RFC 1122 section 3.2.1.7; IANA's recommended value."""
    assert read(sent_one(host, family).data).ttl == 64


def test_the_identification_is_hard_to_guess_and_slow_to_repeat(host):
    """RFC 6864 section 4.3, RFC 7739: different at each destination, but in sequence there."""
    ids = [read(sent_one(host, IPV4, discover=ip.DONT).data).id for _ in range(300)]
    assert len(set(ids)) == 300
    others = []
    for n in range(1, 20):
        host.send(IPV4.ours, f"192.0.2.{n}", UDP, bytes(8), discover=ip.DONT)
        others.append(read(host.transmit()[0].data).id)
    assert len({(other - others[0]) // 32 for other in others}) > 10


def test_an_atomic_packet_needs_no_identification(host):
    """RFC 6864 section 4.1: nothing can be told from it, then."""
    assert read(sent_one(host, IPV4, discover=ip.WANT).data).id == 0


def test_the_pieces_of_a_train_have_numbers_of_their_own(host):
    """RFC 6864 section 4.3: the device numbers them from the first on."""
    train = tcp_train(IPV4, 3000, 1000)
    first = read(sent_one(host, IPV4, discover=ip.DONT, **train).data).id
    after = read(sent_one(host, IPV4, b"", TCP, discover=ip.DONT).data).id
    assert (after - first) & 0xFFFF >= 3


@both
def test_borrowed_payload_is_not_copied(host, family):
    """A write's way out: the payload goes from the ring to the device."""
    sent = sent_one(host, family, b"12345678", borrowed=b"from the ring")
    assert read(sent.data).data == b"12345678from the ring"


@both
def test_offload_metadata_is_kept(host, family):
    sent = sent_one(host, family, csum=ip.CSUM_PARTIAL, csum_offset=6)
    assert (sent.csum, sent.csum_start, sent.csum_offset) == (
        ip.CSUM_PARTIAL, family.header_length, 6,
    )  # fmt: skip


# Destinations


@pytest.mark.parametrize("destination", ["0.0.0.0", "127.0.0.1", "::", "::1"])
def test_there_is_no_way_to_nowhere_or_to_a_loopback_address(host, destination):
    """RFC 1122 section 3.2.1.3 (g): never on a wire."""
    source = IPV6.ours if ":" in destination else IPV4.ours
    assert host.send(source, destination, UDP, b"12345678") == -errno.ENETUNREACH
    assert host.counters == {"ip_drop_no_route": 1}


@pytest.mark.parametrize(
    ("source", "second", "outside"),
    [("127.0.0.1", "127.1.2.3", IPV4.peer), ("::1", "::1", IPV6.peer)],
)
def test_loopback_addresses_that_are_ours_are_for_ourselves_only(source, second, outside):
    """RFC 1122 section 3.2.1.3 (g), RFC 4291 section 2.5.3; EINVAL as Linux for IPv4."""
    host = ip.IpHost("127.0.0.0/8", "::1/128", "10.3.0.0/24", "fd03::/64")
    assert host.send(source, second, UDP, bytes(udp(b"hello"))) == 0
    (got,) = host.loop()
    assert (got.to, got.source, got.destination) == ("udp", source, second)
    assert host.send(source, outside, UDP, b"12345678") == -errno.EINVAL
    assert host.transmit() == []
    assert host.counters["ip_drop_no_route"] == 1
    assert host.close() == 0


def test_families_do_not_mix(host):
    assert host.send(IPV4.ours, IPV6.peer, UDP, b"12345678") == -errno.ENETUNREACH


@both
def test_a_packet_to_ourselves_comes_back(host, family):
    """By the loop queue, whole, its checksum as it was: the bytes never leave this memory."""
    data = bytes(udp(b"hello"))
    result = host.send(
        family.ours, family.second, UDP, data[:8], borrowed=b"hello", csum=ip.CSUM_PARTIAL,
        csum_offset=6,
    )  # fmt: skip
    assert result == 0
    assert host.transmit() == []
    (got,) = host.loop()
    assert (got.to, got.payload, got.csum) == ("udp", data[:8] + b"hello", ip.CSUM_PARTIAL)
    assert host.counters["ip_looped"] == 1


@both
def test_what_we_send_ourselves_is_never_cut(host, family):
    """There is no wire on the way: neither fragments nor EMSGSIZE."""
    for discover in (ip.DONT, ip.WANT, ip.DO):
        assert host.send(family.ours, family.second, UDP, bytes(60000), discover=discover) == 0
        (got,) = host.loop()
        assert len(got.payload) == 60000
    assert host.transmit() == []


@both
def test_the_loop_queue_is_bounded(host, family):
    """What is too much is lost on the way, as on a wire."""
    results = {host.send(family.ours, family.second, UDP, bytes(8)) for _ in range(1000)}
    assert results == {0}
    kept = len(host.looped())
    assert host.counters["ip_drop_loop_queue_full"] == 1000 - kept
    assert 64 <= kept <= 1000


# Sizes


@both
def test_what_fits_the_mtu_is_not_cut(host, family):
    payload = bytes(1500 - family.header_length)
    for discover in (ip.DONT, ip.WANT, ip.DO):
        assert len(sent_one(host, family, payload, discover=discover).data) == 1500


@both
def test_never_fragment_means_emsgsize(host, family):
    """IP_PMTUDISC_DO."""
    payload = bytes(1501 - family.header_length)
    assert send(host, family, payload, discover=ip.DO) == -errno.EMSGSIZE
    assert host.transmit() == []
    assert host.counters == {"ip_drop_too_big": 1}


@given(
    st.sampled_from(FAMILIES), st.integers(1500, 65535), st.sampled_from([ip.DONT, ip.WANT]),
    st.sampled_from([1280, 1500, 9000]), st.integers(0, 1000),
)  # fmt: skip
def test_fragments_make_the_original_again(family, size, discover, mtu, borrowed):
    """RFC 791 section 3.2, RFC 8200 section 4.5: multiples of 8, one identification, DF clear."""
    data = struct.pack("!32768H", *range(32768))[: size - family.header_length]
    with running_host(mtu=mtu) as host:
        result = send(
            host, family, data[:-borrowed or None], borrowed=data[len(data) - borrowed :],
            discover=discover, ttl=7, tos=0x28, flow_label=0x12345,
        )  # fmt: skip
        sent = host.transmit()
        assert result == 0
        if size <= mtu:
            assert len(sent) == 1
            return
        limit = 1280 if family.v6 and discover == ip.DONT else mtu
        assert all(limit - 8 < len(each.data) <= limit for each in sent[:-1])
        assert not any(read(each.data).df for each in sent)
        whole = joined(sent)
        assert (whole.data, whole.ttl, whole.tos) == (data, 7, 0x28)
        assert whole.flow == (0x12345 if family.v6 else 0)
        assert host.counters == {"ip_fragments_out": len(sent)}


@both
def test_a_checksum_is_completed_before_the_packet_is_cut(host, family):
    """The device could not: it would sum up the first fragment only."""
    datagram = udp(bytes(5000))
    whole = packet(family, UDP, datagram, family.ours, family.peer)[family.header_length :]
    pseudo = packet(family, UDP, b"", family.ours, family.peer)
    pseudo = pseudo[8:40] if family.v6 else pseudo[12:20]
    pseudo += struct.pack("!II" if family.v6 else "!HH", *((5008, 17) if family.v6 else (17, 5008)))
    partial = struct.pack("!H", ~dpkt.in_cksum(pseudo) & 0xFFFF)
    assert (
        send(
            host,
            family,
            whole[:6] + partial,
            borrowed=bytes(5000),
            csum=ip.CSUM_PARTIAL,
            csum_offset=6,
        )
        == 0
    )
    sent = host.transmit()
    assert all(each.csum == ip.CSUM_FULL for each in sent)
    assert joined(sent).data == whole


@both
def test_a_completed_udp_checksum_is_never_0(host, family):
    """RFC 768: 0 means none; it is sent as 0xffff."""
    # The sum of all is 0xffff: the last word makes up for the rest.
    data = bytearray(struct.pack("!HHHH", 1, 2, 2008, 0) + bytes(2000))
    data[-2:] = struct.pack("!H", dpkt.in_cksum(bytes(data)))
    assert dpkt.in_cksum(bytes(data)) == 0
    assert send(host, family, bytes(data), csum=ip.CSUM_PARTIAL, csum_offset=6) == 0
    assert joined(host.transmit()).data[6:8] == b"\xff\xff"


@both
def test_no_packet_is_longer_than_its_length_field_can_say(host, family):
    payload = bytes(65535 if family.v6 else 65515)  # IPv6 does not count the header
    for discover in (ip.DONT, ip.DO):
        assert send(host, family, payload + b"x", discover=discover) == -errno.EMSGSIZE
    assert send(host, family, payload) == 0
    assert joined(host.transmit()).data == payload


@both
def test_a_device_that_takes_next_to_nothing_takes_no_fragments(family):
    with running_host(mtu=40) as host:
        assert host.send(family.ours, family.peer, UDP, bytes(100)) in (0, -errno.EMSGSIZE)
        assert all(len(each.data) <= 40 for each in host.transmit())


# Trains


@both
def test_a_train_leaves_in_one_piece(host, family):
    """Segmentation is the device's; the total length is that of the train."""
    gso_size = 1500 - family.header_length - 20
    sent = sent_one(host, family, **tcp_train(family, 40 * gso_size, gso_size))
    assert (sent.gso_size, sent.csum) == (gso_size, ip.CSUM_PARTIAL)
    assert len(read(sent.data).data) == 20 + 40 * gso_size


@both
def test_each_piece_of_a_train_must_fit_the_path(host, family):
    """Headers, TCP options too, and gso_size."""
    gso_size = 1500 - family.header_length - 20
    assert send(host, family, **tcp_train(family, 9000, gso_size + 1)) == -errno.EMSGSIZE
    train = tcp_train(family, 9000, gso_size)
    train["payload"] = bytes(dpkt.tcp.TCP(opts=bytes(12), off=8))
    assert send(host, family, **train) == -errno.EMSGSIZE
    train["gso_size"] -= 12
    assert send(host, family, **train) == 0
    host.path_mtu_lower(family.ours, family.peer, 1400)
    assert send(host, family, **train) == -errno.EMSGSIZE


@both
def test_a_train_of_datagrams_has_headers_of_8_bytes(host, family):
    gso_size = 1500 - family.header_length - 8
    train = {"gso": ip.GSO_UDP4, "borrowed": bytes(9000)}
    assert send(host, family, bytes(8), gso_size=gso_size, **train) == 0
    assert send(host, family, bytes(8), gso_size=gso_size + 1, **train) == -errno.EMSGSIZE


@both
def test_a_train_must_fit_the_device(family):
    with running_host(max_train=16000) as host:
        assert send(host, family, **tcp_train(family, 15900, 1400)) == 0
        assert send(host, family, **tcp_train(family, 16000, 1400)) == -errno.EMSGSIZE


# Mirror


def swapped(data):
    """The same packet with source and destination exchanged."""
    if data[0] >> 4 == 6:
        return data[:8] + data[24:40] + data[8:24] + data[40:]
    return data[:12] + data[16:20] + data[12:16] + data[20:]


@both
def test_a_mirrored_train_keeps_its_metadata(host, family):
    """Swapping leaves every internet checksum as it was: the sum does not depend on order."""
    host.policy("10.3.0.0/24", ip.MIRROR)
    host.policy("fd03::/64", ip.MIRROR)
    data = packet(family, TCP, dpkt.tcp.TCP(data=bytes(30000)))
    offload = {
        "csum": ip.CSUM_PARTIAL, "csum_start": family.header_length, "csum_offset": 16,
        "gso": ip.GSO_TCP6 if family.v6 else ip.GSO_TCP4, "gso_size": 1400,
    }  # fmt: skip
    assert host.receive(data, **offload) is None
    assert host.transmit() == [ip.Sent(data=swapped(data), **offload)]
    assert host.counters == {"ip_mirrored": 1}


@both
def test_a_transport_may_have_a_packet_mirrored(host, family):
    data = packet(family, UDP, udp(b"hello"))
    host.receive(data, answer="mirror")
    assert [sent.data for sent in host.transmit()] == [swapped(data)]


@both
def test_a_reassembled_packet_is_mirrored_in_fragments(host, family):
    data = bytes(udp(bytes(4000)))
    for at in range(0, len(data), 1400):
        host.receive(
            fragment(family, UDP, data[at : at + 1400], at, at + 1400 < len(data)), answer="mirror"
        )
    sent = host.transmit()
    assert all(len(each.data) <= 1500 for each in sent)
    whole = joined(sent)
    assert (whole.source, whole.destination) == (family.ours, family.peer)
    assert whole.data == data


@both
def test_two_of_our_addresses_do_not_mirror_each_other(host, family):
    """They would for ever."""
    host.policy("10.3.0.0/24", ip.MIRROR)
    host.policy("fd03::/64", ip.MIRROR)
    host.send(family.ours, family.second, UDP, bytes(udp(b"hello")))
    assert host.loop() == [None]
    assert host.transmit() == []
    assert host.counters["ip_drop_bad_source"] == 1


def test_the_same_seed_sends_the_same_packets():
    """The design's idea 7."""

    def run(seed):
        with running_host(seed=seed) as host:
            for family in FAMILIES:
                for size in (10, 3000):
                    send(host, family, bytes(size), discover=ip.DONT)
            return host.transmit()

    assert run(1) == run(1)
    assert run(1) != run(2)
