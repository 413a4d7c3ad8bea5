# TCP setup: makes and releases the TCP layer.
# Called by: stack.
# RFCs: the defaults name theirs.

from pystack.core.ip.layer cimport IpLayer
from pystack.core.tcp.config cimport TcpConfig
from pystack.core.tcp.layer cimport TcpLayer

cdef void tcp_default_config(TcpConfig* config) noexcept nogil
cdef void tcp_init(TcpLayer* tcp, IpLayer* ip, const TcpConfig* config) noexcept nogil
# Frees every TCB, held or not; nothing is sent.
cdef void tcp_release(TcpLayer* tcp) noexcept nogil
# Reset every connection and close every listener; holders see ECONNABORTED.
cdef void tcp_abort_all(TcpLayer* tcp) noexcept nogil
