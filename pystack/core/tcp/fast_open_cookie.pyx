# Fast open cookies: what proves that a client is where it says it is.
# Called by: fast_open, segments (options of a SYN), settings.
# RFCs: 7413 sections 4.1.1 and 4.1.2.
#
# As Linux: eight bytes, SipHash-2-4 of both addresses. So hosts behind one address can share a key
# with Linux's, and cookies outlive a restart.

from libc.stdint cimport uint8_t, uint64_t
from libc.string cimport memcmp, memset
from pystack.core.memory.siphash cimport siphash_2_4
from pystack.core.tcp.layer cimport Backlog, FastOpenKeys, TcpLayer
from pystack.core.wire.address cimport Addr, addr_is_v4, addr_v4
from pystack.core.wire.tcp cimport TcpOptions

cdef enum:
    LENGTH = 8


cdef inline uint64_t reversed_octets(uint64_t word) noexcept nogil:
    """A word of an address as SipHash reads its octets, from the least significant on."""
    cdef uint64_t out = 0
    cdef int _i
    for _i in range(8):
        out = out << 8 | (word & 0xFF)
        word >>= 8
    return out


cdef uint64_t hash_of(
        const uint64_t* key, const Addr* client, const Addr* server) noexcept nogil:
    cdef uint64_t[4] words
    if addr_is_v4(client):
        words[0] = reversed_octets(<uint64_t>addr_v4(client) << 32 | addr_v4(server))
        return siphash_2_4(key, words, 1)
    words[0] = reversed_octets(client.hi)
    words[1] = reversed_octets(client.lo)
    words[2] = reversed_octets(server.hi)
    words[3] = reversed_octets(server.lo)
    return siphash_2_4(key, words, 4)


cdef void cookie_keys(
        const TcpLayer* tcp, const Backlog* backlog, FastOpenKeys* keys) noexcept nogil:
    if backlog != NULL and backlog.fast_open.keys.count:
        keys[0] = backlog.fast_open.keys
        return
    memset(keys, 0, sizeof(FastOpenKeys))
    if not tcp.config.fastopen_keys:
        keys.count = 1
        keys.words[0] = tcp.fast_open_secret[0]
        keys.words[1] = tcp.fast_open_secret[1]
        return
    keys.count = tcp.config.fastopen_keys
    keys.words[0] = tcp.config.fastopen_key_0
    keys.words[1] = tcp.config.fastopen_key_1
    keys.words[2] = tcp.config.fastopen_key_2
    keys.words[3] = tcp.config.fastopen_key_3


cdef void make(
        const uint64_t* key, const Addr* client, const Addr* server,
        FastOpenCookie* cookie) noexcept nogil:
    cdef uint64_t value = hash_of(key, client, server)
    cdef int i
    memset(cookie, 0, sizeof(FastOpenCookie))
    for i in range(LENGTH):
        cookie.octets[i] = <uint8_t>(value >> (8 * i))
    cookie.length = LENGTH
    cookie.present = True


cdef void cookie_new(
        TcpLayer* tcp, const Backlog* backlog, const Addr* client, const Addr* server,
        FastOpenCookie* cookie) noexcept nogil:
    cdef FastOpenKeys keys
    cookie_keys(tcp, backlog, &keys)
    make(keys.words, client, server, cookie)


cdef int cookie_check(
        TcpLayer* tcp, const Backlog* backlog, const Addr* client, const Addr* server,
        const TcpOptions* options, FastOpenCookie* cookie) noexcept nogil:
    cdef FastOpenKeys keys
    cdef FastOpenCookie before
    cookie_keys(tcp, backlog, &keys)
    make(keys.words, client, server, cookie)
    if options.fast_open_length != LENGTH:
        return 0
    if memcmp(cookie.octets, options.fast_open, LENGTH) == 0:
        return 1
    if keys.count < 2:
        return 0
    make(keys.words + 2, client, server, &before)
    return 2 if memcmp(before.octets, options.fast_open, LENGTH) == 0 else 0
