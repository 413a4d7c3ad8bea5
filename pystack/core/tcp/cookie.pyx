# SYN cookies: a handshake that needs no memory, for listeners under a flood.
# Called by: listen.
# RFCs: 4987 section 3.6; the options travel in the timestamp as in Linux.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memset
from pystack.core.context cimport count
from pystack.core.counters cimport Counter
from pystack.core.endpoint cimport Endpoint
from pystack.core.ip.layer cimport PROTOCOL_TCP, IpView
from pystack.core.memory.flow cimport FlowKey, siphash
from pystack.core.tcp.clock cimport timestamp_offset
from pystack.core.tcp.ecn cimport ecn_is_agreed
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.tcp.mss cimport announced_mss_to
from pystack.core.tcp.segments cimport segment_send
from pystack.core.tcp.window cimport window_at_first
from pystack.core.wire.tcp cimport (
    TCP_ACK, TCP_OPT_MSS, TCP_OPT_SACK_PERMITTED, TCP_OPT_TIMESTAMP, TCP_OPT_WINDOW_SCALE,
    TCP_ECE, TCP_SYN, TcpOptions, TcpSegment, tcp_parse_options,
)

# Cookie: 5 bits of period, 2 bits of MSS class, 25 bits of keyed hash over addresses, ports,
# period, class and the
# peer's ISN. Timestamp, if the SYN had one: its low 6 bits are SACK (1), window scale or 15 for
# none (4), ECN (1).
cdef enum:
    PERIOD_BITS = 5
    MSS_BITS = 2
    HASH_BITS = 25
    OPTION_BITS = 6
    NO_SCALE = 15
    ECN_BIT = 32
    VALID_PERIODS = 2

cdef int64_t PERIOD = 64_000_000_000
cdef uint16_t[4] MSS_CLASSES = [536, 1220, 1440, 1460]


cdef void flow_key(FlowKey* key, const IpView* view, const TcpSegment* seg) noexcept nogil:
    memset(key, 0, sizeof(FlowKey))
    key.local = view.destination
    key.remote = view.source
    key.local_port = seg.destination_port
    key.remote_port = seg.source_port
    key.protocol = PROTOCOL_TCP


cdef uint32_t cookie_hash(
        const TcpLayer* tcp, const FlowKey* key, int64_t period, uint32_t mss_class,
        uint32_t peer_isn) noexcept nogil:
    cdef uint64_t words[3]
    words[0] = siphash(tcp.cookie_secret, <const uint8_t*>key, sizeof(FlowKey))
    words[1] = <uint64_t>period
    words[2] = <uint64_t>mss_class << 32 | peer_isn
    return <uint32_t>(siphash(tcp.cookie_secret, <const uint8_t*>words, sizeof(words))
                      & ((1 << HASH_BITS) - 1))


cdef uint32_t cookie_make(
        const TcpLayer* tcp, const FlowKey* key, int64_t period, uint32_t mss_class,
        uint32_t peer_isn) noexcept nogil:
    return (<uint32_t>(period & ((1 << PERIOD_BITS) - 1)) << (MSS_BITS + HASH_BITS)
            | mss_class << HASH_BITS | cookie_hash(tcp, key, period, mss_class, peer_isn))


cdef uint32_t mss_class_of(uint32_t mss) noexcept nogil:
    cdef uint32_t c = 3
    while c and MSS_CLASSES[c] > mss:
        c -= 1
    return c


cdef uint32_t options_in_timestamp(
        const TcpLayer* tcp, const Tcb* listener, const FlowKey* key, const TcpOptions* options,
        bint ecn) noexcept nogil:
    """Our timestamp, lowered to the next value whose low bits say what the SYN offered."""
    cdef uint32_t clock = <uint32_t>(tcp.context.now // 1_000_000) + timestamp_offset(tcp, key)
    cdef uint32_t scale = NO_SCALE
    cdef uint32_t bits
    if options.present & TCP_OPT_WINDOW_SCALE and listener.config.window_scaling:
        scale = min(options.window_scale, <uint8_t>14)
    bits = scale | (16 if options.present & TCP_OPT_SACK_PERMITTED and listener.config.sack else 0)
    if ecn:
        bits |= ECN_BIT
    if (clock & ((1 << OPTION_BITS) - 1)) < bits:
        clock -= 1 << OPTION_BITS
    return (clock & ~<uint32_t>((1 << OPTION_BITS) - 1)) | bits


cdef void cookie_send(
        TcpLayer* tcp, Tcb* listener, const IpView* view, const TcpSegment* seg,
        const TcpOptions* options) noexcept nogil:
    """A SYN-ACK whose sequence number and timestamp remember the SYN for us."""
    cdef Endpoint endpoint
    cdef TcpSegment answer
    cdef TcpOptions offer
    cdef int64_t period = tcp.context.now // PERIOD
    cdef bint told = options.present & TCP_OPT_MSS and options.mss
    cdef uint32_t mss = options.mss if told else MSS_CLASSES[0]
    cdef uint32_t own_mss
    cdef bint ecn = ecn_is_agreed(listener.config, seg)
    memset(&endpoint, 0, sizeof(endpoint))
    memset(&answer, 0, sizeof(answer))
    memset(&offer, 0, sizeof(offer))
    flow_key(&endpoint.key, view, seg)
    endpoint.marking = listener.endpoint.marking
    own_mss = announced_mss_to(tcp, listener, &endpoint.key.remote)
    answer.seq = cookie_make(tcp, &endpoint.key, period, mss_class_of(mss), seg.seq)
    answer.ack = seg.seq + 1
    answer.flags = TCP_SYN | TCP_ACK
    offer.present = TCP_OPT_MSS
    offer.mss = <uint16_t>min(own_mss, <uint32_t>0xFFFF)
    if options.present & TCP_OPT_TIMESTAMP and listener.config.timestamps:
        offer.present |= TCP_OPT_TIMESTAMP
        offer.ts_val = options_in_timestamp(tcp, listener, &endpoint.key, options, ecn)
        offer.ts_ecr = options.ts_val
        if options.present & TCP_OPT_WINDOW_SCALE and listener.config.window_scaling:
            offer.present |= TCP_OPT_WINDOW_SCALE
            offer.window_scale = listener.rcv_scale
        if options.present & TCP_OPT_SACK_PERMITTED and listener.config.sack:
            offer.present |= TCP_OPT_SACK_PERMITTED
        if ecn:
            answer.flags |= TCP_ECE
    own_mss -= 12 if offer.present & TCP_OPT_TIMESTAMP else 0
    answer.window = <uint16_t>min(window_at_first(tcp, listener, own_mss), <uint32_t>0xFFFF)
    listener.rare.backlog.cookies_until = tcp.context.now + VALID_PERIODS * PERIOD
    count(tcp.context, Counter.TCP_SYN_COOKIES_SENT)
    segment_send(tcp, &endpoint, &answer, &offer, NULL)


cdef bint cookie_accept(
        TcpLayer* tcp, Tcb* listener, const IpView* view, const TcpSegment* seg,
        TcpOptions* syn) noexcept nogil:
    """Verify the cookie that seg acknowledges; *syn: what the SYN offered."""
    cdef FlowKey key
    cdef TcpOptions options
    cdef uint32_t cookie = seg.ack - 1
    cdef uint32_t mss_class = cookie >> HASH_BITS & ((1 << MSS_BITS) - 1)
    cdef uint32_t bits
    cdef int64_t period = tcp.context.now // PERIOD
    cdef int age
    flow_key(&key, view, seg)
    for age in range(VALID_PERIODS + 1):
        if age == VALID_PERIODS:
            count(tcp.context, Counter.TCP_DROP_BAD_COOKIE)
            return False
        if cookie == cookie_make(tcp, &key, period - age, mss_class, seg.seq - 1):
            break
    memset(syn, 0, sizeof(TcpOptions))
    syn.present = TCP_OPT_MSS
    syn.mss = MSS_CLASSES[mss_class]
    tcp_parse_options(seg, &options)
    if options.present & TCP_OPT_TIMESTAMP and listener.config.timestamps:
        bits = options.ts_ecr
        syn.present |= TCP_OPT_TIMESTAMP
        syn.ts_val = options.ts_val
        if bits & 15 != NO_SCALE:
            syn.present |= TCP_OPT_WINDOW_SCALE
            syn.window_scale = bits & 15
        if bits & 16:
            syn.present |= TCP_OPT_SACK_PERMITTED
    return True


cdef bint cookie_ecn(const Tcb* listener, const TcpSegment* seg) noexcept nogil:
    """Was ECN agreed on in the handshake that this ACK completes?"""
    cdef TcpOptions options
    tcp_parse_options(seg, &options)
    return (listener.config.ecn != 0 and listener.config.timestamps
            and options.present & TCP_OPT_TIMESTAMP and options.ts_ecr & ECN_BIT)
