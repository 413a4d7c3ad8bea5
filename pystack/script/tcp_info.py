"""struct tcp_info by its fields, and the constants that code blocks know.

Called by: code (snapshots), call_options.
RFCs: none; Linux's include/uapi/linux/tcp.h.
"""

from __future__ import annotations

from pystack.tcpinfo import CA_STATES, OPTIONS, STATES
from pystack.tcpinfo import unpack as unpack_members

SIZE = 512  # room for what later kernels append

FREEBSD_STATES = (
    "ESTABLISHED", "SYN_SENT", "SYN_RECEIVED", "FIN_WAIT_1", "FIN_WAIT_2", "TIME_WAIT", "CLOSED",
    "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING",
)  # fmt: skip
CONSTANTS = {
    **{f"TCPS_{name}": number for number, name in enumerate(FREEBSD_STATES, 1)},
    **{f"TCP_{name}": number for number, name in enumerate(STATES, 1)},
    **{f"TCP_CA_{name}": number for number, name in enumerate(CA_STATES)},
    **OPTIONS,
}


def unpack(data: bytes) -> dict[str, int]:
    """tcpi_<field> -> value, as far as the data goes."""
    return {f"tcpi_{name}": value for name, value in unpack_members(data).items()}
