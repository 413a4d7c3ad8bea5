# Flow table: open addressing, linear probing; a removal closes its gap: there are no tombstones.
# Called by: ip (policy, fragments, path MTU), udp, tcp.
# RFCs: 4987 section 3.3 spirit; SipHash-1-3.

from libc.stddef cimport size_t
from libc.stdint cimport uint8_t, uint32_t, uint64_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memset
from pystack.core.memory.siphash cimport Sip, sip_add, sip_finish, sip_start

cdef enum:
    MIN_SLOTS = 16
    MAX_SLOTS = 0x40000000


cdef inline uint64_t load_word(const uint8_t* p) noexcept nogil:
    """SipHash reads its input as little-endian words, whatever the machine."""
    cdef uint32_t low = p[0] | p[1] << 8 | p[2] << 16 | <uint32_t>p[3] << 24
    cdef uint32_t high = p[4] | p[5] << 8 | p[6] << 16 | <uint32_t>p[7] << 24
    return <uint64_t>high << 32 | low


cdef uint64_t siphash(const uint64_t* secret, const uint8_t* data, uint32_t length) noexcept nogil:
    """SipHash-1-3 of bytes under a secret of two words."""
    cdef Sip sip
    cdef uint32_t whole = length & ~<uint32_t>7
    cdef uint32_t i
    cdef uint64_t last = <uint64_t>length << 56
    sip_start(&sip, secret)
    for i in range(0, whole, 8):
        sip_add(&sip, load_word(data + i))
    for i in range(whole, length):
        last |= <uint64_t>data[i] << (8 * (i - whole))
    return sip_finish(&sip, last)


cdef inline uint32_t flow_hash(const FlowTable* table, const FlowKey* key) noexcept nogil:
    """SipHash of the five words of a key."""
    # From its fields, not its bytes: every machine walks the table in the same order.
    cdef Sip sip
    cdef uint64_t ports = <uint64_t>key.remote_port << 16 | key.local_port
    cdef uint64_t rest = <uint64_t>key.reserved << 16 | key.prefix_length << 8 | key.protocol
    sip_start(&sip, table.secret)
    sip_add(&sip, key.local.hi)
    sip_add(&sip, key.local.lo)
    sip_add(&sip, key.remote.hi)
    sip_add(&sip, key.remote.lo)
    sip_add(&sip, rest << 32 | ports)
    return <uint32_t>sip_finish(&sip, <uint64_t>sizeof(FlowKey) << 56)


cdef inline uint32_t slot_count(const FlowTable* table) noexcept nogil:
    return table.mask + 1 if table.slots != NULL else 0


cdef inline uint32_t first_free(const FlowTable* table, uint32_t hash_) noexcept nogil:
    cdef uint32_t slot = hash_ & table.mask
    while table.slots[slot] != NULL:
        slot = (slot + 1) & table.mask
    return slot


cdef inline void slot_fill(FlowTable* table, FlowKey* key, uint32_t hash_) noexcept nogil:
    cdef uint32_t slot = first_free(table, hash_)
    table.slots[slot] = key
    table.hashes[slot] = hash_


cdef int slots_allocate(FlowTable* table, uint32_t slots) noexcept nogil:
    """Give the table `slots` empty slots: 0, or -1 when out of memory."""
    # One block: the slots, behind them the hashes.
    cdef size_t slot_size = sizeof(FlowKey*) + sizeof(uint32_t)
    cdef FlowKey** memory = <FlowKey**>malloc(slots * slot_size)
    if memory == NULL:
        return -1
    memset(memory, 0, <size_t>slots * sizeof(FlowKey*))
    table.slots = memory
    table.hashes = <uint32_t*>(memory + slots)
    table.mask = slots - 1
    return 0


cdef int flow_resize(FlowTable* table, uint32_t slots) noexcept nogil:
    """Move all keys to `slots` slots: 0; -1, and the table unchanged, when out of memory."""
    cdef FlowTable old = table[0]
    cdef uint32_t slot
    if slots > MAX_SLOTS or slots_allocate(table, slots) < 0:
        return -1
    for slot in range(slot_count(&old)):
        if old.slots[slot] != NULL:
            slot_fill(table, old.slots[slot], old.hashes[slot])
    free(old.slots)
    return 0


cdef int flow_make_room(FlowTable* table) noexcept nogil:
    """Keep the load at 3/4 or less with one key more: 0, or -1 when out of memory."""
    cdef uint32_t slots = slot_count(table)
    if table.count < slots - slots // 4:
        return 0
    return flow_resize(table, max(<uint32_t>MIN_SLOTS, 2 * slots))


cdef void flow_table_init(FlowTable* table, const uint64_t* secret) noexcept nogil:
    """Make an empty table; the first insert allocates."""
    memset(table, 0, sizeof(FlowTable))
    table.secret[0] = secret[0]
    table.secret[1] = secret[1]


cdef void flow_table_release(FlowTable* table) noexcept nogil:
    """Free the table's memory; the keys stay their owners', the table is empty and usable again."""
    free(table.slots)
    table.slots = NULL
    table.hashes = NULL
    table.mask = table.count = 0


cdef FlowKey* flow_find(const FlowTable* table, const FlowKey* key) noexcept nogil:
    """Return the key in the table that equals `key`, or NULL."""
    cdef uint32_t hash_, slot
    if table.count == 0:
        return NULL
    hash_ = flow_hash(table, key)
    slot = hash_ & table.mask
    while table.slots[slot] != NULL:
        if table.hashes[slot] == hash_ and memcmp(table.slots[slot], key, sizeof(FlowKey)) == 0:
            return table.slots[slot]
        slot = (slot + 1) & table.mask
    return NULL


cdef int flow_insert(FlowTable* table, FlowKey* key) noexcept nogil:
    """Hold `key`, which must not change until it is removed.

    Returns 0; -1 when out of memory; -2 if an equal key is there already.
    """
    if flow_find(table, key) != NULL:
        return -2
    if flow_make_room(table) < 0:
        return -1
    slot_fill(table, key, flow_hash(table, key))
    table.count += 1
    return 0


cdef void close_gap(FlowTable* table, uint32_t gap) noexcept nogil:
    """Empty a slot, moving back each later key of the run that would no longer be found."""
    cdef uint32_t slot = (gap + 1) & table.mask
    cdef uint32_t distance
    while table.slots[slot] != NULL:
        # How far the key stands from its own slot: it may move back that far, but no further.
        distance = (slot - table.hashes[slot]) & table.mask
        if distance >= ((slot - gap) & table.mask):
            table.slots[gap] = table.slots[slot]
            table.hashes[gap] = table.hashes[slot]
            gap = slot
        slot = (slot + 1) & table.mask
    table.slots[gap] = NULL


cdef void flow_remove(FlowTable* table, FlowKey* key) noexcept nogil:
    """Let go of this very key, by its address; nothing happens if it isn't in the table."""
    cdef uint32_t slot
    if table.count == 0:
        return
    slot = flow_hash(table, key) & table.mask
    while table.slots[slot] != key:
        if table.slots[slot] == NULL:
            return
        slot = (slot + 1) & table.mask
    close_gap(table, slot)
    table.count -= 1
    # A flood passes: give its memory back. Without memory to move to, the table stays large.
    if table.mask >= MIN_SLOTS and table.count < slot_count(table) // 8:
        flow_resize(table, slot_count(table) // 2)


cdef FlowKey* flow_next(const FlowTable* table, uint32_t* cursor) noexcept nogil:
    """Return the next key of a walk that starts with cursor 0, or NULL at its end."""
    cdef FlowKey* key
    while cursor[0] < slot_count(table):
        # From the last slot down: what a removal moves back was seen already, save across slot 0.
        key = table.slots[table.mask - cursor[0]]
        cursor[0] += 1
        if key != NULL:
            return key
    return NULL
