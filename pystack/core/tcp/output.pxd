# Output: what is owed to a connection's peer, and when it may go.
# Called by: stack, once per batch.
# RFCs: 9293 sections 3.7.4 and 3.8.6, 1122 section 4.2.3.4, 3042, 4821, 8985.

from pystack.core.tcp.layer cimport Tcb, TcpLayer

# Everything that is owed: retransmissions, new data, FIN, ACK; with output_forced also a segment
# that Nagle, cork or a small window hold back (override of RFC 9293 section 3.8.6.2.1). Its packets
# borrow from the send ring and from lenders: only the stack calls it, when nothing can enter before
# they are taken.
cdef void tcp_output(TcpLayer* tcp, Tcb* tcb) noexcept nogil
