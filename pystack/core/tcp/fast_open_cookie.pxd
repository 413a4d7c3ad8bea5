# Fast open cookies: what proves that a client is where it says it is.
# Called by: fast_open, segments (options of a SYN), settings.
# RFCs: 7413 sections 4.1.1 and 4.1.2.

from libc.stdint cimport uint8_t, uint32_t
from pystack.core.tcp.layer cimport Backlog, FastOpenKeys, TcpLayer
from pystack.core.tcp.metrics_cache cimport COOKIE_MAX
from pystack.core.wire.address cimport Addr
from pystack.core.wire.tcp cimport TcpOptions

# What goes into a SYN or SYN-ACK.
ctypedef struct FastOpenCookie:
    uint8_t[COOKIE_MAX] octets
    uint8_t length              # 0: a request
    uint8_t present
    uint8_t experimental

# The cookie that we give to this client.
cdef void cookie_new(
        TcpLayer* tcp, const Backlog* backlog, const Addr* client, const Addr* server,
        FastOpenCookie* cookie) noexcept nogil
# 1: the option's cookie is that; 2: it is of the key before; 0: neither. *cookie: the present one.
cdef int cookie_check(
        TcpLayer* tcp, const Backlog* backlog, const Addr* client, const Addr* server,
        const TcpOptions* options, FastOpenCookie* cookie) noexcept nogil
# Those that a listener goes by.
cdef void cookie_keys(
        const TcpLayer* tcp, const Backlog* backlog, FastOpenKeys* keys) noexcept nogil
