# Packets in reassembly: the structs; what is done with them is in fragments.
# Called by: layer, which embeds it.
# RFCs: 815, 5722.

from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from pystack.core.memory.deadline cimport DeadlineNode
from pystack.core.memory.flow cimport FlowKey, FlowTable
from pystack.core.memory.packet cimport Packet

cdef enum:
    FRAGMENT_DATAGRAMS_MAX = 64     # in reassembly at a time: with 64 KiB each, 4 MiB
    FRAGMENT_PIECES_MAX = 256       # of one datagram: 64 KiB through an MTU of 296

# Bytes of the payload that have come: [start, start + length).
ctypedef struct FragmentPiece:
    uint16_t start
    uint16_t length

# Written by fragments only.
ctypedef struct Reassembly:
    FlowKey key
    Reassembly* older
    Reassembly* newer
    int64_t expires
    # data: the payload, with holes; before it the header. NULL: given up, poisoned (RFC 5722).
    Packet* packet
    uint32_t received           # bytes, no byte twice
    uint32_t total              # bytes of the payload; 0 until the last fragment has come
    uint16_t header_length      # of fragment 0's header, before the payload; 0 until it has come
    uint16_t first_length       # payload bytes of fragment 0
    uint16_t count
    uint8_t next_header         # as fragment 0 says
    uint8_t ecn_seen            # one bit for each ECN codepoint
    bint v6
    bint quotable               # all of fragment 0's header lies there
    FragmentPiece pieces[FRAGMENT_PIECES_MAX]   # sorted, disjoint

ctypedef struct FragmentTable:
    FlowTable datagrams
    Reassembly* oldest
    Reassembly* newest
    DeadlineNode deadline
    uint32_t count
