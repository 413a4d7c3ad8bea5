# pystack.core.wire.tcp for Python tests.
# Called by: tests/unit/test_wire_tcp.py.
# RFCs: none.

from libc.stdint cimport uint8_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcpy, memset
from pystack.core.wire cimport tcp
from pystack.core.wire.tcp cimport (
    TCP_OPT_FAST_OPEN,
    TCP_OPT_MSS,
    TCP_OPT_SACK,
    TCP_OPT_SACK_PERMITTED,
    TCP_OPT_TIMESTAMP,
    TCP_OPT_USER_TIMEOUT,
    TCP_OPT_WINDOW_SCALE,
    TcpOptions,
    TcpSegment,
)


cdef class Buffer:
    """data in memory of its own between `before` and `after`: no byte more, for ASan's sake."""

    cdef uint8_t* memory
    cdef const uint8_t* start
    cdef uint32_t length

    def __cinit__(self, bytes data, bytes before, bytes after):
        cdef bytes together = before + data + after
        self.memory = <uint8_t*>malloc(len(together))
        memcpy(self.memory, <const uint8_t*>together, len(together))
        self.start = self.memory + len(before)
        self.length = <uint32_t>len(data)

    def __dealloc__(self):
        free(self.memory)


def parse(bytes data, bytes before=b"", bytes after=b""):
    """The fields of a segment as a dict, or None if refused."""
    cdef Buffer buffer = Buffer(data, before, after)
    cdef TcpSegment segment
    memset(&segment, 0xAA, sizeof(segment))
    if tcp.tcp_parse(buffer.start, buffer.length, &segment) < 0:
        return None
    return {
        "source_port": segment.source_port,
        "destination_port": segment.destination_port,
        "seq": segment.seq,
        "ack": segment.ack,
        "window": segment.window,
        "urgent": segment.urgent,
        "flags": segment.flags,
        "header_length": segment.header_length,
        "gso_size": segment.gso_size,
        "options": segment.options[: segment.header_length - 20],
        "payload": segment.payload[: segment.length],
    }


def parse_options(bytes data, bytes before=b"", bytes after=b""):
    """The options present in a segment, by name."""
    cdef Buffer buffer = Buffer(data, before, after)
    cdef TcpSegment segment
    cdef TcpOptions o
    if tcp.tcp_parse(buffer.start, buffer.length, &segment) < 0:
        raise ValueError("no TCP header")
    memset(&o, 0xAA, sizeof(o))
    tcp.tcp_parse_options(&segment, &o)
    found = {}
    if o.present & TCP_OPT_MSS:
        found["mss"] = o.mss
    if o.present & TCP_OPT_WINDOW_SCALE:
        found["window_scale"] = o.window_scale
    if o.present & TCP_OPT_SACK_PERMITTED:
        found["sack_permitted"] = True
    if o.present & TCP_OPT_TIMESTAMP:
        found["timestamp"] = (o.ts_val, o.ts_ecr)
    if o.present & TCP_OPT_SACK:
        found["sack"] = [(o.sack[i].start, o.sack[i].end) for i in range(o.sack_count)]
    if o.present & TCP_OPT_USER_TIMEOUT:
        found["user_timeout"] = o.user_timeout
    if o.present & TCP_OPT_FAST_OPEN:
        found["fast_open"] = o.fast_open[: o.fast_open_length]
        if o.fast_open_experimental:
            found["experimental"] = True
    return found


cdef void fill_options(TcpOptions* o, dict options):
    """fast_open stays the property of the dict."""
    memset(o, 0, sizeof(o[0]))
    if "mss" in options:
        o.present |= TCP_OPT_MSS
        o.mss = options["mss"]
    if "window_scale" in options:
        o.present |= TCP_OPT_WINDOW_SCALE
        o.window_scale = options["window_scale"]
    if "sack_permitted" in options:
        o.present |= TCP_OPT_SACK_PERMITTED
    if "timestamp" in options:
        o.present |= TCP_OPT_TIMESTAMP
        o.ts_val, o.ts_ecr = options["timestamp"]
    if "sack" in options:
        o.present |= TCP_OPT_SACK
        o.sack_count = len(options["sack"])
        for i, (start, end) in enumerate(options["sack"]):
            o.sack[i].start = start
            o.sack[i].end = end
    if "user_timeout" in options:
        o.present |= TCP_OPT_USER_TIMEOUT
        o.user_timeout = options["user_timeout"]
    if "fast_open" in options:
        o.present |= TCP_OPT_FAST_OPEN
        o.fast_open = <const uint8_t*><bytes>options["fast_open"]
        o.fast_open_length = len(options["fast_open"])
        o.fast_open_experimental = "experimental" in options


def build_options(dict options):
    """What tcp_build_options writes; the 40 bytes after its length must stay as they were."""
    cdef uint8_t[80] out
    cdef TcpOptions o
    cdef int length
    memset(out, 0xAA, 80)
    fill_options(&o, options)
    length = tcp.tcp_build_options(out, &o)
    assert 0 <= length <= 40, length
    assert out[length:80] == b"\xaa" * (80 - length), "wrote beyond its length"
    return out[:length]


def build_header(fields, int options_length=0):
    cdef uint8_t[20] out
    cdef TcpSegment segment
    memset(out, 0xAA, 20)
    memset(&segment, 0, sizeof(segment))
    segment.source_port = fields["source_port"]
    segment.destination_port = fields["destination_port"]
    segment.seq = fields["seq"]
    segment.ack = fields["ack"]
    segment.window = fields["window"]
    segment.urgent = fields["urgent"]
    segment.flags = fields["flags"]
    tcp.tcp_build_header(out, &segment, options_length)
    return out[:20]


def seq_compare(uint32_t a, uint32_t b):
    """(a < b, a <= b, a > b, a >= b, max, min) in sequence space."""
    return (
        bool(tcp.seq_lt(a, b)),
        bool(tcp.seq_le(a, b)),
        bool(tcp.seq_gt(a, b)),
        bool(tcp.seq_ge(a, b)),
        tcp.seq_max(a, b),
        tcp.seq_min(a, b),
    )
