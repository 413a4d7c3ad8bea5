"""TcpConfig: what a Linux host keeps in its TCP sysctls, here of one stack.

Called by: applications, which give it to Stack; the packet-script runner, by from_sysctls.
RFCs: the fields name theirs; tcp(7) and Linux's ip-sysctl.rst for the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from math import isfinite
from typing import Any

from pystack.core.tcp.congestion.interface import NAMES

MILLISECONDS, MICROSECONDS = 1_000, 1_000_000  # in a second
NANOSECONDS = 1_000_000_000
UNLIMITED = 0xFFFFFFFF

# Fields that a socket's own configuration cannot change: they bound or choose for the whole stack.
STACK_WIDE = frozenset((
    "challenge_limit",
    "fastopen",
    "fastopen_blackhole",
    "fastopen_key",
    "max_orphans",
    "max_time_wait",
    "metrics",
    "metrics_ssthresh",
    "port_range",
    "time_wait_reuse",
    "time_wait_reuse_delay",
))  # fmt: skip

# Bits of TcpConfig.fastopen (RFC 7413), as Linux's tcp_fastopen.
TFO_CLIENT = 0x1
TFO_SERVER = 0x2
TFO_CLIENT_NO_COOKIE = 0x4
TFO_SERVER_COOKIE_NOT_REQUIRED = 0x200
TFO_SERVER_WITHOUT_OPTION = 0x400

Triple = tuple[int, int, int]
Sysctl = str | int | float


class UnsupportedSysctls(ValueError):
    """Settings of Linux that a stack has not, or not with such a value.

    reasons: why, by name. config: with all the others.
    """

    def __init__(self, reasons: dict[str, str], config: TcpConfig) -> None:
        super().__init__("; ".join(f"{name}: {reason}" for name, reason in reasons.items()))
        self.reasons = reasons
        self.config = config


def seconds(
    default: float, least: float, most: float, sysctl: str = "", per_second: int = 1
) -> Any:
    """A time in seconds, within bounds; the sysctl counts so many per second."""
    return field(
        default=default,
        metadata={
            "kind": "seconds",
            "within": (least, most),
            "sysctl": sysctl,
            "per_second": per_second,
        },
    )


def number(default: int, least: int, most: int, sysctl: str = "") -> Any:
    return field(
        default=default, metadata={"kind": "number", "within": (least, most), "sysctl": sysctl}
    )


def switch(default: bool, sysctl: str = "", *, inverted: bool = False) -> Any:
    return field(
        default=default, metadata={"kind": "switch", "sysctl": sysctl, "inverted": inverted}
    )


def sizes(default: Triple, sysctl: str) -> Any:
    return field(default=default, metadata={"kind": "sizes", "sysctl": sysctl})


@dataclass(frozen=True, kw_only=True)
class TcpConfig:
    """How the TCP of a stack behaves, where its sockets do not say otherwise.

    Times are in seconds, sizes in bytes. The defaults are those of Linux. ValueError names a field
    whose value cannot be.
    """

    # Retransmission (RFC 6298).
    rto_initial: float = seconds(1.0, 0.001, 120)
    """The timeout before there is a round trip to go by."""
    rto_min: float = seconds(0.2, 0.001, 120, "tcp_rto_min_us", MICROSECONDS)
    """The least that a timeout adds to the smoothed round trip."""
    rto_max: float = seconds(120.0, 1, 120, "tcp_rto_max_ms", MILLISECONDS)
    """The most that a timeout grows to by back-off."""
    syn_retries: int = number(6, 1, 127, "tcp_syn_retries")
    """How often a SYN is repeated with back-off before connect fails."""
    syn_linear_timeouts: int = number(4, 0, 127, "tcp_syn_linear_timeouts")
    """So many SYNs are repeated without back-off before it begins."""
    synack_retries: int = number(5, 0, 127, "tcp_synack_retries")
    """How often a SYN-ACK is repeated."""
    retries1: int = number(3, 0, 255, "tcp_retries1")
    """After so many timeouts the path is doubted: cached metrics go, black holes are probed for."""
    retries2: int = number(15, 0, 255, "tcp_retries2")
    """So many timeouts end a connection (R2 of RFC 1122 section 4.2.3.5)."""
    orphan_retries: int = number(0, 0, 255, "tcp_orphan_retries")
    """The same for one that nobody holds any more; 0: 8."""

    # Acknowledgments (RFC 9293 section 3.8.6.3).
    delayed_ack: float = seconds(0.04, 0, 0.5)
    """The least delay; it grows with the distance of segments."""
    delayed_ack_max: float = seconds(0.2, 0, 0.5)
    """The most delay of an ACK."""
    pingpong_threshold: int = number(1, 1, 255, "tcp_pingpong_thresh")
    """So many answers to text make a connection interactive: no more quick ACKs."""
    cork: float = seconds(0.2, 0, 60)
    """How long TCP_CORK, MSG_MORE or a silly window hold data back at least: it is a retransmission
    timeout if that is longer."""

    # Loss recovery (RFC 8985, 5682, 6675).
    recovery: int = number(1, 0, 7, "tcp_recovery")
    """Bits: 1 RACK, 2 with a static reordering window, 4 without the three duplicates."""
    early_retrans: int = number(3, 0, 4, "tcp_early_retrans")
    """3, 4: tail loss probes; 0: none."""
    frto: int = number(2, 0, 2, "tcp_frto")
    """0: a timeout is never found out to have been spurious by what is acknowledged after it."""
    reordering: int = number(3, 1, 300, "tcp_reordering")
    """Segments that may overtake another before that is believed lost: DupThresh at first."""
    max_reordering: int = number(300, 1, 1000, "tcp_max_reordering")
    """As far as it grows where reordering has been seen."""
    thin_linear_timeouts: bool = switch(False, "tcp_thin_linear_timeouts")
    """Streams with fewer than four segments outstanding repeat timeouts without back-off."""
    min_rtt_window: float = seconds(300.0, 0, 86400, "tcp_min_rtt_wlen")
    """How long the least round trip is remembered."""

    # Options (RFC 7323, 2018, 2883).
    timestamps: int = number(1, 0, 2, "tcp_timestamps")
    """1: with a random offset for each pair of addresses; 2: without; 0: none."""
    sack: bool = switch(True, "tcp_sack")
    """Selective acknowledgments are offered and agreed to."""
    dsack: bool = switch(True, "tcp_dsack")
    """Duplicates are reported to the peer."""
    window_scaling: bool = switch(True, "tcp_window_scaling")
    """Windows above 65,535 bytes are offered and agreed to."""

    # Congestion control (RFC 5681, 6928, 9438, 3168).
    congestion_control: str = field(
        default="cubic", metadata={"kind": "name", "sysctl": "tcp_congestion_control"}
    )
    """By name, of new sockets."""
    initial_window: int = number(10, 1, 1000)
    """Segments."""
    slow_start_after_idle: bool = switch(True, "tcp_slow_start_after_idle")
    """A window that was not used for a timeout is forgotten (RFC 5681 section 4.1)."""
    ecn: int = number(2, 0, 2, "tcp_ecn")
    """0: never; 1: asked for and agreed to; 2: agreed to."""
    ecn_fallback: bool = switch(True, "tcp_ecn_fallback")
    """A SYN that is lost is repeated without asking for ECN (RFC 3168 section 6.1.1.1)."""
    abe: bool = switch(True)
    """A congestion mark reduces the window less than a loss does (RFC 8511)."""
    hystart: bool = switch(True)
    """cubic's slow start ends when round trips become longer: HyStart++ (RFC 9406)."""
    hystart_classic: bool = switch(False)
    """It does so by the older HyStart, as Linux has it, instead."""
    cubic_reno_pace: bool = switch(True)
    """cubic's estimate of Reno grows as fast as Reno once it has passed the window of the last loss
    (RFC 9438 section 4.3, a SHOULD that Linux does not follow)."""
    pacing_ss_ratio: int = number(200, 1, 1000, "tcp_pacing_ss_ratio")
    """Percent of cwnd / srtt in slow start."""
    pacing_ca_ratio: int = number(120, 1, 1000, "tcp_pacing_ca_ratio")
    """The same in congestion avoidance."""
    min_tso_segs: int = number(2, 1, 65535, "tcp_min_tso_segs")
    """Segments that a train has at least, however slow the path, if there is that much to send."""
    tso_rtt_log: int = number(9, 0, 255, "tcp_tso_rtt_log")
    """Trains become longer where the round trip is less than 2 to this power, in microseconds;
    0: they do not."""
    tso_win_divisor: int = number(3, 0, 255, "tcp_tso_win_divisor")
    """A train that is less than this part of the window waits a moment for the next ACK; 0: it
    waits as long as it would be no more than three segments."""

    # Buffers. As in Linux half of each receive buffer is window, with window_share 1.
    receive_buffer: Triple = sizes((4096, 131072, 33554432), "tcp_rmem")  # noqa: RUF009
    """Least, at the beginning, and as far as auto-tuning goes. The least is Linux's, for hosts that
    are short of memory; here it has no effect."""
    send_buffer: Triple = sizes((4096, 262144, 4194304), "tcp_wmem")  # noqa: RUF009
    """The same of what is written and not acknowledged."""
    receive_buffer_limit: int = number(4194304, 4096, 1 << 30, "net.core.rmem_max")
    """What SO_RCVBUF may ask for."""
    send_buffer_limit: int = number(4194304, 4096, 1 << 30, "net.core.wmem_max")
    """What SO_SNDBUF may ask for."""
    auto_receive_buffer: bool = switch(True, "tcp_moderate_rcvbuf")
    """Receive buffers grow with what is read in a round trip."""
    window_share: int = number(1, -31, 31, "tcp_adv_win_scale")
    """N > 0: a receive buffer less its N-th power of two's share is window; N <= 0: that share."""
    notsent_lowat: int = number(UNLIMITED, 0, UNLIMITED, "tcp_notsent_lowat")
    """A socket is writable while fewer bytes than that wait to be sent for the first time."""

    # Segments (RFC 4821, 9293 section 3.7.1).
    mtu_probing: int = number(0, 0, 2, "tcp_mtu_probing")
    """0: by ICMP only; 1: after timeouts that look like a black hole; 2: always."""
    base_mss: int = number(1024, 48, 65495, "tcp_base_mss")
    """Where probing begins."""
    mtu_probe_floor: int = number(48, 48, 65495, "tcp_mtu_probe_floor")
    """As small as probing gets."""
    probe_interval: float = seconds(600.0, 0, 86400, "tcp_probe_interval")
    """How long until a larger size is tried again."""
    probe_threshold: int = number(8, 0, 65535, "tcp_probe_threshold")
    """The search ends when its bounds are that close."""
    advertised_mss: int = number(0, 0, 65495)
    """What our MSS option says at most, as the advmss of a route; 0: what the MTU allows."""
    min_snd_mss: int = number(48, 48, 65495, "tcp_min_snd_mss")
    """What a peer's MSS option can say at least."""

    # Fast open (RFC 7413).
    fastopen: int = number(TFO_CLIENT, 0, 0xFFFFF, "tcp_fastopen")
    """Bits: 1 client, 2 server, 4 data in SYNs without a cookie, 0x200 cookies are not asked of
    clients, 0x400 all listeners, without their asking for it."""
    fastopen_key: bytes | None = field(
        default=None, metadata={"kind": "key", "sysctl": "tcp_fastopen_key"}
    )
    """16 bytes, or 32: the key and the one before. None: of the stack's seed."""
    fastopen_blackhole: float = seconds(0.0, 0, 86400, "tcp_fastopen_blackhole_timeout_sec")
    """How long not to try after a middlebox seems to have eaten data in a SYN; 0: try on."""

    # Listeners (RFC 4987).
    syn_cookies: int = number(1, 0, 2, "tcp_syncookies")
    """0: never; 1: when the queue is full; 2: always."""
    max_syn_backlog: int = number(1024, 1, 1 << 20, "tcp_max_syn_backlog")
    """Half-open connections of a listener."""
    max_backlog: int = number(4096, 1, 1 << 20, "net.core.somaxconn")
    """What listen() may ask for."""
    abort_on_overflow: bool = switch(False, "tcp_abort_on_overflow")
    """A handshake that finds no place in the backlog is reset, not left to be repeated."""

    # Keepalive, endings (RFC 1122 section 4.2.3.6, 9293 section 3.6, 1337, 6191).
    keepalive_time: float = seconds(7200.0, 1, 32767, "tcp_keepalive_time")
    """Silence before the first keepalive probe."""
    keepalive_interval: float = seconds(75.0, 1, 32767, "tcp_keepalive_intvl")
    """Between probes."""
    keepalive_probes: int = number(9, 1, 127, "tcp_keepalive_probes")
    """So many without an answer end the connection."""
    fin_timeout: float = seconds(60.0, 0, 120, "tcp_fin_timeout")
    """How long a connection that nobody holds waits for the peer's FIN."""
    time_wait: float = seconds(60.0, 0.001, 240)
    """2 MSL."""
    max_time_wait: int = number(65536, 1, 1 << 24, "tcp_max_tw_buckets")
    """Beyond it the oldest goes."""
    max_orphans: int = number(65536, 1, 1 << 24, "tcp_max_orphans")
    """Connections that nobody holds; beyond it a close resets."""
    rfc1337: bool = switch(True, "tcp_rfc1337")
    """A RST does not end TIME-WAIT (RFC 1337 section 3). Linux's default is that it does."""
    time_wait_reuse: int = number(2, 0, 2, "tcp_tw_reuse")
    """May connect() take the port of a connection in TIME-WAIT: 0 no, 1 yes, 2 yes, of the
    loopback device (as which packets between two addresses of one stack count)."""
    time_wait_reuse_delay: float = seconds(1.0, 0, 60, "tcp_tw_reuse_delay", MILLISECONDS)
    """But not before so long in TIME-WAIT."""

    # The user timeout option (RFC 5482), which Linux has not.
    user_timeout_option: bool = switch(False)
    """Tell the peer our user timeout, and take over its, where the application has not set one."""
    user_timeout_advertised: float = seconds(300.0, 1, 1_966_020)
    """What is told where the application has not set TCP_USER_TIMEOUT."""
    user_timeout_least: float = seconds(100.0, 1, 1_966_020)
    """What is taken over is at least that long."""
    user_timeout_most: float = seconds(3600.0, 1, 1_966_020)
    """And at most that long."""

    # Challenge ACKs (RFC 5961).
    challenge_period: float = seconds(0.5, 0, 60, "tcp_invalid_ratelimit", MILLISECONDS)
    """At least between two of one connection."""
    challenge_limit: int = number(1000, 0, 0x7FFFFFFF, "tcp_challenge_ack_limit")
    """In a second, of the whole stack."""

    # What is remembered of destinations (RFC 9040), and ports (RFC 6056).
    metrics: bool = switch(True, "tcp_no_metrics_save", inverted=True)
    """What was learnt of a destination is used by later connections."""
    metrics_ssthresh: bool = switch(False, "tcp_no_ssthresh_metrics_save", inverted=True)
    """Its slow start threshold too."""
    port_range: tuple[int, int] = field(
        default=(32768, 60999), metadata={"kind": "ports", "sysctl": "ip_local_port_range"}
    )
    """Ports that connect, and bind to port 0, choose from."""

    def __post_init__(self) -> None:
        for one in fields(self):
            CHECKS[one.metadata["kind"]](one.name, getattr(self, one.name), one.metadata)
        if self.rto_min > self.rto_max:
            raise ValueError(f"rto_min {self.rto_min} is above rto_max {self.rto_max}")
        if self.user_timeout_least > self.user_timeout_most:
            raise ValueError(
                f"user_timeout_least {self.user_timeout_least} is above user_timeout_most"
                f" {self.user_timeout_most}"
            )
        if self.delayed_ack > self.delayed_ack_max:
            raise ValueError(
                f"delayed_ack {self.delayed_ack} is above delayed_ack_max {self.delayed_ack_max}"
            )

    @classmethod
    def from_sysctls(cls, values: Mapping[str, Sysctl], base: TcpConfig | None = None) -> TcpConfig:
        """base (the defaults), changed by Linux's names: {"net.ipv4.tcp_sack": 0, ...}.

        A name may be given as a path below /proc/sys, and without "net.ipv4.". Values are what one
        would write there. Settings that have no meaning here but do no harm are passed over.
        UnsupportedSysctls tells those that cannot be honoured; its config has the others.
        """
        config = base or cls()
        reasons: dict[str, str] = {}
        for given, value in values.items():
            name = plain_name(given)
            try:
                one = BY_SYSCTL.get(name)
                if one is not None:
                    config = replace(config, **{one.name: READ[one.metadata["kind"]](value, one)})
                elif name not in HARMLESS and str(value).strip() not in FIXED.get(name, ()):
                    reasons[given] = (
                        f"only {' or '.join(FIXED[name])}" if name in FIXED else "no such setting"
                    )
            except ValueError as problem:
                reasons[given] = str(problem)
        if reasons:
            raise UnsupportedSysctls(reasons, config)
        return config

    def window_of(self, buffer: int) -> int:
        """How much of a receive buffer of so many bytes is window."""
        share = self.window_share
        return buffer - (buffer >> share) if share > 0 else buffer >> -share

    @property
    def window_scale(self) -> int:
        """The shift that sockets offer whose receive buffer is auto-tuned (RFC 7323 section 2.3).

        As Linux, it lets the window grow to the largest buffer that could be asked for.
        """
        if not self.window_scaling:
            return 0
        most = max(self.window_of(self.receive_buffer[1]), self.receive_buffer[2])
        return min(max(max(most, self.receive_buffer_limit).bit_length() - 16, 0), 14)

    def core(self) -> dict[str, int]:
        """The fields of the core's TcpConfig (core/tcp/config.pxd), in its units."""
        values: dict[str, int] = {}
        for one in fields(self):
            kind, value = one.metadata["kind"], getattr(self, one.name)
            if kind == "seconds":
                values[one.name] = round(value * NANOSECONDS)
            elif kind in ("number", "switch"):
                values[one.name] = int(value)
        _, default, most = self.receive_buffer
        values["congestion"] = NAMES.index(self.congestion_control)
        values["receive_buffer"] = self.window_of(default)
        values["receive_buffer_max"] = self.window_of(most)
        _, values["send_buffer"], values["send_buffer_max"] = self.send_buffer
        values["window_scale"] = self.window_scale
        values["orphan_retries"] = self.orphan_retries or 8
        values["first_port"] = self.port_range[0]
        values["port_count"] = self.port_range[1] - self.port_range[0] + 1
        key = self.fastopen_key or b""
        for i in range(4):
            values[f"fastopen_key_{i}"] = int.from_bytes(key[8 * i : 8 * i + 8], "little")
        values["fastopen_keys"] = len(key) // 16
        return values


# What the fields may hold.


def check_seconds(name: str, value: object, spec: Mapping[str, Any]) -> None:
    least, most = spec["within"]
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError(f"{name}: a number of seconds, not {value!r}")
    if not isfinite(value) or not least <= value <= most:
        raise ValueError(f"{name} {value} is not within {least} and {most} seconds")


def check_number(name: str, value: object, spec: Mapping[str, Any]) -> None:
    least, most = spec["within"]
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{name}: an integer, not {value!r}")
    if not least <= value <= most:
        raise ValueError(f"{name} {value} is not within {least} and {most}")


def check_switch(name: str, value: object, spec: Mapping[str, Any]) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{name}: True or False, not {value!r}")


def check_sizes(name: str, value: object, spec: Mapping[str, Any]) -> None:
    if not isinstance(value, tuple) or [type(n) for n in value] != [int] * 3:
        raise ValueError(f"{name}: (least, default, most) in bytes, not {value!r}")
    least, default, most = value
    if not 1 <= least <= default <= most <= 1 << 30:
        raise ValueError(f"{name} {value}: not in order, or not within 1 and {1 << 30}")


def check_name(name: str, value: object, spec: Mapping[str, Any]) -> None:
    if value not in NAMES:
        raise ValueError(f"{name}: {' or '.join(NAMES)}, not {value!r}")


def check_key(name: str, value: object, spec: Mapping[str, Any]) -> None:
    if value is not None and (not isinstance(value, bytes) or len(value) not in (16, 32)):
        raise ValueError(f"{name}: 16 or 32 bytes, not {value!r}")


def check_ports(name: str, value: object, spec: Mapping[str, Any]) -> None:
    fits = isinstance(value, tuple) and [type(n) for n in value] == [int] * 2
    if not fits or not 1 <= value[0] <= value[1] <= 65535:  # type: ignore[index]
        raise ValueError(f"{name}: (first, last) within 1 and 65535, not {value!r}")


CHECKS: dict[str, Callable[[str, object, Mapping[str, Any]], None]] = {
    "seconds": check_seconds,
    "number": check_number,
    "switch": check_switch,
    "sizes": check_sizes,
    "name": check_name,
    "key": check_key,
    "ports": check_ports,
}


# What sysctls look like.


def plain_name(name: str) -> str:
    """tcp_sack for net.ipv4.tcp_sack and /proc/sys/net/ipv4/tcp_sack; others with their tree."""
    name = name.removeprefix("/proc/sys/").replace("/", ".")
    return name.removeprefix("net.ipv4.")


def integers(value: Sysctl, count: int) -> tuple[int, ...]:
    words = str(value).split()
    if len(words) != count:
        raise ValueError(f"{count} numbers, not {value!r}")
    return tuple(int(word, 0) for word in words)


def read_number(value: Sysctl, one: Any) -> int:
    found = integers(value, 1)[0]
    # -1 and its like are how scripts write "no limit" into an unsigned setting.
    return found & UNLIMITED if one.metadata["within"][1] == UNLIMITED else found


def read_switch(value: Sysctl, one: Any) -> bool:
    found = integers(value, 1)[0]
    if found not in (0, 1):
        raise ValueError(f"0 or 1, not {value!r}")
    inverted: bool = one.metadata["inverted"]
    return bool(found) != inverted


def read_key(value: Sysctl, one: Any) -> bytes | None:
    """Linux writes a key as four numbers of 32 bits in hex; two keys with a comma between them."""
    keys = str(value).strip().split(",")
    words = [word for key in keys for word in key.split("-")]
    if len(keys) > 2 or len(words) != 4 * len(keys):
        raise ValueError(f"four numbers in hex, not {value!r}")
    return b"".join(int(word, 16).to_bytes(4, "little") for word in words)


READ: dict[str, Callable[[Sysctl, Any], Any]] = {
    "seconds": lambda value, one: float(str(value)) / one.metadata["per_second"],
    "number": read_number,
    "switch": read_switch,
    "sizes": lambda value, one: integers(value, 3),
    "name": lambda value, one: str(value).strip(),
    "key": read_key,
    "ports": lambda value, one: integers(value, 2),
}

BY_SYSCTL = {one.metadata["sysctl"]: one for one in fields(TcpConfig) if one.metadata["sysctl"]}

# These have one value here, the one that the stack behaves by.
FIXED = {
    "tcp_fack": ("0",),
    "tcp_stdurg": ("0",),
    "tcp_shrink_window": ("0",),
    "tcp_workaround_signed_windows": ("0",),
    "tcp_app_win": ("31", "0"),
    "tcp_plb_enabled": ("0",),
    "tcp_reflect_tos": ("0",),
    "tcp_low_latency": ("0", "1"),
    "tcp_thin_dupack": ("0",),
    "tcp_ecn_option": ("0", "1", "2"),
    "tcp_ecn_option_beacon": ("0", "1", "2", "3"),
    "ip_no_pmtu_disc": ("0",),
    "ip_forward": ("0", "1"),
    "ip_nonlocal_bind": ("0", "1"),
}
# These are about how a kernel shares its memory and its processors; no packet tells their value.
HARMLESS = frozenset((
    "tcp_mem",
    "tcp_autocorking",
    "tcp_backlog_ack_defer",
    "tcp_child_ehash_entries",
    "tcp_comp_sack_delay_ns",
    "tcp_comp_sack_nr",
    "tcp_comp_sack_slack_ns",
    "tcp_early_demux",
    "tcp_fwmark_accept",
    "tcp_l3mdev_accept",
    "tcp_limit_output_bytes",
    "tcp_migrate_req",
    "tcp_retrans_collapse",
    "tcp_allowed_congestion_control",
    "net.core.default_qdisc",
    "net.core.netdev_budget",
    "net.core.netdev_max_backlog",
    "net.core.optmem_max",
    "net.core.rmem_default",
    "net.core.wmem_default",
))  # fmt: skip
