"""TcpInfo: what a TCP connection is doing, as Linux's TCP_INFO tells it.

Called by: pystack.socket, the packet-script runner.
RFCs: none; tcp(7), Linux's include/uapi/linux/tcp.h.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields

# struct tcp_info: (format, members) in their order.
BYTES = (
    "state", "ca_state", "retransmits", "probes", "backoff", "options", "scales", "rate_flags",
)  # fmt: skip
WORDS = (
    "rto", "ato", "snd_mss", "rcv_mss", "unacked", "sacked", "lost", "retrans", "fackets",
    "last_data_sent", "last_ack_sent", "last_data_recv", "last_ack_recv", "pmtu", "rcv_ssthresh",
    "rtt", "rttvar", "snd_ssthresh", "snd_cwnd", "advmss", "reordering", "rcv_rtt", "rcv_space",
    "total_retrans",
)  # fmt: skip
LONGS = ("pacing_rate", "max_pacing_rate", "bytes_acked", "bytes_received")
WORDS_2 = ("segs_out", "segs_in", "notsent_bytes", "min_rtt", "data_segs_in", "data_segs_out")
LONGS_2 = ("delivery_rate", "busy_time", "rwnd_limited", "sndbuf_limited")
WORDS_3 = ("delivered", "delivered_ce")
LONGS_3 = ("bytes_sent", "bytes_retrans")
WORDS_4 = ("dsack_dups", "reord_seen", "rcv_ooopack", "snd_wnd", "rcv_wnd", "rehash")
SHORTS = ("total_rto", "total_rto_recoveries")
LAYOUT = (
    ("B", BYTES), ("I", WORDS), ("Q", LONGS), ("I", WORDS_2), ("Q", LONGS_2), ("I", WORDS_3),
    ("Q", LONGS_3), ("I", WORDS_4), ("H", SHORTS), ("I", ("total_rto_time",)),
)  # fmt: skip

# Bits of `options`.
OPTIONS = {
    "TCPI_OPT_TIMESTAMPS": 1,
    "TCPI_OPT_SACK": 2,
    "TCPI_OPT_WSCALE": 4,
    "TCPI_OPT_ECN": 8,
    "TCPI_OPT_ECN_SEEN": 16,
    "TCPI_OPT_SYN_DATA": 32,
    "TCPI_OPT_USEC_TS": 64,
    "TCPI_OPT_TFO_CHILD": 128,
}
# States from 1 on, and what congestion control does from 0 on.
STATES = (
    "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE",
    "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV",
)  # fmt: skip
CA_STATES = ("Open", "Disorder", "CWR", "Recovery", "Loss")


@dataclass(frozen=True)
class TcpInfo:
    """The members of Linux's struct tcp_info.

    Sizes are bytes, but cwnd, ssthresh and the counts of what is outstanding, in segments. Times
    are microseconds, last_* milliseconds; rates bytes per second. What is not measured is 0.
    """

    state: int  # 1 ESTABLISHED, 2 SYN_SENT, ...: STATES
    ca_state: int  # 0 Open, 1 Disorder, 2 CWR, 3 Recovery, 4 Loss
    retransmits: int  # timeouts in a row
    probes: int  # of a closed window or an idle peer, unanswered
    backoff: int  # doublings of the RTO
    options: int  # agreed on: OPTIONS
    fastopen_client_fail: int  # 1 no cookie, 2 data not acknowledged, 3 the SYN was repeated
    snd_wscale: int
    rcv_wscale: int
    rto: int
    ato: int
    snd_mss: int
    rcv_mss: int
    unacked: int  # of a listener: connections that wait to be accepted
    sacked: int  # of a listener: the backlog
    lost: int
    retrans: int
    last_data_sent: int
    last_data_recv: int
    last_ack_recv: int
    pmtu: int
    rcv_ssthresh: int
    rtt: int
    rttvar: int
    snd_ssthresh: int  # 0x7fffffff: not known yet
    snd_cwnd: int
    advmss: int
    reordering: int
    rcv_rtt: int
    rcv_space: int
    total_retrans: int
    pacing_rate: int
    max_pacing_rate: int
    bytes_acked: int
    bytes_received: int
    segs_out: int
    segs_in: int
    notsent_bytes: int
    min_rtt: int
    data_segs_in: int
    data_segs_out: int
    delivery_rate: int
    busy_time: int
    rwnd_limited: int
    sndbuf_limited: int
    delivered: int
    delivered_ce: int
    bytes_sent: int
    bytes_retrans: int
    dsack_dups: int
    reord_seen: int
    rcv_ooopack: int
    snd_wnd: int
    rcv_wnd: int
    rehash: int
    total_rto: int
    total_rto_recoveries: int
    total_rto_time: int

    @classmethod
    def from_bytes(cls, data: bytes) -> TcpInfo:
        """What getsockopt(IPPROTO_TCP, TCP_INFO, 512) returns, of this stack or of the kernel."""
        known = unpack(data)
        return cls(**{field.name: known.get(field.name, 0) for field in fields(cls)})


def unpack(data: bytes) -> dict[str, int]:
    """Members by name, as far as the data goes."""
    known: dict[str, int] = {}
    at = 0
    for form, names in LAYOUT:
        one = struct.Struct(f"={form}")
        for name in names:
            if at + one.size > len(data):
                break
            known[name] = one.unpack_from(data, at)[0]
            at += one.size
    scales, rates = known.get("scales", 0), known.get("rate_flags", 0)
    known["snd_wscale"], known["rcv_wscale"] = scales & 15, scales >> 4
    known["delivery_rate_app_limited"], known["fastopen_client_fail"] = rates & 1, rates >> 1 & 3
    return known
