# What we tell multicast routers: of changes, unasked and more than once; of the state, when asked.
# Called by: membership, membership_query.
# RFCs: 3376 section 5, 3810 section 6, 2236, 2710, 1112.

from libc.stdint cimport int64_t, uint8_t
from pystack.core.ip.layer cimport IpLayer
from pystack.core.ip.membership_table cimport MulticastGroup, SourceList
from pystack.core.wire.address cimport Addr

# The group that everybody is in and nobody reports: 224.0.0.1, ff01::1 and ff02::1.
cdef bint group_all_hosts(const Addr* group) noexcept nogil
# 1, 2 or 3, as IGMP counts: what the oldest querier of late understands.
cdef int membership_version(IpLayer* ip, bint v6) noexcept nogil
# A group's filter was mode_before and before; report the difference, now and again later.
cdef void membership_report_change(
    IpLayer* ip, MulticastGroup* group, uint8_t mode_before, const SourceList* before
) noexcept nogil
# Report again what has changed; answer a general query; answer one about a group.
cdef void membership_report_changes(IpLayer* ip, bint v6) noexcept nogil
cdef void membership_answer_general(IpLayer* ip, bint v6) noexcept nogil
cdef void membership_answer_group(IpLayer* ip, MulticastGroup* group) noexcept nogil
# Whether there is something to be said of a group at all.
cdef bint group_is_reported(const MulticastGroup* group) noexcept nogil
# Forget the changes and the answers that are still to be sent (another version is spoken now).
cdef void membership_cancel(IpLayer* ip, bint v6) noexcept nogil
# Random time in (0, most].
cdef int64_t membership_delay(IpLayer* ip, int64_t most) noexcept nogil
cdef void membership_deadline_renew(IpLayer* ip) noexcept nogil
