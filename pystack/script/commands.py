"""Shell commands of scripts, mapped to configuration; none is ever executed.

Called by: the runner.
RFCs: none; Linux's ip-sysctl.rst.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from pystack.script.errors import Unsupported
from pystack.script.freebsd import from_freebsd

# What scripts for Linux assume that begin with defaults.sh. The key is any fixed one.
PROFILE = {
    "net.ipv4.tcp_rmem": "4096 540000 15728640",
    "net.ipv4.tcp_wmem": "4096 262144 4194304",
    "net.ipv4.tcp_timestamps": "1",
    "net.ipv4.tcp_sack": "1",
    "net.ipv4.tcp_dsack": "1",
    "net.ipv4.tcp_fack": "0",
    "net.ipv4.tcp_reordering": "3",
    "net.ipv4.tcp_congestion_control": "cubic",
    "net.ipv4.tcp_slow_start_after_idle": "0",
    "net.ipv4.tcp_recovery": "1",
    "net.ipv4.tcp_early_retrans": "3",
    "net.ipv4.tcp_ecn": "0",
    "net.ipv4.tcp_frto": "2",
    "net.ipv4.tcp_syn_retries": "5",
    "net.ipv4.tcp_synack_retries": "5",
    "net.ipv4.tcp_fastopen": "0x70403",
    "net.ipv4.tcp_fastopen_key": "a1a1a1a1-b2b2b2b2-c3c3c3c3-d4d4d4d4",
    "net.ipv4.tcp_syncookies": "1",
    "net.ipv4.tcp_window_scaling": "1",
    "net.ipv4.tcp_moderate_rcvbuf": "1",
    "net.ipv4.tcp_no_metrics_save": "0",
    "net.ipv4.tcp_notsent_lowat": "4294967295",
    "net.ipv4.tcp_mtu_probing": "0",
}
# Programs whose effect has no meaning here, or is the runner's own affair.
HARMLESS = {
    ":", "true", "nstat", "cat", "echo", "printf", "set", "export", "unset", "cd", "rm", "mkdir",
    "touch", "test", "[", "modprobe", "kldload", "kldunload", "chmod", "wait", "date", "logger",
    "dmesg", "ss", "netstat", "ethtool",
}  # fmt: skip
PREFIXES = {"sudo", "source", ".", "bash", "sh", "python", "python2", "python3", "exec", "command"}
SEPARATORS = {";", "&&", "||", "&", "|", "\n"}
BOTH_OUTPUTS = re.compile(r"[0-9]*>&[0-9-]|&>>?[ \t]*\S+")
REDIRECTION = re.compile(r"[0-9]*(>>?|<)&?")
# Route attributes that a stack has.
ROUTE_NUMBERS = ("advmss", "mtu", "initcwnd", "initrwnd", "rto_min", "window", "ssthresh", "cwnd")


@dataclass
class Environment:
    """What commands have asked for so far."""

    sysctls: dict[str, str] = field(default_factory=dict)
    mtu: int | None = None
    route: dict[str, str] = field(default_factory=dict)
    drop_output: bool = False  # tc: a queue of length 0
    flush_metrics: int = 0  # how often
    sleep_ns: int = 0


def run_commands(text: str, environment: Environment) -> None:
    """Do what a shell text means; Unsupported names the first command that means nothing here."""
    for command in split(text):
        run_one(command, environment)


def split(text: str) -> list[list[str]]:
    """The commands of a shell text, as words; redirections are kept."""
    text = BOTH_OUTPUTS.sub(" ", text.replace("\\\n", " "))
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";&|\n")
    lexer.whitespace = " \t\r"
    lexer.whitespace_split = True
    lexer.commenters = ""
    found: list[list[str]] = [[]]
    try:
        words = list(lexer)
    except ValueError as problem:
        raise Unsupported(f"the command {text!r}: {problem}") from None
    for word in words:
        if word.strip(";&|\n") == "":
            found.append([])
        else:
            found[-1].append(word)
    return [without_comment(words) for words in found if without_comment(words)]


def without_comment(words: list[str]) -> list[str]:
    for at, word in enumerate(words):
        if word.startswith("#"):
            return words[:at]
    return words


def without_redirections(words: Sequence[str]) -> list[str]:
    """Words that are arguments."""
    kept = []
    skip = False
    for word in words:
        match = REDIRECTION.match(word)
        if skip:
            skip = False
        elif match:
            skip = match.end() == len(word)
        else:
            kept.append(word)
    return kept


def run_one(words: list[str], environment: Environment) -> None:
    while words and (words[0] in PREFIXES or re.fullmatch(r"[A-Za-z_]\w*=.*", words[0])):
        words = words[1:]
    if not words:
        return
    name = PurePosixPath(words[0]).name
    if name == "echo":
        echo(words[1:], environment)
        return
    words = without_redirections(words)
    if name in KNOWN:
        KNOWN[name](words[1:], environment)
    elif name not in HARMLESS and not name.startswith("sysctl_restore"):
        raise Unsupported(f"the command {' '.join(words)}")


def set_sysctl(name: str, value: str, environment: Environment) -> None:
    """One setting, whatever notation its name has."""
    name = name.strip().removeprefix("/proc/sys/").replace("/", ".")
    if name.startswith("net.inet"):
        environment.sysctls.update(from_freebsd(name, value.strip(), environment.sysctls))
    elif name.startswith(("net.ipv4.", "net.core.", "net.ipv6.")):
        environment.sysctls[name] = value.strip()
    elif not name.startswith(("kern.", "kernel.", "vm.", "fs.", "net.")):
        raise Unsupported(f"the setting {name}")


def sysctl(words: Sequence[str], environment: Environment) -> None:
    """sysctl [-qwen] NAME=VALUE ...; without a value it only tells."""
    for word in words:
        if word.startswith("-"):
            continue
        name, equals, value = word.partition("=")
        if equals:
            set_sysctl(name, value, environment)


def echo(words: Sequence[str], environment: Environment) -> None:
    """echo VALUE > FILE: a setting, if the file is one."""
    values = without_redirections(words)
    if ">" not in " ".join(words):
        return
    target = next(
        (words[at + 1] for at, word in enumerate(words[:-1]) if word in (">", "1>")), None
    ) or next((word.lstrip("1>") for word in words if word.startswith(">")), "")
    if target.startswith("/proc/sys/"):
        set_sysctl(target, " ".join(values), environment)
    elif target not in ("/dev/null", "/dev/stderr") and not target.startswith("/sys/"):
        raise Unsupported(f"writing to {target or 'a file'}")
    elif target.startswith("/sys/module/"):
        raise Unsupported(f"the module parameter {target}")


def defaults(_: Sequence[str], environment: Environment) -> None:
    environment.sysctls.update(PROFILE)


def ip(words: Sequence[str], environment: Environment) -> None:
    """ip tcp_metrics flush, ip route change, ip link set."""
    rest = [word for word in words if not word.startswith("-")]
    text = " ".join(words)
    if rest[:1] in (["tcp_metrics"], ["tcpmetrics"]):
        environment.flush_metrics += 1
    elif rest[:1] in (["route"], ["ro"], ["r"]) and rest[1:2] != ["show"]:
        route(rest[1:], environment)
    elif rest[:2] == ["link", "set"] and "mtu" in rest:
        set_mtu(rest, environment)
    elif rest[:2] not in (["link", "set"], ["link", "show"], ["addr", "show"], ["route", "show"]):
        raise Unsupported(f"the command ip {text}")


def route(words: Sequence[str], environment: Environment) -> None:
    """Attributes of the route to the peer."""
    if words[:1] not in (["change"], ["replace"], ["add"], ["append"]):
        raise Unsupported(f"the command ip route {' '.join(words)}")
    at = 0
    while at < len(words):
        word = words[at]
        if word in ROUTE_NUMBERS:
            at += 2 if words[at + 1 : at + 2] == ["lock"] else 1
            if at >= len(words):
                raise Unsupported(f"the command ip route {' '.join(words)}")
            environment.route[word] = words[at]
        elif word in ("features", "congctl", "quickack", "fastopen_no_cookie"):
            at += 2 if words[at + 1 : at + 2] == ["lock"] else 1
            environment.route[word] = words[at] if at < len(words) else ""
        at += 1


def number(word: str, what: str) -> int:
    try:
        return int(word, 0)
    except ValueError:
        raise Unsupported(f"{what} {word}") from None


def set_mtu(words: Sequence[str], environment: Environment) -> None:
    """... mtu N."""
    at = list(words).index("mtu") + 1 if "mtu" in words else len(words)
    if at < len(words):
        environment.mtu = number(words[at], "mtu")


def tc(words: Sequence[str], environment: Environment) -> None:
    """tc qdisc replace dev tun0 root ...: a queue of length 0, or one that changes nothing here."""
    text = " ".join(words)
    if words[:1] != ["qdisc"]:
        raise Unsupported(f"the command tc {text}")
    if words[1:2] in (["show"], ["del"], ["delete"]):
        environment.drop_output = False
        return
    kinds = [word for word in words if word in ("pfifo", "bfifo", "pfifo_fast", "fq", "fq_codel")]
    if not kinds:
        raise Unsupported(f"the command tc {text}")
    limit = words[words.index("limit") + 1 :][:1] if "limit" in words else []
    environment.drop_output = limit == ["0"]


def sleep(words: Sequence[str], environment: Environment) -> None:
    try:
        environment.sleep_ns += int(float(words[0]) * 10**9)
    except (IndexError, ValueError):
        raise Unsupported(f"the command sleep {' '.join(words)}") from None


KNOWN: dict[str, Callable[[Sequence[str], Environment], None]] = {
    "defaults.sh": defaults,
    "sysctl": sysctl,
    "set_sysctls.py": sysctl,
    "ip": ip,
    "tc": tc,
    "ifconfig": set_mtu,
    "sleep": sleep,
}
