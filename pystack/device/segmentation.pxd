# Segmentation at the device's edge: trains into packets, partial checksums into whole ones.
# Called by: devices and links that take single, finished packets only.
# RFCs: 791 and 8200 (IP lengths), 9293 section 3.1, 768; 6864 section 4 (identification).

from pystack.core.memory.packet cimport Packet, PacketQueue, PacketSlab

# Push a packet that starts at its IP header, or the pieces of the train that it is, in order and
# with whole checksums. Returns how many were pushed; -1, and the packet freed, if its metadata is
# wrong or when out of memory (pieces already pushed stay: to the peer the others are lost).
cdef int packet_segment(PacketSlab* slab, Packet* packet, PacketQueue* out) noexcept nogil
# The same, but TCP's checksums stay CSUM_PARTIAL: for a wire in memory, where only who looks needs
# more than the sender's word.
cdef int packet_cut(PacketSlab* slab, Packet* packet, PacketQueue* out) noexcept nogil
# Turn CSUM_PARTIAL into a whole checksum; borrowed bytes stay borrowed. Returns the same packet;
# NULL, and the packet freed, if the checksum field is not within packet.data.
cdef Packet* packet_complete_checksum(PacketSlab* slab, Packet* packet) noexcept nogil
