# Native services: echo, discard, character generator, answered inside the core, for any number of
# connections.
# Called by: stack, for endpoints whose `service` is set.
# RFCs: 862, 863, 864.

from pystack.core.endpoint cimport Endpoint
from pystack.core.tcp.layer cimport TcpLayer
from pystack.core.udp.layer cimport UdpLayer

cdef void service_run(TcpLayer* tcp, UdpLayer* udp, Endpoint* endpoint) noexcept nogil
