# TCP header and options: bytes <-> fields; no state.
# Called by: tcp input and output, device/segmentation.
# RFCs: 9293 section 3.1, 7323 section 2 and 3, 2018 section 3, 7413 section 4.1, 5482 section 3.

from libc.stdint cimport uint8_t, uint32_t
from libc.string cimport memcpy, memset
from pystack.core.wire.bytes cimport load16, load32, store16, store32

cdef enum:                      # kinds of the IANA registry, lengths where there is but one
    KIND_END = 0
    KIND_NOP = 1
    KIND_MSS = 2
    KIND_WINDOW_SCALE = 3
    KIND_SACK_PERMITTED = 4
    KIND_SACK = 5
    KIND_TIMESTAMP = 8
    KIND_USER_TIMEOUT = 28
    KIND_FAST_OPEN = 34
    KIND_EXPERIMENT = 254       # RFC 6994; the number of fast open:
    FAST_OPEN_MAGIC = 0xF989
    LENGTH_MSS = 4
    LENGTH_WINDOW_SCALE = 3
    LENGTH_SACK_PERMITTED = 2
    LENGTH_TIMESTAMP = 10
    LENGTH_USER_TIMEOUT = 4
    FAST_OPEN_MIN = 4           # RFC 7413 section 4.1.1
    FAST_OPEN_MAX = 16
    MAX_OPTIONS = TCP_MAX_HEADER_LENGTH - TCP_HEADER_LENGTH


cdef int tcp_parse(const uint8_t* data, uint32_t length, TcpSegment* segment) noexcept nogil:
    """Read the fixed header of a segment or train; return 0, or -1 if data do not hold it all.

    length: bytes of header and payload. gso_size is set to 0: whoever has the packet knows it.
    """
    cdef uint32_t header_length
    if length < TCP_HEADER_LENGTH:
        return -1
    header_length = (data[12] >> 4) * 4
    if header_length < TCP_HEADER_LENGTH or header_length > length:
        return -1
    segment.source_port = load16(data)
    segment.destination_port = load16(data + 2)
    segment.seq = load32(data + 4)
    segment.ack = load32(data + 8)
    segment.header_length = <uint8_t>header_length
    segment.flags = data[13]
    segment.window = load16(data + 14)
    segment.urgent = load16(data + 18)
    segment.gso_size = 0
    segment.options = data + TCP_HEADER_LENGTH
    segment.payload = data + header_length
    segment.length = length - header_length
    return 0


cdef inline bint fast_open_is_valid(uint32_t length) noexcept nogil:
    """No bytes are a request; a cookie has 4..16, an even number (RFC 7413 section 4.1.1)."""
    return length == 0 or (FAST_OPEN_MIN <= length <= FAST_OPEN_MAX and not length & 1)


cdef inline void take_fast_open(
    const uint8_t* cookie, uint32_t length, bint experimental, TcpOptions* options
) noexcept nogil:
    options.fast_open = cookie
    options.fast_open_length = <uint8_t>length
    options.fast_open_experimental = experimental
    options.present |= TCP_OPT_FAST_OPEN


cdef void parse_sack(const uint8_t* body, uint32_t length, TcpOptions* options) noexcept nogil:
    """Read the blocks of a SACK option, none if its length is wrong (RFC 2018 section 3)."""
    cdef uint32_t count = length >> 3, i
    if count == 0 or count > TCP_MAX_SACK_BLOCKS or length & 7:
        return
    for i in range(count):
        options.sack[i].start = load32(body + 8 * i)
        options.sack[i].end = load32(body + 8 * i + 4)
    options.sack_count = <uint8_t>count
    options.present |= TCP_OPT_SACK


cdef void parse_option(
    uint8_t kind, const uint8_t* body, uint32_t length, TcpOptions* options
) noexcept nogil:
    """Read one option; one of an unknown kind or with a wrong length is passed over.

    length: bytes of body, after kind and length.
    """
    if kind == KIND_TIMESTAMP and length == LENGTH_TIMESTAMP - 2:
        options.ts_val = load32(body)
        options.ts_ecr = load32(body + 4)
        options.present |= TCP_OPT_TIMESTAMP
    elif kind == KIND_SACK:
        parse_sack(body, length, options)
    elif kind == KIND_MSS and length == LENGTH_MSS - 2:
        options.mss = load16(body)
        options.present |= TCP_OPT_MSS
    elif kind == KIND_WINDOW_SCALE and length == LENGTH_WINDOW_SCALE - 2:
        options.window_scale = body[0]
        options.present |= TCP_OPT_WINDOW_SCALE
    elif kind == KIND_SACK_PERMITTED and length == LENGTH_SACK_PERMITTED - 2:
        options.present |= TCP_OPT_SACK_PERMITTED
    elif kind == KIND_USER_TIMEOUT and length == LENGTH_USER_TIMEOUT - 2:
        options.user_timeout = load16(body)
        options.present |= TCP_OPT_USER_TIMEOUT
    elif kind == KIND_FAST_OPEN and fast_open_is_valid(length):
        take_fast_open(body, length, False, options)
    elif (kind == KIND_EXPERIMENT and length >= 2 and load16(body) == FAST_OPEN_MAGIC
            and fast_open_is_valid(length - 2)):
        take_fast_open(body + 2, length - 2, True, options)


cdef void tcp_parse_options(const TcpSegment* segment, TcpOptions* options) noexcept nogil:
    """Read all options; of an option that comes twice the last counts, as in Linux.

    Which option may come in which segment is for tcp/ to judge.
    """
    cdef const uint8_t* at = segment.options
    cdef uint32_t left = segment.header_length - TCP_HEADER_LENGTH
    cdef uint32_t size
    memset(options, 0, sizeof(TcpOptions))
    while left and at[0] != KIND_END:
        if at[0] == KIND_NOP:
            at += 1
            left -= 1
            continue
        # RFC 9293 section 3.1 MUST-7: an illegal length, even 0, is survived.
        if left < 2 or at[1] < 2 or at[1] > left:
            return
        size = at[1]
        parse_option(at[0], at + 2, size - 2, options)
        at += size
        left -= size


cdef inline uint8_t* put_head(
    uint8_t* out, uint8_t a, uint8_t b, uint8_t kind, uint8_t size
) noexcept nogil:
    """Two bytes before an option (padding, or an option of two bytes), its kind and its length."""
    out[0] = a
    out[1] = b
    out[2] = kind
    out[3] = size
    return out + 4


cdef uint8_t* put_timestamp(uint8_t* out, const TcpOptions* options) noexcept nogil:
    """SACK-permitted, or else two NOPs, then the timestamps (RFC 7323 appendix A)."""
    cdef uint8_t a = KIND_NOP, b = KIND_NOP
    if options.present & TCP_OPT_SACK_PERMITTED:
        a = KIND_SACK_PERMITTED
        b = LENGTH_SACK_PERMITTED
    out = put_head(out, a, b, KIND_TIMESTAMP, LENGTH_TIMESTAMP)
    store32(out, options.ts_val)
    store32(out + 4, options.ts_ecr)
    return out + 8


cdef uint8_t* put_sack(uint8_t* out, const TcpOptions* options, uint32_t room) noexcept nogil:
    """As many blocks, from the first, as find place in `room`; no option if none does."""
    cdef uint32_t count = options.sack_count, i
    if room < 12 or count == 0:
        return out
    count = min(count, (room - 4) >> 3)
    out = put_head(out, KIND_NOP, KIND_NOP, KIND_SACK, <uint8_t>(2 + 8 * count))
    for i in range(count):
        store32(out + 8 * i, options.sack[i].start)
        store32(out + 8 * i + 4, options.sack[i].end)
    return out + 8 * count


cdef uint8_t* put_fast_open(uint8_t* out, const TcpOptions* options, uint32_t room) noexcept nogil:
    """The cookie, or the request for one, padded with NOPs; nothing if `room` is short."""
    cdef uint32_t head = 4 if options.fast_open_experimental else 2
    cdef uint32_t size = head + <uint32_t>options.fast_open_length
    cdef uint32_t padded = (size + 3) & ~<uint32_t>3
    if padded > room:
        return out
    out[0] = KIND_EXPERIMENT if options.fast_open_experimental else KIND_FAST_OPEN
    out[1] = <uint8_t>size
    if options.fast_open_experimental:
        store16(out + 2, FAST_OPEN_MAGIC)
    if size > head:
        memcpy(out + head, options.fast_open, size - head)
    memset(out + size, KIND_NOP, padded - size)
    return out + padded


cdef int tcp_build_options(uint8_t* out, const TcpOptions* options) noexcept nogil:
    """Write the options that are present, at most 40 bytes; return the length, a multiple of 4.

    Order and padding are those of Linux's tcp_options_write. SACK blocks and a fast open cookie
    that find no place in 40 bytes are left out; all else together always does.
    """
    cdef uint8_t* at = out
    cdef uint8_t* end = out + MAX_OPTIONS
    cdef uint8_t present = options.present
    if present & TCP_OPT_MSS:
        at[0] = KIND_MSS
        at[1] = LENGTH_MSS
        store16(at + 2, options.mss)
        at += LENGTH_MSS
    if present & TCP_OPT_TIMESTAMP:
        at = put_timestamp(at, options)
    elif present & TCP_OPT_SACK_PERMITTED:
        at = put_head(at, KIND_NOP, KIND_NOP, KIND_SACK_PERMITTED, LENGTH_SACK_PERMITTED)
    if present & TCP_OPT_WINDOW_SCALE:
        at = put_head(at, KIND_NOP, KIND_WINDOW_SCALE, LENGTH_WINDOW_SCALE, options.window_scale)
    if present & TCP_OPT_USER_TIMEOUT:
        at[0] = KIND_USER_TIMEOUT
        at[1] = LENGTH_USER_TIMEOUT
        store16(at + 2, options.user_timeout)
        at += LENGTH_USER_TIMEOUT
    if present & TCP_OPT_SACK:
        at = put_sack(at, options, <uint32_t>(end - at))
    if present & TCP_OPT_FAST_OPEN:
        at = put_fast_open(at, options, <uint32_t>(end - at))
    return <int>(at - out)


cdef void tcp_build_header(
    uint8_t* out, const TcpSegment* segment, int options_length
) noexcept nogil:
    """Write the fixed header, with checksum 0.

    options_length: 0..40, a multiple of 4; it makes the data offset.
    """
    store16(out, segment.source_port)
    store16(out + 2, segment.destination_port)
    store32(out + 4, segment.seq)
    store32(out + 8, segment.ack)
    out[12] = <uint8_t>((TCP_HEADER_LENGTH + options_length) << 2)
    out[13] = segment.flags
    store16(out + 14, segment.window)
    store16(out + 16, 0)
    store16(out + 18, segment.urgent)
