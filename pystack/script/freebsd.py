"""FreeBSD's settings by Linux's names.

Called by: commands.
RFCs: none; FreeBSD's tcp(4).
"""

from __future__ import annotations

from collections.abc import Mapping

from pystack.script.errors import Unsupported

# The same meaning and the same values.
SAME = {
    "net.inet.tcp.sack.enable": "net.ipv4.tcp_sack",
    "net.inet.tcp.keepcnt": "net.ipv4.tcp_keepalive_probes",
    "net.inet.tcp.syncookies": "net.ipv4.tcp_syncookies",
    "net.inet.tcp.cc.algorithm": "net.ipv4.tcp_congestion_control",
    "net.inet.tcp.ecn.enable": "net.ipv4.tcp_ecn",
    "net.inet.tcp.pmtud_blackhole_detection": "net.ipv4.tcp_mtu_probing",
}
# In milliseconds there, in seconds here.
MILLISECONDS = {
    "net.inet.tcp.keepidle": "net.ipv4.tcp_keepalive_time",
    "net.inet.tcp.keepintvl": "net.ipv4.tcp_keepalive_intvl",
    "net.inet.tcp.finwait2_timeout": "net.ipv4.tcp_fin_timeout",
}
# Without effect on what a stack sends, or the same as what it does anyway.
HARMLESS = (
    "net.inet.tcp.hostcache.", "net.inet.tcp.log", "net.inet.tcp.blackhole", "net.inet.tcp.bb.",
    "net.inet.tcp.syncache.", "net.inet.tcp.drop_synfin", "net.inet.tcp.reass.", "net.inet.ip.",
    "net.inet6.", "net.inet.icmp.", "net.inet.udp.", "net.inet.tcp.functions_default",
    "net.inet.tcp.maxtcptw", "net.inet.tcp.nolocaltimewait", "net.inet.tcp.path_mtu_discovery",
    "net.inet.tcp.isn_reseed_interval", "net.inet.tcp.per_cpu_timers", "net.inet.tcp.always_keep",
    "net.inet.tcp.insecure_", "net.inet.tcp.soreceive_stream", "net.inet.tcp.do_tcpdrain",
    "net.inet.tcp.fast_finwait2_recycle", "net.inet.tcp.ts_offset_per_conn", "net.inet.tcp.minmss",
    "net.inet.tcp.tolerate_missing_ts", "net.inet.tcp.fastopen.", "net.inet.tcp.v6mssdflt",
    "net.inet.tcp.tcbhashsize", "net.inet.tcp.pcbcount", "net.inet.tcp.tso", "net.inet.tcp.pacing",
    "net.inet.tcp.mssdflt", "net.inet.tcp.rexmit_drop_options", "net.inet.tcp.cc.",
    "net.inet.tcp.udp_tunneling_port", "net.inet.tcp.sack.maxholes", "net.inet.tcp.sack.global",
)  # fmt: skip


def from_freebsd(name: str, value: str, now: Mapping[str, str]) -> dict[str, str]:
    """Settings that mean the same; Unsupported if there are none."""
    if name in SAME:
        value = "reno" if value == "newreno" else value
        return {SAME[name]: value}
    if name in MILLISECONDS and value.isdecimal():
        return {MILLISECONDS[name]: str(max(int(value) // 1000, 1))}
    if name == "net.inet.tcp.rfc1323":
        return {"net.ipv4.tcp_timestamps": value, "net.ipv4.tcp_window_scaling": value}
    if name in ("net.inet.tcp.recvspace", "net.inet.tcp.sendspace") and value.isdecimal():
        return buffer_space(name, int(value), now)
    if name == "net.inet.tcp.slowstart_flightsize":
        return {}
    if name in ("net.inet.tcp.recvbuf_auto",):
        return {"net.ipv4.tcp_moderate_rcvbuf": value}
    if name.startswith(HARMLESS):
        return {}
    raise Unsupported(f"the setting {name}={value}")


def buffer_space(name: str, size: int, now: Mapping[str, str]) -> dict[str, str]:
    """The size that buffers begin with; Linux counts twice what it offers as window."""
    ours = "net.ipv4.tcp_rmem" if "recv" in name else "net.ipv4.tcp_wmem"
    least, _, most = now.get(ours, "4096 131072 6291456").split()
    size *= 2 if "recv" in name else 1
    return {ours: f"{least} {size} {max(int(most), size)}"}
