# What is remembered of destinations beyond the life of a connection, as Linux's tcp_metrics.
# Called by: listen (a connection begins), timers and input (it has ended), fast_open (cookies).
# RFCs: 9040.

from libc.stdint cimport int64_t, uint16_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from pystack.core.context cimport count
from pystack.core.counters cimport Counter
from pystack.core.memory.flow cimport (
    FlowKey, flow_find, flow_insert, flow_remove, flow_table_init, flow_table_release,
)
from pystack.core.tcp.congestion.window cimport INFINITE_SSTHRESH, in_slow_start, segments
from pystack.core.tcp.layer cimport CA_OPEN, Tcb, TcpLayer
from pystack.core.tcp.metrics_cache cimport METRICS_MAX, Metrics, MetricsCache

cdef int64_t LIFETIME = <int64_t>3600 * 1_000_000_000    # as Linux; a cookie is kept for longer


cdef void metrics_init(TcpLayer* tcp) noexcept nogil:
    flow_table_init(&tcp.metrics.entries, tcp.context.secret)
    tcp.metrics.oldest = tcp.metrics.newest = NULL


cdef inline void entry_unlink(MetricsCache* cache, Metrics* entry) noexcept nogil:
    if entry.older != NULL:
        entry.older.newer = entry.newer
    else:
        cache.oldest = entry.newer
    if entry.newer != NULL:
        entry.newer.older = entry.older
    else:
        cache.newest = entry.older


cdef inline void entry_append(MetricsCache* cache, Metrics* entry) noexcept nogil:
    entry.older = cache.newest
    entry.newer = NULL
    if cache.newest != NULL:
        cache.newest.newer = entry
    else:
        cache.oldest = entry
    cache.newest = entry


cdef void entry_free(MetricsCache* cache, Metrics* entry) noexcept nogil:
    entry_unlink(cache, entry)
    flow_remove(&cache.entries, &entry.key)
    free(entry)


cdef inline void key_of(const Tcb* tcb, FlowKey* key) noexcept nogil:
    memset(key, 0, sizeof(FlowKey))
    key.local = tcb.endpoint.key.local
    key.remote = tcb.endpoint.key.remote


cdef void age(TcpLayer* tcp, Metrics* entry) noexcept nogil:
    """Networks change (RFC 9040 section 5): measurements are good for an hour."""
    if tcp.context.now - entry.saved_at < LIFETIME:
        return
    entry.saved_at = tcp.context.now
    entry.rtt = 0
    entry.rttvar = entry.ssthresh = entry.cwnd = 0
    entry.reordering = 0


cdef Metrics* metrics_find(TcpLayer* tcp, const Tcb* tcb) noexcept nogil:
    cdef FlowKey key
    cdef Metrics* entry
    if tcp.metrics.entries.count == 0:
        return NULL
    key_of(tcb, &key)
    entry = <Metrics*>flow_find(&tcp.metrics.entries, &key)
    if entry != NULL:
        entry_unlink(&tcp.metrics, entry)
        entry_append(&tcp.metrics, entry)
        age(tcp, entry)
    return entry


cdef Metrics* metrics_get(TcpLayer* tcp, const Tcb* tcb) noexcept nogil:
    cdef Metrics* entry = metrics_find(tcp, tcb)
    if entry != NULL:
        return entry
    if tcp.metrics.entries.count >= METRICS_MAX:
        entry_free(&tcp.metrics, tcp.metrics.oldest)
    entry = <Metrics*>calloc(1, sizeof(Metrics))
    if entry == NULL:
        count(tcp.context, Counter.OUT_OF_MEMORY)
        return NULL
    key_of(tcb, &entry.key)
    if flow_insert(&tcp.metrics.entries, &entry.key) < 0:
        count(tcp.context, Counter.OUT_OF_MEMORY)
        free(entry)
        return NULL
    entry.saved_at = tcp.context.now
    entry_append(&tcp.metrics, entry)
    return entry


cdef void metrics_apply(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    """RFC 9040 section 8 for what Linux takes of it.

    As Linux, the smoothed round trip is not seeded: only the first RTO is, by a round trip that was
    longer than that of the handshake, whose segments are small.
    """
    cdef Metrics* entry = metrics_find(tcp, tcb)
    if entry == NULL:
        return
    if entry.ssthresh and tcp.config.metrics_ssthresh:
        tcb.congestion.ssthresh = entry.ssthresh * tcb.smss
    if entry.reordering:
        tcb.reordering = entry.reordering
    if entry.rtt > tcb.rtt.srtt:
        tcb.rtt.rto = min(
            entry.rtt + max(2 * entry.rtt, tcb.config.rto_min), tcb.config.rto_max)


cdef void save_rtt(const Tcb* tcb, Metrics* entry) noexcept nogil:
    """A longer round trip counts at once, a shorter one by an eighth: too long an RTO is the lesser
    harm.
    """
    cdef int64_t shorter = entry.rtt - tcb.rtt.srtt
    cdef uint32_t deviation = <uint32_t>((shorter if shorter >= 0 else -shorter) // 1000 * 4)
    entry.rtt = entry.rtt - shorter // 8 if shorter > 0 else tcb.rtt.srtt
    deviation = max(deviation, tcb.rtt.mdev)
    if deviation >= entry.rttvar:
        entry.rttvar = deviation
    else:
        entry.rttvar -= (entry.rttvar - deviation) // 4


cdef void save_window(TcpLayer* tcp, const Tcb* tcb, Metrics* entry) noexcept nogil:
    cdef bint save_ssthresh = tcp.config.metrics_ssthresh
    cdef uint32_t cwnd = segments(tcb)
    cdef uint32_t ssthresh = tcb.congestion.ssthresh // tcb.smss
    if tcb.congestion.ssthresh >= INFINITE_SSTHRESH:
        # The first slow start never ended.
        if save_ssthresh and entry.ssthresh and cwnd // 2 > entry.ssthresh:
            entry.ssthresh = cwnd // 2
        entry.cwnd = max(entry.cwnd, cwnd)
    elif not in_slow_start(tcb) and tcb.busy.ca_state == CA_OPEN:
        if save_ssthresh:
            entry.ssthresh = max(cwnd // 2, ssthresh)
        entry.cwnd = (entry.cwnd + cwnd) // 2
    else:
        # cwnd says nothing.
        entry.cwnd = (entry.cwnd + ssthresh) // 2
        if save_ssthresh and entry.ssthresh and ssthresh > entry.ssthresh:
            entry.ssthresh = ssthresh
        if tcb.reordering > entry.reordering and tcb.reordering != tcb.config.reordering:
            entry.reordering = <uint16_t>tcb.reordering


cdef void metrics_save(TcpLayer* tcp, const Tcb* tcb) noexcept nogil:
    cdef Metrics* entry
    if not tcp.config.metrics or tcb.smss == 0:
        return
    if tcb.backoff or tcb.rtt.srtt == 0:
        # Nothing has been measured; perhaps what is remembered was the reason.
        entry = metrics_find(tcp, tcb)
        if entry != NULL:
            entry.rtt = 0
        return
    entry = metrics_get(tcp, tcb)
    if entry == NULL:
        return
    save_rtt(tcb, entry)
    save_window(tcp, tcb, entry)
    entry.saved_at = tcp.context.now


cdef void metrics_forget(TcpLayer* tcp) noexcept nogil:
    while tcp.metrics.oldest != NULL:
        entry_free(&tcp.metrics, tcp.metrics.oldest)
    flow_table_release(&tcp.metrics.entries)
