# IP path mtu: what was learned of paths that take less than the device does.
# Called by: ip output; tcp and udp, which vouch for the errors that teach it.
# RFCs: 1191, 8201.

from libc.stdint cimport int64_t, uint32_t
from libc.stdlib cimport calloc, free
from libc.string cimport memset
from pystack.core.context cimport count
from pystack.core.counters cimport Counter
from pystack.core.ip.layer cimport IpLayer
from pystack.core.ip.path_mtu_cache cimport (
    PATH_MTU_ENTRIES_MAX, PathMtuCache, PathMtuEntry
)
from pystack.core.memory.flow cimport (
    FlowKey, flow_find, flow_insert, flow_remove, flow_table_init, flow_table_release
)
from pystack.core.wire.address cimport Addr, addr_is_v4

cdef enum:
    V4_MTU_FLOOR = 552          # Linux's min_pmtu: an attacker cannot make us send crumbs
    V4_MTU_LEAST = 68           # RFC 1191 section 3: every router forwards that much
    V6_MTU_LEAST = 1280         # RFC 8201 section 4

cdef int64_t LIFETIME_NS = <int64_t>600 * 1000000000    # RFC 1191 section 6.3


cdef inline FlowKey path_key(const Addr* local, const Addr* remote) noexcept nogil:
    cdef FlowKey key
    memset(&key, 0, sizeof(FlowKey))
    key.local = local[0]
    key.remote = remote[0]
    return key


cdef void entry_unlink(PathMtuCache* cache, PathMtuEntry* entry) noexcept nogil:
    if entry.older != NULL:
        entry.older.newer = entry.newer
    else:
        cache.oldest = entry.newer
    if entry.newer != NULL:
        entry.newer.older = entry.older
    else:
        cache.newest = entry.older


cdef void entry_renew(PathMtuCache* cache, PathMtuEntry* entry, int64_t now) noexcept nogil:
    """Make an unlinked entry the last one to expire."""
    entry.expires = now + LIFETIME_NS
    entry.older = cache.newest
    entry.newer = NULL
    if cache.newest != NULL:
        cache.newest.newer = entry
    else:
        cache.oldest = entry
    cache.newest = entry


cdef void entry_forget(PathMtuCache* cache, PathMtuEntry* entry) noexcept nogil:
    entry_unlink(cache, entry)
    flow_remove(&cache.entries, &entry.key)
    free(entry)


cdef PathMtuEntry* entry_find(IpLayer* ip, const Addr* local, const Addr* remote) noexcept nogil:
    """The entry of a path, if it has not expired."""
    cdef FlowKey key
    cdef PathMtuEntry* entry
    if ip.path_mtus.entries.count == 0:
        return NULL
    key = path_key(local, remote)
    entry = <PathMtuEntry*>flow_find(&ip.path_mtus.entries, &key)
    if entry == NULL or entry.expires > ip.context.now:
        return entry
    entry_forget(&ip.path_mtus, entry)
    return NULL


cdef PathMtuEntry* entry_add(IpLayer* ip, const Addr* local, const Addr* remote) noexcept nogil:
    """A new entry, in place of the oldest if there are too many; NULL: out of memory."""
    cdef PathMtuCache* cache = &ip.path_mtus
    cdef PathMtuEntry* entry
    if cache.entries.count >= PATH_MTU_ENTRIES_MAX:
        entry_forget(cache, cache.oldest)
    entry = <PathMtuEntry*>calloc(1, sizeof(PathMtuEntry))
    if entry == NULL:
        return NULL
    entry.key = path_key(local, remote)
    if flow_insert(&cache.entries, &entry.key) < 0:
        free(entry)
        return NULL
    entry_renew(cache, entry, ip.context.now)
    return entry


cdef uint32_t ip_path_mtu(IpLayer* ip, const Addr* local, const Addr* remote) noexcept nogil:
    """Bytes of the largest IP packet for the path.

    Between our own addresses too it is the device's: nothing there must be cut, but trains are
    kinder to windows than segments of 64 KiB.
    """
    cdef const PathMtuEntry* entry = entry_find(ip, local, remote)
    if entry == NULL or entry.mtu > ip.context.mtu:
        return ip.context.mtu
    return entry.mtu


cdef inline bint entry_is_locked(const PathMtuEntry* entry) noexcept nogil:
    return entry != NULL and entry.locked


cdef bint ip_path_mtu_is_locked(IpLayer* ip, const Addr* local, const Addr* remote) noexcept nogil:
    """True of a path that asked for less than 552 bytes, which it then gets in fragments."""
    return entry_is_locked(entry_find(ip, local, remote))


cdef bint path_mtu_apply(
    IpLayer* ip, const Addr* local, const Addr* remote, uint32_t mtu
) noexcept nogil:
    """Enter a lower path MTU; False: not to be believed, not lower, or no memory."""
    cdef bint locked = addr_is_v4(remote) and mtu < V4_MTU_FLOOR
    cdef PathMtuEntry* entry
    if mtu < <uint32_t>(V4_MTU_LEAST if addr_is_v4(remote) else V6_MTU_LEAST):
        return False
    if locked:
        mtu = V4_MTU_FLOOR
    # RFC 8201 section 4: never raised by a message.
    if mtu > ip_path_mtu(ip, local, remote):
        return False
    entry = entry_find(ip, local, remote)
    if mtu == ip_path_mtu(ip, local, remote) and (not locked or entry_is_locked(entry)):
        return False
    if entry == NULL:
        entry = entry_add(ip, local, remote)
        if entry == NULL:
            return False
    else:
        entry_unlink(&ip.path_mtus, entry)
        entry_renew(&ip.path_mtus, entry, ip.context.now)
    entry.mtu = mtu
    entry.locked = locked
    return True


cdef int ip_path_mtu_lower(
    IpLayer* ip, const Addr* local, const Addr* remote, uint32_t mtu
) noexcept nogil:
    """Believe a Packet Too Big that a transport has checked; 1: lowered, 0: ignored."""
    if not path_mtu_apply(ip, local, remote, mtu):
        count(ip.context, Counter.IP_PATH_MTU_IGNORED)
        return 0
    count(ip.context, Counter.IP_PATH_MTU_LOWERED)
    return 1


cdef void path_mtu_init(IpLayer* ip) noexcept nogil:
    """An empty cache, keyed with the stack's secret."""
    flow_table_init(&ip.path_mtus.entries, ip.context.secret)
    ip.path_mtus.oldest = NULL
    ip.path_mtus.newest = NULL


cdef void path_mtu_release(IpLayer* ip) noexcept nogil:
    """Forget everything."""
    while ip.path_mtus.oldest != NULL:
        entry_forget(&ip.path_mtus, ip.path_mtus.oldest)
    flow_table_release(&ip.path_mtus.entries)
