"""BBR over simulated links: what it is for (draft-cardwell-iccrg-bbr-congestion-control-00)."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from itertools import pairwise

import pytest

import pystack
from pystack.testing import Transfer, VirtualNetwork

TCP = 6
PAYLOAD = 1448 / 1500  # of a packet with timestamps
RTT = 0.04
DEEP = {"rate": "20Mbit/s", "delay": "20ms", "queue": 1000}


def bbr_info(sock):
    """(bytes per second, least RTT in s, pacing gain, cwnd gain): Linux's struct tcp_bbr_info."""
    data = sock.getsockopt(TCP, pystack.TCP_CC_INFO, 64)
    low, high, rtt, pacing, cwnd = struct.unpack("5I", data)
    return high << 32 | low, rtt / 1e6, pacing / 256, cwnd / 256


@dataclass
class Flow:
    """A connection, and what was seen of it every 10 ms."""

    sock: pystack.Socket
    received: int = 0
    seen: list[tuple[float, pystack.TcpInfo]] = field(default_factory=list)
    at: list[int] = field(default_factory=list)  # received by then

    def rate(self, begin, end):
        """bit/s between these times."""
        times = [time for time, _ in self.seen]
        first = next(i for i, time in enumerate(times) if time >= begin)
        last = max(i for i, time in enumerate(times) if time <= end)
        return (self.at[last] - self.at[first]) * 8 / (times[last] - times[first])

    def between(self, begin, end):
        return [info for time, info in self.seen if begin <= time <= end]


class Bottleneck:
    """Flows from one host to another, over a link."""

    def __init__(self, seed=1, **link):
        self.net = VirtualNetwork(seed)
        self.a, self.b = self.net.host("10.0.0.1"), self.net.host("10.0.0.2")
        self.link = self.net.link(self.a, self.b, **link)
        self.flows = []

    def __enter__(self):
        self.net.__enter__()
        return self

    def __exit__(self, *ending):
        self.net.__exit__(*ending)

    def flow(self, algorithm="bbr", writes=True):
        """One more that, if it writes, sends as much as it can."""
        port = 5000 + len(self.flows)
        flow = Flow(self.a.socket(pystack.AF_INET, pystack.SOCK_STREAM))
        self.flows.append(flow)
        flow.sock.setsockopt(TCP, pystack.TCP_CONGESTION, algorithm.encode())
        listener = self.b.create_server(("10.0.0.2", port))

        def read():
            with listener, listener.accept()[0] as connection:
                while data := connection.recv(1 << 16):
                    flow.received += len(data)

        def write():
            while True:
                flow.sock.send(bytes(1 << 16))

        def sample():
            flow.seen.append((self.net.now, flow.sock.tcp_info()))
            flow.at.append(flow.received)
            self.net.at(self.net.now + 0.01, sample)

        self.net.spawn(read)
        flow.sock.connect(("10.0.0.2", port))
        if writes:
            self.net.spawn(write)
        self.net.at(self.net.now, sample)
        return flow


def share(bits_per_second, rate=20e6):
    return bits_per_second / (rate * PAYLOAD)


def mean_rtt(flow, begin, end):
    seen = flow.between(begin, end)
    return sum(info.rtt for info in seen) / len(seen) / 1e6


def test_a_deep_queue_stays_almost_empty():
    """Section 1: the rate of the bottleneck without its queue, where losses would fill that."""
    with Bottleneck(**DEEP) as line:
        flow = line.flow()
        line.net.sleep(9)
        assert share(flow.rate(1, 9)) > 0.95
        assert mean_rtt(flow, 2, 9) < 1.25 * RTT
        assert line.link.there.counters["overflowed"] == 0
    with Bottleneck(**DEEP) as line:
        flow = line.flow("cubic")
        line.net.sleep(9)
        assert mean_rtt(flow, 2, 9) > 3 * RTT


@pytest.mark.parametrize("loss", ["1%", "2%"])
def test_random_loss_does_not_slow_it_down(loss):
    """Section 1; a window that is halved by each loss cannot use such a path."""
    link = {**DEEP, "loss": loss}
    goodput = {
        name: Transfer("5MB", seed=4, cc=name, link=link).run().goodput
        for name in ("reno", "cubic", "bbr")
    }
    assert share(goodput["bbr"]) > 0.85
    assert goodput["reno"] < goodput["bbr"] / 3
    assert goodput["cubic"] < goodput["bbr"] / 3


def test_it_knows_the_path():
    """Section 4.1, and TCP_CC_INFO as Linux: the bandwidth to a few percent, the least RTT."""
    with Bottleneck(**DEEP) as line:
        flow = line.flow()
        line.net.sleep(3)
        bandwidth, rtt, _, cwnd_gain = bbr_info(flow.sock)
        told = flow.sock.tcp_info()
    assert bandwidth == pytest.approx(20e6 / 8 * PAYLOAD, rel=0.03)
    assert rtt == pytest.approx(RTT, rel=0.05)
    assert cwnd_gain == 2
    assert told.delivery_rate == pytest.approx(bandwidth, rel=0.25)  # of the last ACK
    assert told.pacing_rate <= bandwidth * 1.25


def test_what_the_application_limits_does_not_lower_the_estimate():
    """Section 4.1.1.3: more than ten rounds of a request each second."""
    with Bottleneck(**DEEP) as line:
        flow = line.flow(writes=False)
        flow.sock.sendall(bytes(4_000_000))
        line.net.sleep(1)
        known = bbr_info(flow.sock)[0]
        for _ in range(25):
            flow.sock.sendall(bytes(2000))
            line.net.sleep(0.1)
        assert bbr_info(flow.sock)[0] == known
        # At once at that rate, and paced: no burst.
        begin, before = line.net.now, line.link.there.counters["longest_queue"]
        flow.sock.sendall(bytes(2_000_000))
        line.net.sleep(1)
        assert share(flow.rate(begin, begin + 0.6)) > 0.8
        assert line.link.there.counters["longest_queue"] == before


def test_every_ten_seconds_it_looks_for_the_least_round_trip():
    """Section 4.3.5: four segments for 200 ms and a round; then the window is as before."""
    with Bottleneck(rate="10Mbit/s", delay="20ms", queue=500) as line:
        flow = line.flow()
        line.net.sleep(34)
        small = [time for time, info in flow.seen if time > 1 and info.snd_cwnd <= 4]
        starts = [time for i, time in enumerate(small) if i == 0 or time - small[i - 1] > 1]
        assert len(starts) == 3
        assert all(10 <= later - one <= 11 for one, later in pairwise(starts))
        for start in starts:
            length = max(time for time in small if time - start < 1) - start
            assert 0.2 <= length <= 0.35
            # All of it costs two percent.
            assert share(flow.rate(start - 4, start + 4), 10e6) > 0.93


def test_a_longer_path_is_found_out():
    """Section 4.1.2.3: the least round trip is that of the last ten seconds."""
    with Bottleneck(**DEEP) as line:
        flow = line.flow()
        line.net.sleep(3)
        line.link.set(delay="40ms")
        line.net.sleep(20)
        assert bbr_info(flow.sock)[1] == pytest.approx(2 * RTT, rel=0.05)
        assert share(flow.rate(16, 22)) > 0.9


def test_a_rate_that_falls_is_followed():
    """Section 4.1.1.3: the maximum is that of the last ten rounds."""
    with Bottleneck(**DEEP) as line:
        flow = line.flow()
        line.net.sleep(3)
        line.link.set(rate="5Mbit/s")
        line.net.sleep(15)
        assert bbr_info(flow.sock)[0] == pytest.approx(5e6 / 8 * PAYLOAD, rel=0.05)
        assert mean_rtt(flow, 14, 18) < 2 * RTT


@pytest.mark.parametrize("flows", [2, 3])
def test_flows_share_a_bottleneck(flows):
    """Section 1: Jain's index, where one comes after the other."""
    with Bottleneck(rate="10Mbit/s", delay="10ms", queue=200) as line:
        for _ in range(flows):
            line.flow()
            line.net.sleep(1)
        line.net.sleep(40)
        rates = [flow.rate(15, 40) for flow in line.flows]
    assert sum(rates) ** 2 / (flows * sum(x * x for x in rates)) > 0.85
    assert share(sum(rates), 10e6) > 0.93


def test_another_algorithm_may_take_over():
    """tcp(7), TCP_CONGESTION: BBR goes with what it knew, and so does its pacing."""
    with Bottleneck(**DEEP) as line:
        flow = line.flow()
        line.net.sleep(2)
        assert len(flow.sock.getsockopt(TCP, pystack.TCP_CC_INFO, 64)) == 20
        flow.sock.setsockopt(TCP, pystack.TCP_CONGESTION, b"reno")
        assert flow.sock.getsockopt(TCP, pystack.TCP_CC_INFO, 64) == b""
        line.net.sleep(2)
        flow.sock.setsockopt(TCP, pystack.TCP_CONGESTION, b"bbr")
        line.net.sleep(3)
        assert share(flow.rate(0.5, 7)) > 0.95
        assert bbr_info(flow.sock)[0] == pytest.approx(20e6 / 8 * PAYLOAD, rel=0.05)
