# Settings as values: counted, found again by what they say, copied before they are written.
# Called by: tcb, listen, settings and its neighbours (window, user_timeout, configure,
#   congestion/interface); stack and engine.
# RFCs: none.

from libc.stdlib cimport free, malloc
from libc.string cimport memcmp, memcpy
from pystack.core.context cimport count
from pystack.core.counters cimport Counter
from pystack.core.tcp.config cimport SharedSettings, TcpSettings
from pystack.core.tcp.layer cimport Tcb, TcpLayer

cdef enum:
    # How many are compared: those that were made last. Applications have few kinds of sockets.
    MOST_COMPARED = 16


cdef SharedSettings* settings_new(TcpLayer* tcp, const TcpSettings* settings) noexcept nogil:
    cdef SharedSettings* made = <SharedSettings*>malloc(sizeof(SharedSettings))
    if made == NULL:
        count(tcp.context, Counter.OUT_OF_MEMORY)
        return NULL
    # With its padding, which is zero: they are compared as bytes.
    memcpy(&made.settings, settings, sizeof(TcpSettings))
    made.references = 1
    made.previous = NULL
    made.next = tcp.shared_settings
    if made.next != NULL:
        made.next.previous = made
    tcp.shared_settings = made
    return made


cdef SharedSettings* settings_find(TcpLayer* tcp, const SharedSettings* like) noexcept nogil:
    """Another one that says the same."""
    cdef SharedSettings* at = tcp.shared_settings
    cdef int compared = 0
    while at != NULL and compared < MOST_COMPARED:
        if at != like and memcmp(&at.settings, &like.settings, sizeof(TcpSettings)) == 0:
            return at
        compared += 1
        at = at.next
    return NULL


cdef void settings_release(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    cdef SharedSettings* shared = <SharedSettings*>tcb.settings
    tcb.settings = NULL
    if shared == NULL:
        return
    shared.references -= 1
    if shared.references:
        return
    if shared.previous != NULL:
        shared.previous.next = shared.next
    else:
        tcp.shared_settings = shared.next
    if shared.next != NULL:
        shared.next.previous = shared.previous
    free(shared)


cdef int settings_start(TcpLayer* tcp, Tcb* tcb, const TcpSettings* settings) noexcept nogil:
    cdef SharedSettings* made = settings_new(tcp, settings)
    if made == NULL:
        return -1
    tcb.settings = &made.settings
    settings_settle(tcp, tcb)
    return 0


cdef TcpSettings* settings_edit(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    cdef SharedSettings* shared = <SharedSettings*>tcb.settings
    if shared.references == 1:
        return &shared.settings
    shared = settings_new(tcp, tcb.settings)
    if shared == NULL:
        return NULL
    settings_release(tcp, tcb)
    tcb.settings = &shared.settings
    return &shared.settings


cdef void settings_settle(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    cdef SharedSettings* shared = <SharedSettings*>tcb.settings
    cdef SharedSettings* found
    if shared.references != 1:
        return
    found = settings_find(tcp, shared)
    if found == NULL:
        return
    found.references += 1
    settings_release(tcp, tcb)
    tcb.settings = &found.settings


cdef void settings_share(TcpLayer* tcp, Tcb* child, const Tcb* parent) noexcept nogil:
    cdef SharedSettings* shared = <SharedSettings*>parent.settings
    shared.references += 1
    settings_release(tcp, child)
    child.settings = &shared.settings
