# ICMP errors about segments of ours.
# Called by: stack.
# RFCs: 5927, 5461, 1191, 8201, 1122 section 4.2.3.9.

from libc.stdint cimport int16_t, uint32_t
from pystack.core.context cimport count, endpoint_ready
from pystack.core.counters cimport Counter
from pystack.core.endpoint cimport MANNER_REPORT_ERRORS, MANNER_REPORT_EXTENSIONS, READY_ERROR
from pystack.core.error_queue cimport ErrorReport, error_queue_add
from pystack.core.ip.error_report cimport error_report_of
from pystack.core.ip.icmp_errno cimport icmp_error_is_fatal
from pystack.core.ip.layer cimport (
    ICMP_ERROR_PORT_UNREACHABLE, ICMP_ERROR_TOO_BIG, ICMP_ERROR_UNKNOWN, IcmpError,
)
from pystack.core.ip.path_mtu cimport ip_path_mtu_lower
from pystack.core.tcp.busy cimport tcb_wake
from pystack.core.tcp.fast_open cimport awaits_accept, is_early
from pystack.core.tcp.layer cimport (
    STATE_ESTABLISHED, STATE_LISTEN, STATE_SYN_RECEIVED, STATE_SYN_SENT, Tcb, TcpLayer,
)
from pystack.core.tcp.lookup cimport connection_find
from pystack.core.tcp.mss cimport sync_mss
from pystack.core.tcp.mtu_search cimport mtu_search_too_big
from pystack.core.tcp.recovery cimport recovery_too_big
from pystack.core.tcp.tcb cimport tcb_finish
from pystack.core.wire.bytes cimport load16, load32
from pystack.core.wire.icmp cimport ICMP4_HOST_UNREACHABLE, ICMP4_UNREACHABLE
from pystack.core.wire.tcp cimport seq_ge, seq_lt


cdef bint is_outstanding(const Tcb* tcb, uint32_t seq) noexcept nogil:
    """Only something that is in flight can have met an error now (RFC 5927 section 4.1)."""
    return seq_ge(seq, tcb.snd_una - is_early(tcb)) and seq_lt(seq, tcb.snd_nxt)


cdef void too_big(TcpLayer* tcp, Tcb* tcb, const IcmpError* error) noexcept nogil:
    """Lower the path MTU, and send again at once what was too large (RFC 1191 section 6.4)."""
    cdef uint32_t before = tcb.smss
    cdef bint probe
    if not ip_path_mtu_lower(tcp.ip, &error.local, &error.remote, error.mtu):
        return
    if tcb.state < STATE_ESTABLISHED:
        return
    probe = mtu_search_too_big(tcp, tcb, error.mtu)
    sync_mss(tcp, tcb)
    if probe or tcb.smss < before:
        recovery_too_big(tcp, tcb)


cdef void error_keep(TcpLayer* tcp, Tcb* tcb, const IcmpError* error) noexcept nogil:
    """Put what ended an open into the error queue (IP_RECVERR)."""
    cdef ErrorReport report
    if not tcb.endpoint.manners & MANNER_REPORT_ERRORS:
        return
    error_report_of(
        error, 0, tcb.endpoint.manners & MANNER_REPORT_EXTENSIONS != 0, &report)
    error_queue_add(
        &tcp.context.slab, &tcb.endpoint.errors, &report, error.transport, error.rest,
        tcb.receive_buffer)


cdef bint ends_an_open(const Tcb* tcb, const IcmpError* error) noexcept nogil:
    """As Linux. Half-open connections end with other errors than attempts to connect, and not with
    the same in both families.
    """
    if error.kind == ICMP_ERROR_UNKNOWN:
        return False
    if not tcb.passive or is_early(tcb):
        return True
    if error.v6:
        return icmp_error_is_fatal(error)
    return error.icmp_type != ICMP4_UNREACHABLE or error.icmp_code <= ICMP4_HOST_UNREACHABLE


cdef bint tcp_error(TcpLayer* tcp, const IcmpError* error) noexcept nogil:
    """Find the connection that really sent the quoted segment and tell it; False: there is none."""
    cdef Tcb* tcb = connection_find(
        tcp, &error.local, load16(error.transport), &error.remote, load16(error.transport + 2))
    if tcb == NULL or tcb.state == STATE_LISTEN or (
            not is_outstanding(tcb, load32(error.transport + 4))):
        return False
    if not tcb_wake(tcp, tcb):
        return True
    count(tcp.context, Counter.TCP_ERRORS_DELIVERED)
    if error.kind == ICMP_ERROR_TOO_BIG:
        too_big(tcp, tcb, error)
    elif tcb.state in (STATE_SYN_SENT, STATE_SYN_RECEIVED) and not (
            is_early(tcb) and not awaits_accept(tcb)) and ends_an_open(tcb, error):
        # As Linux, an open gives up at once (RFC 5461 section 4.1); later such errors are soft: RFC
        # 5927 section 5.2.
        if error.kind == ICMP_ERROR_PORT_UNREACHABLE:
            count(tcp.context, Counter.TCP_CONNECTIONS_REFUSED)
        error_keep(tcp, tcb, error)
        tcb_finish(tcp, tcb, error.error)
    elif tcb.endpoint.manners & MANNER_REPORT_ERRORS:
        # As Linux: who asks for errors hears of one at once, though the connection goes on.
        tcb.endpoint.error = <int16_t>error.error
        endpoint_ready(tcp.context, &tcb.endpoint, READY_ERROR)
    else:
        tcb.soft_error = <int16_t>error.error
    return True
