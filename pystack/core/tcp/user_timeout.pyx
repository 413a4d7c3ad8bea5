# The TCP user timeout option: ours is told, the peer's is taken over.
# Called by: segments (their options), listen and input (options that arrive), settings.
# RFCs: 5482.

from libc.stdint cimport int64_t, uint16_t, uint32_t
from pystack.core.tcp.layer cimport Tcb, TcpLayer
from pystack.core.tcp.shared_settings cimport settings_edit, settings_of, settings_settle
from pystack.core.tcp.tcb cimport tcb_is_synchronized
from pystack.core.wire.tcp cimport TCP_OPT_USER_TIMEOUT, TcpOptions

cdef enum:
    IN_MINUTES = 0x8000         # the granularity bit (section 3.3)
    MOST = 0x7FFF

cdef int64_t SECOND = 1_000_000_000
cdef int64_t MILLISECOND = 1_000_000


cdef bint is_chosen(const Tcb* tcb) noexcept nogil:
    """The application has asked for a timeout: CHANGEABLE is false (section 3.1)."""
    return tcb.settings.user_timeout_ms != 0 and not tcb.settings.user_timeout_adopted


cdef int64_t advertised(const TcpLayer* tcp, const Tcb* tcb) noexcept nogil:
    """ADV_UTO, ns."""
    if is_chosen(tcb):
        return tcb.settings.user_timeout_ms * MILLISECOND
    return tcb.config.user_timeout_advertised


cdef uint16_t encoded(int64_t ns) noexcept nogil:
    """Never zero, which is reserved (section 3.4)."""
    cdef int64_t seconds = max((ns + SECOND - 1) // SECOND, 1)
    if seconds <= MOST:
        return <uint16_t>seconds
    return <uint16_t>(IN_MINUTES | min((seconds + 59) // 60, <int64_t>MOST))


cdef void user_timeout_offer(
        const TcpLayer* tcp, const Tcb* tcb, TcpOptions* options) noexcept nogil:
    options.present |= TCP_OPT_USER_TIMEOUT
    options.user_timeout = encoded(advertised(tcp, tcb))


cdef void user_timeout_adopt(TcpLayer* tcp, Tcb* tcb, uint16_t option) noexcept nogil:
    """USER_TIMEOUT = min(U_LIMIT, max(ADV_UTO, REMOTE_UTO, L_LIMIT)) (section 3.1)."""
    cdef int64_t remote = (option & MOST) * SECOND * (60 if option & IN_MINUTES else 1)
    cdef int64_t timeout
    if not tcb.config.user_timeout_option or remote == 0 or is_chosen(tcb):
        return
    timeout = max(max(advertised(tcp, tcb), remote), tcb.config.user_timeout_least)
    timeout = min(timeout, tcb.config.user_timeout_most)
    if settings_edit(tcp, tcb) == NULL:
        return
    settings_of(tcb).user_timeout_ms = <uint32_t>(timeout // MILLISECOND)
    settings_of(tcb).user_timeout_adopted = True
    settings_settle(tcp, tcb)


cdef void user_timeout_choose(TcpLayer* tcp, Tcb* tcb, uint32_t ms) noexcept nogil:
    settings_of(tcb).user_timeout_ms = ms
    settings_of(tcb).user_timeout_adopted = False
    # Section 3.2: in the next segment, so that the peer can follow.
    if tcb.config.user_timeout_option and tcb_is_synchronized(tcb):
        tcb.busy.user_timeout_owed = True
