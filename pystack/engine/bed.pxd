# Bed: where a call sleeps on a lock, until somebody wakes it: when he gives back the stack's lock,
# which the call wants at once.
# Called by: seat (makes them, wakes), engine (releases).
# RFCs: none.

from libc.stdint cimport uint64_t
from pystack.engine.pythread cimport PyThread_release_lock, PyThread_type_lock

# Lives on the sleeping call's stack.
ctypedef struct Bed:
    PyThread_type_lock lock
    Roused* roused
    Bed* next

# Those that are to be released, with the stack's lock.
ctypedef struct Roused:
    Bed* first
    Bed* last
    uint64_t count              # so far


cdef inline void bed_rouse(Bed* bed) noexcept nogil:
    cdef Roused* roused = bed.roused
    bed.next = NULL
    if roused.last != NULL:
        roused.last.next = bed
    else:
        roused.first = bed
    roused.last = bed
    roused.count += 1


cdef inline Bed* roused_take(Roused* roused) noexcept nogil:
    cdef Bed* first = roused.first
    roused.first = roused.last = NULL
    return first


cdef inline void beds_release(Bed* bed) noexcept nogil:
    """Without the stack's lock. A bed is gone once it is released."""
    cdef Bed* next
    while bed != NULL:
        next = bed.next
        PyThread_release_lock(bed.lock)
        bed = next
