"""ICMP types and codes by the names that scripts use.

Called by: build, compare, render.
RFCs: 792, 950, 1122, 1812, 4443; the registries of ICMP and ICMPv6.
"""

from __future__ import annotations

V4_TYPES = {
    "echo_reply": 0,
    "unreachable": 3,
    "source_quench": 4,
    "redirect": 5,
    "echo_request": 8,
    "time_exceeded": 11,
    "parameter_problem": 12,
    "timestamp_request": 13,
    "timestamp_reply": 14,
    "information_request": 15,
    "information_reply": 16,
    "address_mask_request": 17,
    "address_mask_reply": 18,
}
V4_UNREACHABLE = (
    "net_unreachable", "host_unreachable", "protocol_unreachable", "port_unreachable",
    "frag_needed", "source_route_failed", "net_unknown", "host_unknown", "source_host_isolated",
    "net_prohibited", "host_prohibited", "net_unreachable_for_tos", "host_unreachable_for_tos",
    "packet_filtered", "precedence_violation", "precedence_cutoff",
)  # fmt: skip
EXCEEDED = {
    "ttl_exceeded": 0,
    "ttl_exceeded_in_transit": 0,
    "exceeded_hop_limit": 0,
    "frag_reass_exceeded": 1,
    "frag_reassembly_exceeded": 1,
    "exceeded_frag_time": 1,
}
V4_CODES = {3: {name: code for code, name in enumerate(V4_UNREACHABLE)}, 11: EXCEEDED}
V6_TYPES = {
    "unreachable": 1,
    "packet_too_big": 2,
    "time_exceeded": 3,
    "parameter_problem": 4,
    "echo_request": 128,
    "echo_reply": 129,
}
V6_UNREACHABLE = (
    "no_route", "admin_prohibited", "not_neighbour", "address_unreachable", "port_unreachable",
)  # fmt: skip
V6_CODES = {
    1: {name: code for code, name in enumerate(V6_UNREACHABLE)},
    3: EXCEEDED,
    4: {"header_field": 0, "unknown_next_header": 1, "unknown_option": 2},
}
ECHO = {4: (0, 8), 6: (128, 129)}


def numbered(name: str, prefix: str) -> int | None:
    """N of prefix_N."""
    text = name.removeprefix(prefix)
    if text == name or not text.isdecimal() or not text.isascii() or int(text) > 255:
        return None
    return int(text)


def type_and_code(version: int, type_name: str, code_name: str | None) -> tuple[int, int]:
    """The numbers; KeyError with what is unknown."""
    types, codes = (V4_TYPES, V4_CODES) if version == 4 else (V6_TYPES, V6_CODES)
    kind = numbered(type_name, "type_")
    if kind is None:
        if type_name not in types:
            raise KeyError(f"no type of ICMP for IPv{version} is called {type_name}")
        kind = types[type_name]
    if code_name is None:
        return kind, 0
    code = numbered(code_name, "code_")
    if code is None:
        if code_name not in codes.get(kind, {}):
            raise KeyError(f"no code of ICMP {type_name} for IPv{version} is called {code_name}")
        code = codes[kind][code_name]
    return kind, code


def names(version: int, kind: int, code: int) -> str:
    """As a script would write it."""
    types, codes = (V4_TYPES, V4_CODES) if version == 4 else (V6_TYPES, V6_CODES)
    type_name = next((name for name, number in types.items() if number == kind), f"type_{kind}")
    found = [name for name, number in codes.get(kind, {}).items() if number == code]
    if found:
        return f"{type_name} {found[0]}"
    return f"{type_name} code_{code}" if code else type_name
