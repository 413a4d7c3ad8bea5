"""Code blocks: Python that looks at TCP_INFO and asserts.

Called by: the runner. The code is the script author's, and runs with all that Python can do.
RFCs: none.
"""

from __future__ import annotations

import struct
import sys
import traceback
from contextlib import redirect_stdout
from typing import Any

from pystack.script import tcp_info
from pystack.script.errors import Mismatch
from pystack.script.world import World

SOL_SOCKET, SO_MEMINFO = 1, 55
TCP, TCP_INFO, TCP_CONGESTION, TCP_CC_INFO = 6, 11, 13, 26
MEMINFO = (
    "RMEM_ALLOC", "RCVBUF", "WMEM_ALLOC", "SNDBUF", "FWD_ALLOC", "WMEM_QUEUED", "OPTMEM",
    "BACKLOG", "DROPS",
)  # fmt: skip
VEGAS = struct.Struct("=4I")
DCTCP = struct.Struct("=HHIII")
DCTCP_FIELDS = (
    "dctcp_enabled", "dctcp_ce_state", "dctcp_alpha", "dctcp_ab_ecn", "dctcp_ab_tot",
)  # fmt: skip
VEGAS_FIELDS = ("tcpv_enabled", "tcpv_rttcnt", "tcpv_rtt", "tcpv_minrtt")
BBR = struct.Struct("=5I")


class CodeBlocks:
    """The namespace that all blocks of a script share."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "script", **tcp_info.CONSTANTS}

    def run(self, text: str, path: str, line: int, world: World) -> None:
        """Run a block, with what its connection tells now as globals; Mismatch if it raises."""
        self.names.update(snapshot(world))
        # As many empty lines before the text that errors tell the script's own line.
        try:
            code = compile("\n" * (line - 1) + dedented(text), path, "exec")
            with redirect_stdout(sys.stderr):  # standard output is for results
                exec(code, self.names)
        except AssertionError as problem:
            raise Mismatch(
                f"assertion failed: {problem}" if str(problem) else "assertion failed",
                seen=self.seen(text),
            ) from None
        except (Exception, SystemExit) as problem:
            last = traceback.format_exception_only(type(problem), problem)[-1].strip()
            raise Mismatch(f"the code raises {last}") from None

    def seen(self, text: str) -> str:
        """The values of what the code names."""
        found = [
            f"{name} = {value}"
            for name, value in self.names.items()
            if name.startswith("tcpi_") and name in text
        ]
        return ", ".join(found)


def dedented(text: str) -> str:
    """The block begins at the first line's first character; later lines are indented at will."""
    lines = text.split("\n")
    rest = [line for line in lines[1:] if line.strip()]
    if not rest:
        return text
    margin = min(len(line) - len(line.lstrip()) for line in rest)
    if lines[0].rstrip().endswith(":"):
        margin = 0
    return "\n".join([lines[0], *(line[margin:] for line in lines[1:])])


def snapshot(world: World) -> dict[str, int]:
    """TCP_INFO, SO_MEMINFO and the congestion control's own, of the current connection."""
    connection = world.tracker.current
    one = world.descriptors.get(connection.fd) if connection and connection.fd is not None else None
    if one is None or one.sock is None:
        return {}
    names: dict[str, int] = {}
    try:
        names.update(tcp_info.unpack(one.sock.getsockopt(TCP, TCP_INFO, tcp_info.SIZE)))
    except OSError:
        return names
    for read in (memory_info, congestion_info):
        try:
            names.update(read(one.sock))
        except OSError:
            continue
    return names


def memory_info(sock: Any) -> dict[str, int]:
    data = sock.getsockopt(SOL_SOCKET, SO_MEMINFO, 4 * len(MEMINFO))
    values = struct.unpack(f"={len(data) // 4}I", data)
    return {f"SK_MEMINFO_{name}": value for name, value in zip(MEMINFO, values, strict=False)}


def congestion_info(sock: Any) -> dict[str, int]:
    """What vegas, dctcp and bbr tell of themselves."""
    name = sock.getsockopt(TCP, TCP_CONGESTION, 16).split(b"\0")[0]
    data = sock.getsockopt(TCP, TCP_CC_INFO, 64)
    if name == b"bbr" and len(data) >= BBR.size:
        low, high, min_rtt, pacing, cwnd = BBR.unpack_from(data)
        return {
            "bbr_bw_lo": low,
            "bbr_bw_hi": high,
            "bbr_bw": high << 32 | low,
            "bbr_min_rtt": min_rtt,
            "bbr_pacing_gain": pacing,
            "bbr_cwnd_gain": cwnd,
        }
    if name == b"dctcp" and len(data) >= DCTCP.size:
        return dict(zip(DCTCP_FIELDS, DCTCP.unpack_from(data), strict=True))
    if len(data) >= VEGAS.size:
        return dict(zip(VEGAS_FIELDS, VEGAS.unpack_from(data), strict=True))
    return {}
