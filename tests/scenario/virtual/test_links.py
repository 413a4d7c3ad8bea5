"""What a link does to packets: every setting alone, measured with datagrams."""

from __future__ import annotations

import socket
from io import BytesIO

import dpkt
import pytest

from pystack.testing import GilbertElliott, VirtualNetwork

B = ("10.0.0.2", 9)


@pytest.fixture
def flood(net):
    """Sends datagrams of 972 bytes, packets of 1000, from a to b; when each arrived, and which."""

    def run(count=1000, gap=0.0, size=972, then=lambda link: None, **quality):
        a, b = net.host("10.0.0.1"), net.host("10.0.0.2")
        link = net.link(a, b, **quality)
        arrived = []

        def receive():
            with b.socket(type=socket.SOCK_DGRAM) as sink:
                sink.bind(B)
                sink.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 26)
                while True:
                    data = sink.recv(65536)
                    arrived.append((net.now, int.from_bytes(data[:4], "big")))

        net.spawn(receive)
        with a.socket(type=socket.SOCK_DGRAM) as source:
            for number in range(count):
                source.sendto(number.to_bytes(4, "big") + bytes(size - 4), B)
                net.sleep(gap)
            then(link)
        net.settle("1h")
        run.link = link
        return arrived

    return run


def test_delay(flood):
    assert flood(3, gap=1, delay="20ms") == [(0.02, 0), (1.02, 1), (2.02, 2)]


def test_jitter_varies_the_delay_and_keeps_the_order(flood):
    arrived = flood(1000, gap=0.001, delay="20ms", jitter="5ms")
    assert [number for _, number in arrived] == list(range(1000))
    delays = [when - number * 0.001 for when, number in arrived]
    assert 0.015 <= min(delays) < 0.0175
    assert max(delays) <= 0.0251
    assert len(set(delays)) > 100


def test_what_arrives_at_once_is_one_batch(net):
    """Acknowledged as one, however many segments it is."""
    a, b = net.host("10.0.0.1"), net.host(B[0])
    link = net.link(a, b, delay="20ms")
    with b.create_server(B) as listener, a.create_connection(B) as client:
        server, _ = listener.accept()
        with server:
            before = link.back.counters["packets"]
            client.sendall(bytes(14_000))
            net.sleep(1)
            assert link.back.counters["packets"] == before + 1


def test_what_arrives_at_once_is_one_batch_whichever_way_it_comes(net):
    """All that came is seen before anything is answered."""
    b = net.host("10.0.0.9")
    others = [net.host(f"10.0.0.{n}") for n in (1, 2)]
    outbound = []

    class Writer:
        def write(self, packet, time_ns, sent):
            outbound.append(sent)

    for one in others:
        net.link(one, b, delay="20ms")
    b.serve("echo", "udp", 7)
    b.capture(Writer())
    with (
        others[0].socket(type=socket.SOCK_DGRAM) as one,
        others[1].socket(type=socket.SOCK_DGRAM) as two,
    ):
        for client in (one, two):
            client.sendto(b"hello", ("10.0.0.9", 7))
        net.sleep(1)
    assert outbound == [False, False, True, True]


def test_rate_puts_packets_one_after_the_other(flood):
    arrived = flood(10, rate="8Mbit/s", delay="1ms")
    assert [when for when, _ in arrived] == [n / 1000 for n in range(2, 12)]


def test_whoever_hears_departures_hears_each_when_it_is(flood, net):
    """From when on somebody listens, also if packets wait already."""
    heard = []

    def listen(link):
        way = link.there.way
        net.at(0.0035, lambda: setattr(way, "on_depart", lambda *what: heard.append(what[1])))
        net.at(0.0075, lambda: setattr(way, "on_depart", None))

    flood(10, rate="8Mbit/s", delay="20ms", then=listen)
    assert heard == [4_000_000, 5_000_000, 6_000_000, 7_000_000]


@pytest.mark.parametrize("where", ["on_depart", "on_arrive", "filter"])
@pytest.mark.parametrize("rate", [None, "1Mbit/s"])
def test_an_exception_of_whoever_looks_is_raised_where_the_main_function_waits(net, rate, where):
    """Not where somebody sends; and the next packet is as any other."""
    looked = []

    def look(*_):
        looked.append(net.now)
        if len(looked) == 1:
            raise ZeroDivisionError
        return True

    a, b = net.host("10.0.0.1"), net.host("10.0.0.2")
    link = net.link(a, b, rate=rate)
    if where == "filter":
        link.there.set(filter=look)
    else:
        setattr(link.there.way, where, look)
    with a.socket(type=socket.SOCK_DGRAM) as sender, b.socket(type=socket.SOCK_DGRAM) as sink:
        sink.bind(B)
        for data in (b"one", b"two"):
            sender.sendto(data, B)
        with pytest.raises(ZeroDivisionError):
            net.sleep(1)
        net.sleep(1)
        arrived = [sink.recv(9) for _ in range(link.there.counters["delivered"])]
    assert arrived == ([b"two"] if where == "filter" else [b"one", b"two"])
    assert len(looked) == 2


def test_a_shorter_delay_is_that_of_the_next_to_leave(flood, net):
    """Though until then nothing could arrive before what was held back."""

    def shorten(link):
        net.at(0.0015, lambda: link.there.set(delay=0, reorder=0))

    arrived = flood(3, rate="8Mbit/s", delay="20ms", reorder=1, reorder_by="1ms", then=shorten)
    assert arrived == [(0.002, 1), (0.003, 2), (0.022, 0)]


def test_a_filter_is_asked_when_the_packet_leaves(flood, net):
    asked = []

    def refuse(packet):
        asked.append(net.now)
        return len(asked) > 2

    def begin(link):
        net.at(0.0035, lambda: link.there.set(filter=refuse))

    arrived = flood(7, rate="8Mbit/s", delay="20ms", then=begin)
    assert asked == [0.004, 0.005, 0.006, 0.007]
    assert [number for _, number in arrived] == [0, 1, 2, 5, 6]


def test_a_full_queue_drops_what_comes_last(flood):
    """One is being sent, five wait, the other four are lost."""
    arrived = flood(10, rate="8Mbit/s", queue=5)
    assert [number for _, number in arrived] == [0, 1, 2, 3, 4, 5]
    assert flood.link.there.counters["overflowed"] == 4
    assert flood.link.there.counters["longest_queue"] == 5


def test_a_queue_may_be_counted_in_bytes(flood):
    assert len(flood(10, rate="8Mbit/s", queue="3500B")) == 4


def test_loss_is_a_share_of_the_packets(flood):
    assert 150 < 1000 - len(flood(1000, loss="20%")) < 250


def runs_of_loss(arrived, count):
    there = {number for _, number in arrived}
    lost = [number for number in range(count) if number not in there]
    return lost, sum(1 for number in lost if number - 1 in there or number == 0)


def test_bursts_have_a_mean_length_and_a_mean_loss(flood):
    arrived = flood(20_000, loss="5%", burst=8)
    lost, runs = runs_of_loss(arrived, 20_000)
    assert 0.03 < len(lost) / 20_000 < 0.07
    assert 6 < len(lost) / runs < 10


def test_gilbert_elliott_in_full(flood):
    model = GilbertElliott(good_to_bad="1%", bad_to_good="25%", bad="50%", good="0.1%")
    arrived = flood(20_000, loss=model)
    expected = 0.01 / 0.26 * 0.5 + 0.25 / 0.26 * 0.001
    assert 1 - len(arrived) / 20_000 == pytest.approx(expected, rel=0.25)


def test_reordering_holds_packets_back(flood):
    arrived = flood(1000, gap=0.001, delay="10ms", reorder="5%", reorder_by="3.5ms")
    late = [number for when, number in arrived if when - number * 0.001 > 0.0134]
    assert 25 < len(late) < 80
    order = [number for _, number in arrived]
    assert order != sorted(order)
    assert sorted(order) == list(range(1000))
    one = next(number for number in late if number < 990 and number + 3 not in late)
    assert order.index(one) > order.index(one + 3)


def test_duplicates_arrive_twice(flood):
    assert 1070 < len(flood(1000, duplicate="10%")) < 1130


def test_corruption_is_found_by_checksums(flood, net):
    assert 850 < len(flood(1000, corrupt="10%")) < 950
    assert net.hosts["10.0.0.2"].counters()["udp_drop_bad_checksum"] > 50


def test_a_filter_chooses_what_is_lost(flood):
    def every_third(packet):
        return dpkt.ip.IP(packet).data.data[3] % 3

    assert [number for _, number in flood(9, filter=every_third)] == [1, 2, 4, 5, 7, 8]


def test_the_directions_are_each_their_own(net):
    a, b = net.host("10.0.0.1"), net.host("10.0.0.2")
    link = net.link(a, b, delay="1ms", there={"delay": "30ms"})
    with b.create_server(("10.0.0.2", 80)), a.create_connection(("10.0.0.2", 80)):
        assert net.now == pytest.approx(0.031)
    link.back.set(delay="5ms")
    assert (link.there.quality["delay"], link.back.quality["delay"]) == ("30ms", "5ms")


def test_a_partition_loses_everything_until_it_is_healed(flood, net):
    net.at(2.5, lambda: net.links[0].partition())
    net.at(5.5, lambda: net.links[0].heal())
    arrived = flood(8, gap=1, delay="600ms")
    assert [number for _, number in arrived] == [0, 1, 6, 7]  # 2 was on its way


def test_what_is_held_arrives_when_it_is_released(flood, net):
    net.at(2.5, lambda: net.links[0].hold())
    net.at(5.5, lambda: net.links[0].release())
    arrived = flood(8, gap=1, delay="600ms")
    assert arrived == [
        (0.6, 0), (1.6, 1), (5.5, 2), (5.5, 3), (5.5, 4), (5.6, 5), (6.6, 6), (7.6, 7),
    ]  # fmt: skip


def test_settings_change_while_packets_fly(flood, net):
    net.at(1.5, lambda: net.links[0].set(delay="1s"))
    assert flood(3, gap=1, delay="100ms") == [(0.1, 0), (1.1, 1), (3.0, 2)]


def test_a_shorter_delay_overtakes_nothing(flood, net):
    net.at(0.05, lambda: net.links[0].set(delay="1ms"))
    assert [number for _, number in flood(3, gap=0.04, delay="1s")] == [0, 1, 2]


def test_a_train_is_cut_so_that_loss_is_per_packet(net):
    a, b = net.host("10.0.0.1"), net.host("10.0.0.2")
    lengths = []
    link = net.link(a, b, delay="1ms")
    with b.create_server(("10.0.0.2", 80)), a.create_connection(("10.0.0.2", 80)) as client:
        net.sleep(1)
        link.there.set(filter=lambda packet: lengths.append(len(packet)) or True)
        client.sendall(bytes(14_000))
        net.sleep(1)
    assert lengths[:10] == [1500] * 9 + [1020]


def test_hosts_have_the_mtu_of_their_link(net):
    a, b = net.host("10.0.0.1"), net.host("10.0.0.2", mtu=9000)
    link = net.link(a, b, mtu=1400)
    assert (a.mtu, b.mtu) == (1400, 9000)
    with a.socket(type=socket.SOCK_DGRAM) as one, b.socket(type=socket.SOCK_DGRAM) as other:
        one.bind(("10.0.0.1", 9))
        one.settimeout(1)
        other.bind(B)
        one.sendto(bytes(2000), B)
        assert len(other.recv(4000)) == 2000  # in fragments
        other.sendto(bytes(2000), ("10.0.0.1", 9))
        with pytest.raises(TimeoutError):  # a host that was told wrong
            one.recv(4000)
    assert link.back.counters["too_long"] == 1


def test_ecn_marks_take_the_place_of_loss(net):
    """RFC 3168 section 5; only what says that it is ECN-capable is marked."""
    a, b = net.host("10.0.0.1", "fd00::1"), net.host("10.0.0.2", "fd00::2")
    link = net.link(a, b, rate="8Mbit/s", mark=5)
    for family, to in ((socket.AF_INET, B), (socket.AF_INET6, ("fd00::2", 9))):
        v6 = family == socket.AF_INET6
        level, option = (41, socket.IPV6_TCLASS) if v6 else (0, socket.IP_TOS)
        with a.socket(family, socket.SOCK_DGRAM) as source, b.socket(family, 2) as sink:
            sink.bind(to)
            sink.setsockopt(level, socket.IPV6_RECVTCLASS if v6 else socket.IP_RECVTOS, 1)
            for tos in (2, 0):
                source.setsockopt(level, option, tos)
                for _ in range(10):
                    source.sendto(b"x", to)
            marks = []
            for _ in range(20):
                _, messages, _, _ = sink.recvmsg(10, 100)
                marks.append(messages[0][2][0])
        assert marks == [2] * 6 + [3] * 4 + [0] * 10
    assert link.there.counters["marked"] == 8


def test_a_capture_of_a_link_says_what_happens_to_packets(net, tmp_path):
    a, b = net.host("10.0.0.1", name="a"), net.host("10.0.0.2", name="b")
    link = net.link(a, b, rate="8Mbit/s", queue=1)
    link.pcap(tmp_path / "link.pcapng")
    with a.socket(type=socket.SOCK_DGRAM) as source:
        for _ in range(3):
            source.sendto(bytes(972), B)
        net.sleep(1)
        link.set(loss=1)
        source.sendto(bytes(972), B)
        net.sleep(1)
        link.set(loss=0)
        link.partition()
        source.sendto(bytes(972), B)
        net.sleep(1)
    net.close()
    data = (tmp_path / "link.pcapng").read_bytes()
    packets = list(dpkt.pcapng.Reader(BytesIO(data)))
    assert len(packets) == 7  # five datagrams, and two errors: nobody listens
    for fate in (b"queue full", b"lost", b"partition"):
        assert data.count(fate) == 1


@pytest.mark.parametrize(
    ("quality", "text"),
    [
        ({"delay": "20 miles"}, "'20 miles' is no duration; write it as '20ms' or 0.02"),
        ({"delay": -1}, "must not be negative"),
        ({"loss": 2}, "it is more than 1; write '2%' or 0.02"),
        ({"loss": "99%", "burst": 2}, "no bursts of 2 packets make a loss of 99%"),
        ({"rate": 0}, "a rate of 0 carries nothing"),
        ({"rate": "10 Mbit/h"}, "is no rate"),
        ({"mtu": 20}, "mtu 20 is not within 68 and 65535"),
        ({"oversize": "shout"}, "not one of report, drop"),
        ({"queue": -1}, "not less than 0"),
        ({"burst": 0.5}, "1 packet at least"),
    ],
)
def test_settings_that_mean_nothing_are_refused(net, quality, text):
    a, b = net.host("10.0.0.1"), net.host("10.0.0.2")
    with pytest.raises(ValueError, match=text):
        net.link(a, b, **quality)


def test_settings_that_there_are_not_are_refused(net):
    with pytest.raises(TypeError, match="a link has no 'speed'; it has delay, jitter, rate"):
        VirtualNetwork(speed=1)


def test_effects_draw_from_random_numbers_of_their_own():
    """To turn on jitter loses no other packets than before."""

    def lost(**quality):
        with VirtualNetwork(seed=5, loss="10%", **quality) as net:
            a, b = net.host("10.0.0.1"), net.host("10.0.0.2")
            fates = []
            net.link(a, b).there.way.on_depart = lambda packet, now, fate: fates.append(fate)
            with a.socket(type=socket.SOCK_DGRAM) as source:
                for _ in range(200):
                    source.sendto(b"x", B)
        return [fate == "lost" for fate in fates]

    assert any(lost())
    assert lost() == lost(jitter="1ms", delay="10ms", duplicate=0.1, reorder=0.1, corrupt=0.1)
