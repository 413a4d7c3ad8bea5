# IP fragments: reassembly with bounds on packets, pieces, bytes and time.
# Called by: ip input; stack when the deadline comes due.
# RFCs: 791 section 3.2, 815, 1122 section 3.3.2, 1858, 3128, 3168 section 5.3, 5722, 8200.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy, memmove, memset
from pystack.core.context cimport DEADLINE_FRAGMENTS, count, packet_drop
from pystack.core.counters cimport Counter
from pystack.core.ip.fragment_table cimport (
    FRAGMENT_DATAGRAMS_MAX, FRAGMENT_PIECES_MAX, FragmentPiece, FragmentTable, Reassembly
)
from pystack.core.ip.icmp cimport icmp_reassembly_timeout
from pystack.core.ip.layer cimport (
    IpLayer, PROTOCOL_ICMP, PROTOCOL_ICMPV6, PROTOCOL_TCP, PROTOCOL_UDP
)
from pystack.core.memory.deadline cimport (
    DEADLINE_NEVER, deadline_register, deadline_set, deadline_unregister
)
from pystack.core.memory.flow cimport (
    FlowKey, flow_find, flow_insert, flow_remove, flow_table_init, flow_table_release
)
from pystack.core.memory.packet cimport (
    PACKET_HEADROOM, GSO_NONE, Packet, packet_buffer, packet_free, packet_new
)
from pystack.core.wire.ipv4 cimport IPV4_HEADER_LENGTH, Ipv4Header, ipv4_build, ipv4_read
from pystack.core.wire.ipv6 cimport IPV6_HEADER_LENGTH, Ipv6Header, ipv6_build, ipv6_read

cdef int64_t LIFETIME4_NS = <int64_t>30 * 1000000000    # Linux's; RFC 1122 section 3.3.2: 60 to 120
cdef int64_t LIFETIME6_NS = <int64_t>60 * 1000000000    # RFC 8200 section 4.5

cdef enum:
    NO_FAULT = -1               # where else a Counter is
    LENGTH_MAX = 65535          # of an IPv4 packet, and of what an IPv6 header is followed by
    TCP_HEADER_LENGTH = 20
    TRANSPORT_HEADER_LENGTH = 8     # of UDP and both ICMPs
    ECN_CE = 3
    NOT_CAPABLE = 1 << 0            # in ecn_seen

cdef enum Place:
    PLACE_NEW = 0
    PLACE_DUPLICATE = 1
    PLACE_OVERLAP = 2
    PLACE_FULL = 3


cdef int fragment_fault(const Fragment* fragment) noexcept nogil:
    """Why a fragment is not worth keeping: a Counter, or NO_FAULT."""
    cdef uint32_t counted = 0 if fragment.v6 else IPV4_HEADER_LENGTH
    cdef uint32_t least = 0
    if fragment.length == 0 or (fragment.more and fragment.length & 7):
        return Counter.IP_DROP_FRAGMENT_BAD
    if counted + fragment.offset + fragment.length > LENGTH_MAX:
        return Counter.IP_DROP_FRAGMENT_TOO_BIG
    # RFC 1858 section 3.2.2, RFC 3128: nothing may slip by a filter that looks at first fragments.
    if fragment.next_header == PROTOCOL_TCP:
        if fragment.offset == 8:
            return Counter.IP_DROP_FRAGMENT_TINY
        least = TCP_HEADER_LENGTH
    elif fragment.next_header in (PROTOCOL_UDP, PROTOCOL_ICMP, PROTOCOL_ICMPV6):
        least = TRANSPORT_HEADER_LENGTH
    if fragment.offset == 0 and fragment.length < least:
        return Counter.IP_DROP_FRAGMENT_TINY
    return NO_FAULT


# The table


cdef void reassembly_forget(IpLayer* ip, Reassembly* datagram) noexcept nogil:
    """Take a datagram out of the table and free it with all that it holds."""
    cdef FragmentTable* table = &ip.fragments
    if datagram.older != NULL:
        datagram.older.newer = datagram.newer
    else:
        table.oldest = datagram.newer
    if datagram.newer != NULL:
        datagram.newer.older = datagram.older
    else:
        table.newest = datagram.older
    table.count -= 1
    flow_remove(&table.datagrams, &datagram.key)
    if datagram.packet != NULL:
        packet_free(&ip.context.slab, datagram.packet)
    free(datagram)


cdef void deadline_renew(IpLayer* ip) noexcept nogil:
    """Wait for the first datagram to expire, or for nothing."""
    cdef const Reassembly* datagram = ip.fragments.oldest
    cdef int64_t first = DEADLINE_NEVER
    while datagram != NULL:         # at most 64, of two lifetimes
        first = min(first, datagram.expires)
        datagram = datagram.newer
    deadline_set(&ip.context.deadlines, &ip.fragments.deadline, first)


cdef FlowKey datagram_key(const Fragment* fragment) noexcept nogil:
    """RFC 791: source, destination, protocol, identification; RFC 8200: all but the protocol."""
    cdef FlowKey key
    memset(&key, 0, sizeof(FlowKey))
    key.local = fragment.destination
    key.remote = fragment.source
    key.local_port = <uint16_t>(fragment.id >> 16)
    key.remote_port = <uint16_t>fragment.id
    key.protocol = fragment.protocol
    return key


cdef Reassembly* reassembly_add(
    IpLayer* ip, const FlowKey* key, const Fragment* fragment
) noexcept nogil:
    """Begin a datagram, in place of the oldest if there are too many; NULL: out of memory."""
    cdef FragmentTable* table = &ip.fragments
    cdef Reassembly* datagram
    if table.count >= FRAGMENT_DATAGRAMS_MAX:
        count(ip.context, Counter.IP_DROP_FRAGMENT_TABLE_FULL)
        reassembly_forget(ip, table.oldest)
    datagram = <Reassembly*>malloc(sizeof(Reassembly))
    if datagram == NULL:
        return NULL
    memset(datagram, 0, sizeof(Reassembly) - sizeof(datagram.pieces))
    datagram.key = key[0]
    datagram.v6 = fragment.v6
    datagram.expires = ip.context.now + (LIFETIME6_NS if fragment.v6 else LIFETIME4_NS)
    datagram.packet = packet_new(&ip.context.slab, fragment.offset + fragment.length)
    if datagram.packet == NULL or flow_insert(&table.datagrams, &datagram.key) < 0:
        if datagram.packet != NULL:
            packet_free(&ip.context.slab, datagram.packet)
        free(datagram)
        return NULL
    datagram.older = table.newest
    if table.newest != NULL:
        table.newest.newer = datagram
    else:
        table.oldest = datagram
    table.newest = datagram
    table.count += 1
    deadline_renew(ip)
    return datagram


# One datagram


cdef Place piece_place(
    const Reassembly* datagram, const Fragment* fragment, uint32_t* index
) noexcept nogil:
    """Where in the sorted pieces a fragment belongs, or why it doesn't."""
    cdef uint32_t start = fragment.offset
    cdef uint32_t end = start + fragment.length
    cdef uint32_t i = datagram.count
    cdef const FragmentPiece* piece
    while i > 0 and datagram.pieces[i - 1].start >= start:
        i -= 1
    index[0] = i
    if i < datagram.count:
        piece = &datagram.pieces[i]
        if piece.start == start and piece.length == fragment.length:
            return PLACE_DUPLICATE
        if piece.start < end:
            return PLACE_OVERLAP
    if i > 0:
        piece = &datagram.pieces[i - 1]
        if <uint32_t>piece.start + piece.length > start:
            return PLACE_OVERLAP
    if datagram.count == FRAGMENT_PIECES_MAX:
        return PLACE_FULL
    return PLACE_NEW


cdef bint ends_agree(const Reassembly* datagram, const Fragment* fragment) noexcept nogil:
    """No fragment lies behind the last one."""
    cdef uint32_t end = fragment.offset + fragment.length
    cdef const FragmentPiece* piece
    if datagram.total:
        return end <= datagram.total and fragment.more == (end < datagram.total)
    if fragment.more or datagram.count == 0:
        return True
    piece = &datagram.pieces[datagram.count - 1]
    return <uint32_t>piece.start + piece.length <= end


cdef bint buffer_reserve(IpLayer* ip, Reassembly* datagram, uint32_t end) noexcept nogil:
    """Make room for `end` bytes of payload; False: out of memory."""
    cdef Packet* old = datagram.packet
    cdef Packet* larger
    if end <= old.capacity - PACKET_HEADROOM:
        return True
    larger = packet_new(&ip.context.slab, end)
    if larger == NULL:
        return False
    memcpy(packet_buffer(larger), packet_buffer(old), PACKET_HEADROOM + old.length)
    larger.length = old.length
    packet_free(&ip.context.slab, old)
    datagram.packet = larger
    return True


cdef void header_keep(
    Reassembly* datagram, const Packet* packet, const Fragment* fragment
) noexcept nogil:
    """Keep fragment 0's header before the payload: for the whole packet, and to be quoted."""
    cdef uint32_t length = fragment.header_length
    datagram.quotable = length <= PACKET_HEADROOM
    if not datagram.quotable:
        length = IPV6_HEADER_LENGTH         # an IPv4 header always fits
    memcpy(datagram.packet.data - length, packet.data, length)
    datagram.header_length = <uint16_t>length
    datagram.first_length = <uint16_t>fragment.length
    datagram.next_header = fragment.next_header


cdef void piece_store(
    Reassembly* datagram, const Packet* packet, const Fragment* fragment, uint32_t index
) noexcept nogil:
    """Copy a new fragment's payload to its place, for which there is room."""
    cdef FragmentPiece* piece = &datagram.pieces[index]
    cdef uint32_t end = fragment.offset + fragment.length
    memmove(piece + 1, piece, (datagram.count - index) * sizeof(FragmentPiece))
    piece.start = <uint16_t>fragment.offset
    piece.length = <uint16_t>fragment.length
    datagram.count += 1
    datagram.received += fragment.length
    datagram.ecn_seen |= 1 << (fragment.tos & 3)
    memcpy(
        datagram.packet.data + fragment.offset, packet.data + fragment.header_length,
        fragment.length
    )
    datagram.packet.length = max(datagram.packet.length, end)
    if not fragment.more:
        datagram.total = end
    if fragment.offset == 0:
        header_keep(datagram, packet, fragment)


cdef void poison(IpLayer* ip, Reassembly* datagram) noexcept nogil:
    """Give up a datagram, and what of it is yet to come (RFC 5722 section 4)."""
    packet_free(&ip.context.slab, datagram.packet)
    datagram.packet = NULL


cdef int fragment_store(
    IpLayer* ip, Reassembly* datagram, const Packet* packet, const Fragment* fragment
) noexcept nogil:
    """Put a fragment into its datagram; a Counter if that did not go well, or NO_FAULT."""
    cdef const uint8_t* payload = packet.data + fragment.header_length
    cdef uint32_t index = 0
    cdef Place place
    if datagram.packet == NULL:
        return Counter.IP_DROP_FRAGMENT_OVERLAP
    place = piece_place(datagram, fragment, &index)
    if place == PLACE_DUPLICATE:
        # A network may deliver twice (RFC 8200 section 4.5), but not two different things.
        if memcmp(datagram.packet.data + fragment.offset, payload, fragment.length) != 0:
            place = PLACE_OVERLAP
    if place == PLACE_OVERLAP:
        poison(ip, datagram)
        return Counter.IP_DROP_FRAGMENT_OVERLAP
    if place == PLACE_FULL or not ends_agree(datagram, fragment):
        poison(ip, datagram)
        return Counter.IP_DROP_FRAGMENT_BAD
    if place == PLACE_DUPLICATE:
        return NO_FAULT
    if not buffer_reserve(ip, datagram, fragment.offset + fragment.length):
        return Counter.OUT_OF_MEMORY
    piece_store(datagram, packet, fragment, index)
    return NO_FAULT


cdef bint ecn_merge(const Reassembly* datagram, uint8_t* tos) noexcept nogil:
    """CE if any fragment is (RFC 3168 section 5.3); False, as in Linux, if only some can be."""
    if datagram.ecn_seen & NOT_CAPABLE:
        return datagram.ecn_seen == NOT_CAPABLE
    if datagram.ecn_seen & (1 << ECN_CE):
        tos[0] |= ECN_CE
    return True


cdef bint header_finish(const Reassembly* datagram, Packet* packet) noexcept nogil:
    """Write the whole packet's header before its payload; False if it is to be dropped."""
    cdef const uint8_t* first = packet.data - datagram.header_length
    cdef Ipv4Header v4
    cdef Ipv6Header v6
    if datagram.v6:
        ipv6_read(first, &v6)
        v6.payload_length = <uint16_t>datagram.total
        v6.next_header = datagram.next_header
        packet.data -= IPV6_HEADER_LENGTH
        packet.length += IPV6_HEADER_LENGTH
        if not ecn_merge(datagram, &v6.tos):
            return False
        ipv6_build(packet.data, &v6)
        return True
    ipv4_read(first, &v4)
    v4.total_length = <uint16_t>(IPV4_HEADER_LENGTH + datagram.total)
    v4.fragment = 0
    packet.data -= IPV4_HEADER_LENGTH
    packet.length += IPV4_HEADER_LENGTH
    if not ecn_merge(datagram, &v4.tos):
        return False
    ipv4_build(packet.data, &v4)
    return True


cdef Packet* reassembly_finish(IpLayer* ip, Reassembly* datagram) noexcept nogil:
    """Take the whole packet out of the table."""
    cdef Packet* packet = datagram.packet
    cdef bint good = header_finish(datagram, packet)
    datagram.packet = NULL
    reassembly_forget(ip, datagram)
    deadline_renew(ip)
    if not good:
        packet_drop(ip.context, packet, Counter.IP_DROP_FRAGMENT_BAD)
        return NULL
    count(ip.context, Counter.IP_REASSEMBLED)
    return packet


cdef Packet* fragments_input(IpLayer* ip, Packet* packet, const Fragment* fragment) noexcept nogil:
    """Take a fragment; return the packet that it completes, or NULL."""
    cdef FlowKey key = datagram_key(fragment)
    cdef Reassembly* datagram
    cdef int fault = fragment_fault(fragment)
    count(ip.context, Counter.IP_FRAGMENTS_IN)
    if packet.gso != GSO_NONE:
        fault = Counter.IP_DROP_FRAGMENT_BAD
    if fault != NO_FAULT:
        packet_drop(ip.context, packet, <Counter>fault)
        return NULL
    datagram = <Reassembly*>flow_find(&ip.fragments.datagrams, &key)
    if datagram == NULL:
        datagram = reassembly_add(ip, &key, fragment)
        if datagram == NULL:
            packet_drop(ip.context, packet, Counter.OUT_OF_MEMORY)
            return NULL
    fault = fragment_store(ip, datagram, packet, fragment)
    if fault != NO_FAULT:
        packet_drop(ip.context, packet, <Counter>fault)
        return NULL
    packet_free(&ip.context.slab, packet)
    if datagram.total == 0 or datagram.received != datagram.total:
        return NULL
    return reassembly_finish(ip, datagram)


# Time


cdef void reassembly_time_out(IpLayer* ip, Reassembly* datagram) noexcept nogil:
    """Drop a datagram that waited too long; tell its sender if fragment 0 has come (RFC 792)."""
    cdef uint32_t header_length = datagram.header_length
    if datagram.packet != NULL:
        count(ip.context, Counter.IP_DROP_FRAGMENT_TIMEOUT)
        if header_length and datagram.quotable:
            icmp_reassembly_timeout(
                ip, datagram.packet.data - header_length, header_length + datagram.first_length
            )
    reassembly_forget(ip, datagram)


cdef void ip_fragments_expire(IpLayer* ip) noexcept nogil:
    """Time out what is due, and wait for the next."""
    cdef Reassembly* datagram = ip.fragments.oldest
    cdef Reassembly* newer
    while datagram != NULL:
        newer = datagram.newer
        if datagram.expires <= ip.context.now:
            reassembly_time_out(ip, datagram)
        datagram = newer
    deadline_renew(ip)


cdef int fragments_init(IpLayer* ip) noexcept nogil:
    """An empty table, keyed with the stack's secret, and its deadline; -1: out of memory."""
    cdef FragmentTable* table = &ip.fragments
    memset(table, 0, sizeof(FragmentTable))
    flow_table_init(&table.datagrams, ip.context.secret)
    return deadline_register(&ip.context.deadlines, &table.deadline, ip, DEADLINE_FRAGMENTS)


cdef void fragments_release(IpLayer* ip) noexcept nogil:
    """Free all datagrams, and let go of the deadline; the second time there is nothing to do."""
    while ip.fragments.oldest != NULL:
        reassembly_forget(ip, ip.fragments.oldest)
    flow_table_release(&ip.fragments.datagrams)
    if ip.fragments.deadline.owner != NULL:
        deadline_unregister(&ip.context.deadlines, &ip.fragments.deadline)
        ip.fragments.deadline.owner = NULL
