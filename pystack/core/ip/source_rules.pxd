# Which of two addresses of ours is the better source for a destination.
# Called by: networks.
# RFCs: 6724 sections 2.1, 2.2, 3.1 and 5.

from pystack.core.wire.address cimport Addr

# The prefix length of each counts too: bits behind it say nothing of how near a source is.
cdef bint source_is_better(
    const Addr* destination, const Addr* candidate, int candidate_length, const Addr* best,
    int best_length
) noexcept nogil
