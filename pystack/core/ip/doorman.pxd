# The doorman: flows that nobody waits for, kept until somebody decides about them.
# Called by: tcp and udp input (ask), tcp and udp admission, the engine (decides), setup.
# RFCs: none; the design's section 6.

from libc.stdint cimport uint32_t, uint64_t
from pystack.core.ip.layer cimport AskedFlow, Doorman, IpLayer, IpView
from pystack.core.memory.flow cimport FlowKey

# One for a stack: NULL, *error: -EADDRINUSE, -ENOMEM.
cdef Doorman* doorman_open(
    IpLayer* ip, bint tcp, bint udp, uint32_t limit, int* error) noexcept nogil
# All that is undecided is dropped.
cdef void doorman_close(IpLayer* ip) noexcept nogil
cdef bint doorman_wants(const IpLayer* ip, int protocol) noexcept nogil
# Takes view.packet: the first of a new flow, or one more of a flow that is undecided yet.
cdef void doorman_ask(IpLayer* ip, const IpView* view, const FlowKey* key) noexcept nogil
# The flow that has waited longest without being looked at; NULL: none.
cdef AskedFlow* doorman_see(IpLayer* ip) noexcept nogil
# NULL: it is gone.
cdef AskedFlow* doorman_find(IpLayer* ip, const FlowKey* key, uint64_t number) noexcept nogil
# Forget a flow; whoever takes a packet over sets it to NULL in its view before.
cdef void doorman_forget(IpLayer* ip, AskedFlow* flow) noexcept nogil
