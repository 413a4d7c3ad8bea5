# IP fragments: reassembly with bounds (RFC 815, 5722, 6946, 3128).

from pystack.core.ip.layer cimport IpLayer

# Deadline DEADLINE_FRAGMENTS came due.
cdef void ip_fragments_expire(IpLayer* ip) noexcept nogil
