"""How a script is to be run: its own options, and those of the command line, which come first.

Called by: the runner and its parts.
RFCs: 5737, 3849, 4193 (the addresses).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from pystack.script.errors import ScriptError
from pystack.script.nodes import Option, Script
from pystack.script.wire import Address, parse_address

VERSIONS = {
    "v4": "v4", "v6": "v6", "mapped": "mapped",
    "ipv4": "v4", "ipv6": "v6", "ipv4-mapped-ipv6": "mapped",
}  # fmt: skip
LOCAL = {4: parse_address("192.168.0.1"), 6: parse_address("fd3d:7061:636b::1")}
REMOTE = {4: parse_address("192.0.2.1"), 6: parse_address("2001:db8::1")}
RELAXATIONS = ("psh", "win", "options")
# What has no meaning here, or is about how the reference runs.
IGNORED = (
    "send_omit_free", "speed", "gateway_ip", "netmask_ip", "define", "mss", "tun_dev",
    "persistent_tun_dev", "verbose", "v", "fin_wait_timeout", "init_scripts", "code_command",
    "code_format", "code_sockopt", "code", "dry_run", "static_buildid", "no_cleanup",
    "ip_version", "local_ip", "remote_ip", "local_linux_ip", "remote_prefix",
)  # fmt: skip
IGNORED_PREFIXES = ("wire_", "so_")


@dataclass(frozen=True)
class Settings:
    """What one run of one script goes by. Times in ns."""

    ip: str = "v4"  # v4, v6 or mapped
    local: Address = LOCAL[4]
    remote: Address = REMOTE[4]
    bind_port: int = 8080
    connect_port: int = 8080
    mtu: int = 1500
    tolerance_ns: int = 4_000_000
    tolerance_percent: float = 12.5
    ts_tick_us: int = 0
    ts_ecr_scaled: bool = False
    strict_segments: bool = False
    non_fatal: frozenset[str] = frozenset()
    relax: frozenset[str] = frozenset()
    strict_tail: bool = False
    unsupported: tuple[str, ...] = field(default=())

    @property
    def version(self) -> int:
        """Of the packets."""
        return 6 if self.ip == "v6" else 4

    def tolerance(self, distance_ns: int) -> int:
        """Of an event so long after the one before."""
        return max(self.tolerance_ns, int(distance_ns * self.tolerance_percent / 100))


def settings_for(
    script: Script,
    ip: str | None = None,
    relax: frozenset[str] = frozenset(),
    strict_tail: bool = False,
) -> Settings:
    """ip: what the command line says, if anything."""
    options = {option.name: option for option in script.options}
    own = options.get("ip_version")
    if own is not None and own.value not in VERSIONS:
        raise bad(script, own, "none of ipv4, ipv6, ipv4-mapped-ipv6")
    chosen = VERSIONS[ip or (own and own.value) or "v4"]
    version = 6 if chosen == "v6" else 4
    settings = Settings(
        ip=chosen,
        local=LOCAL[version],
        remote=REMOTE[version],
        relax=relax,
        strict_tail=strict_tail,
        strict_segments=script.dialect == "nplab",
        # A script that is written for IPv4, run in IPv6 for once: the MSS is to be the same.
        mtu=1520 if version == 6 and own is None else 1500,
    )
    for option in script.options:
        settings = with_option(script, settings, option)
    return settings


def with_option(script: Script, settings: Settings, option: Option) -> Settings:
    name = option.name
    if name in ("local_ip", "remote_ip"):
        return with_address(script, settings, option)
    if name in IGNORED or name.startswith(IGNORED_PREFIXES):
        return settings
    if name == "strict_segments":
        return replace(settings, strict_segments=True)
    if name == "tcp_ts_ecr_scaled":
        return replace(settings, ts_ecr_scaled=True)
    if name == "non_fatal":
        return replace(settings, non_fatal=frozenset((option.value or "packet,syscall").split(",")))
    if name == "tolerance_percent":
        try:
            return replace(settings, tolerance_percent=float(option.value or ""))
        except ValueError:
            raise bad(script, option, "no number") from None
    fields = {
        "bind_port": ("bind_port", 1, 0xFFFF, 1),
        "connect_port": ("connect_port", 1, 0xFFFF, 1),
        "mtu": ("mtu", 68, 65535, 1),
        "tolerance_usecs": ("tolerance_ns", 0, 10**12, 1000),
        "tcp_ts_tick_usecs": ("ts_tick_us", 0, 10**9, 1),
    }
    if name not in fields:
        return replace(settings, unsupported=(*settings.unsupported, f"the option --{name}"))
    target, least, most, unit = fields[name]
    try:
        value = int(option.value or "", 0)
    except ValueError:
        raise bad(script, option, "no whole number") from None
    if not least <= value <= most:
        raise bad(script, option, f"not within {least} and {most}")
    return replace(settings, **{target: value * unit})  # type: ignore[arg-type]


def with_address(script: Script, settings: Settings, option: Option) -> Settings:
    """An address of the other family is for another run."""
    try:
        address = parse_address((option.value or "").split("/")[0])
    except ValueError:
        raise bad(script, option, "no address") from None
    if address.version != settings.version:
        return settings
    return replace(settings, **{option.name.removesuffix("_ip"): address})  # type: ignore[arg-type]


def bad(script: Script, option: Option, why: str) -> ScriptError:
    text = f"--{option.name}={option.value}: this is {why}"
    return ScriptError(text, option.line, option.column, script.path)
