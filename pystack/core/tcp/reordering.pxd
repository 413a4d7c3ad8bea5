# The degree of reordering that the path has shown; and the duplicate ACKs that stand for a
# scoreboard where there is no SACK.
# Called by: arrival, recovery, undo, frto.
# RFCs: 4653's problem in Linux's way, 5681 section 3.2, 6582, 8985 section 6.2 step 3.

from libc.stdint cimport uint32_t
from pystack.core.tcp.layer cimport Tcb, TcpLayer

# What begins at `low` arrived after something above it, without having been sent again.
cdef void reordering_note(TcpLayer* tcp, Tcb* tcb, uint32_t low) noexcept nogil
# Without SACK: a duplicate ACK says that some segment has left the network.
cdef void duplicate_add(TcpLayer* tcp, Tcb* tcb) noexcept nogil
# Without SACK: segments were acknowledged, of which some had been counted by duplicate ACKs.
cdef void duplicates_eat(TcpLayer* tcp, Tcb* tcb, uint32_t acked) noexcept nogil
cdef void duplicates_forget(Tcb* tcb) noexcept nogil
