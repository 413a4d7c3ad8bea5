# TCP header and options: bytes <-> fields; no state.
# Called by: tcp input and output, device/segmentation.
# RFCs: 9293 section 3.1, 7323 section 2 and 3, 2018 section 3, 7413 section 4.1, 5482 section 3.

from libc.stdint cimport uint8_t, uint16_t, uint32_t

cdef enum TcpFlag:
    TCP_FIN = 0x01
    TCP_SYN = 0x02
    TCP_RST = 0x04
    TCP_PSH = 0x08
    TCP_ACK = 0x10
    TCP_URG = 0x20
    TCP_ECE = 0x40
    TCP_CWR = 0x80

cdef enum:
    TCP_HEADER_LENGTH = 20
    TCP_MAX_HEADER_LENGTH = 60
    TCP_MAX_SACK_BLOCKS = 4

cdef enum TcpOptionBit:
    TCP_OPT_MSS = 0x01
    TCP_OPT_WINDOW_SCALE = 0x02
    TCP_OPT_SACK_PERMITTED = 0x04
    TCP_OPT_TIMESTAMP = 0x08
    TCP_OPT_SACK = 0x10
    TCP_OPT_USER_TIMEOUT = 0x20
    TCP_OPT_FAST_OPEN = 0x40

ctypedef struct SackBlock:
    uint32_t start
    uint32_t end

# A checked view of one segment (or train); tcp/ trusts it. Names are those of RFC 9293 (SEG.SEQ,
# ...).
ctypedef struct TcpSegment:
    uint16_t source_port
    uint16_t destination_port
    uint32_t seq
    uint32_t ack
    uint16_t window             # as on the wire, not scaled
    uint16_t urgent
    uint8_t flags               # TcpFlag
    uint8_t header_length       # 20..60
    uint8_t ecn                 # of the IP header around it (RFC 3168 section 5)
    uint16_t gso_size           # payload of each segment if this is a train, else 0
    const uint8_t* options
    const uint8_t* payload
    uint32_t length             # payload bytes; SYN and FIN not counted

ctypedef struct TcpOptions:
    uint8_t present             # TcpOptionBit
    uint8_t window_scale        # as received; > 14 is for tcp/ to clamp (RFC 7323 section 2.3)
    uint8_t sack_count
    uint8_t fast_open_length    # bytes of the cookie, 0 for a request
    uint8_t fast_open_experimental      # kind 254 with its magic number, as before RFC 7413
    uint16_t mss
    uint16_t user_timeout       # raw: granularity bit and 15 bits
    uint32_t ts_val
    uint32_t ts_ecr
    SackBlock sack[TCP_MAX_SACK_BLOCKS]
    const uint8_t* fast_open

# 0, or -1 if the data offset is below 5 or beyond the bytes that are there.
cdef int tcp_parse(const uint8_t* data, uint32_t length, TcpSegment* segment) noexcept nogil
# Malformed options are passed over: what was understood before them stands (RFC 9293 section 3.1
# MUST-7).
cdef void tcp_parse_options(const TcpSegment* segment, TcpOptions* options) noexcept nogil
# Write the options named in options.present in Linux's order and padding; return their length, a
# multiple of 4.
# SYN: mss, sackOK+TS (TS first half padded by sackOK, else nop,nop,TS), nop+wscale, fast open;
# data: nop,nop,TS, nop,nop,SACK.
cdef int tcp_build_options(uint8_t* out, const TcpOptions* options) noexcept nogil
# Write the fixed header (checksum 0, data offset from options_length).
cdef void tcp_build_header(
        uint8_t* out, const TcpSegment* segment, int options_length) noexcept nogil


cdef inline bint seq_lt(uint32_t a, uint32_t b) noexcept nogil:
    return <int>(a - b) < 0


cdef inline bint seq_le(uint32_t a, uint32_t b) noexcept nogil:
    return <int>(a - b) <= 0


cdef inline bint seq_gt(uint32_t a, uint32_t b) noexcept nogil:
    return <int>(a - b) > 0


cdef inline bint seq_ge(uint32_t a, uint32_t b) noexcept nogil:
    return <int>(a - b) >= 0


cdef inline uint32_t seq_max(uint32_t a, uint32_t b) noexcept nogil:
    return a if seq_gt(a, b) else b


cdef inline uint32_t seq_min(uint32_t a, uint32_t b) noexcept nogil:
    return a if seq_lt(a, b) else b
