"""struct tcp_info by its fields, and the constants that code blocks know.

Called by: code (snapshots), call_options.
RFCs: none; Linux's include/uapi/linux/tcp.h.
"""

from __future__ import annotations

import struct

# (format, names) in the order of the struct; "" is padding.
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
WORDS_5 = (
    "total_rto_time", "received_ce", "delivered_e1_bytes", "delivered_e0_bytes",
    "delivered_ce_bytes", "received_e1_bytes", "received_e0_bytes", "received_ce_bytes",
)  # fmt: skip
LAYOUT = (
    ("B", BYTES), ("I", WORDS), ("Q", LONGS), ("I", WORDS_2), ("Q", LONGS_2), ("I", WORDS_3),
    ("Q", LONGS_3), ("I", WORDS_4), ("H", SHORTS), ("I", WORDS_5),
)  # fmt: skip
SIZE = 512  # room for what later kernels append

STATES = (
    "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE",
    "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV",
)  # fmt: skip
FREEBSD_STATES = (
    "ESTABLISHED", "SYN_SENT", "SYN_RECEIVED", "FIN_WAIT_1", "FIN_WAIT_2", "TIME_WAIT", "CLOSED",
    "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING",
)  # fmt: skip
CONSTANTS = {
    **{f"TCPS_{name}": number for number, name in enumerate(FREEBSD_STATES, 1)},
    **{f"TCP_{name}": number for number, name in enumerate(STATES, 1)},
    **{
        f"TCP_CA_{name}": number
        for number, name in enumerate(("Open", "Disorder", "CWR", "Recovery", "Loss"))
    },
    "TCPI_OPT_TIMESTAMPS": 1,
    "TCPI_OPT_SACK": 2,
    "TCPI_OPT_WSCALE": 4,
    "TCPI_OPT_ECN": 8,
    "TCPI_OPT_ECN_SEEN": 16,
    "TCPI_OPT_SYN_DATA": 32,
    "TCPI_OPT_USEC_TS": 64,
    "TCPI_OPT_TFO_CHILD": 128,
}


def unpack(data: bytes) -> dict[str, int]:
    """tcpi_<field> -> value, as far as the data goes."""
    fields: dict[str, int] = {}
    at = 0
    for form, names in LAYOUT:
        one = struct.Struct(f"={form}")
        for name in names:
            if at + one.size > len(data):
                return fields
            fields[f"tcpi_{name}"] = one.unpack_from(data, at)[0]
            at += one.size
    scales, rates = fields["tcpi_scales"], fields["tcpi_rate_flags"]
    fields["tcpi_snd_wscale"], fields["tcpi_rcv_wscale"] = scales & 15, scales >> 4
    fields["tcpi_delivery_rate_app_limited"] = rates & 1
    fields["tcpi_fastopen_client_fail"] = rates >> 1 & 3
    return fields
