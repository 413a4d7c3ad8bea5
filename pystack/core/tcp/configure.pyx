# Configurations of single sockets, where they differ from the stack's.
# Called by: tcb, listen, settings; stack's callers (engine).
# RFCs: none; each field of TcpConfig names its own.

from libc.errno cimport EISCONN, ENOMEM
from libc.stdlib cimport free, malloc
from pystack.core.tcp.config cimport OwnConfig, TcpConfig, TcpSettings
from pystack.core.tcp.layer cimport STATE_CLOSED, Tcb, TcpLayer
from pystack.core.tcp.shared_settings cimport settings_edit, settings_of, settings_settle
from pystack.core.tcp.tcb cimport settings_default, tcb_take_config


cdef inline OwnConfig* own_of(const TcpLayer* tcp, const Tcb* tcb) noexcept nogil:
    """NULL: the TCB has the stack's."""
    return NULL if tcb.config == &tcp.config else <OwnConfig*>tcb.config


cdef void config_release(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    cdef OwnConfig* own = own_of(tcp, tcb)
    tcb.config = &tcp.config
    if own == NULL:
        return
    own.references -= 1
    if own.references == 0:
        free(own)


cdef void config_share(TcpLayer* tcp, Tcb* child, const Tcb* parent) noexcept nogil:
    cdef OwnConfig* own = own_of(tcp, parent)
    config_release(tcp, child)
    if own != NULL:
        own.references += 1
        child.config = &own.config
    tcb_take_config(child)


cdef TcpConfig* config_own(TcpLayer* tcp, Tcb* tcb) noexcept nogil:
    cdef OwnConfig* own = own_of(tcp, tcb)
    if own != NULL and own.references == 1:
        return &own.config
    own = <OwnConfig*>malloc(sizeof(OwnConfig))
    if own == NULL:
        return NULL
    own.config = tcb.config[0]
    own.references = 1
    config_release(tcp, tcb)
    tcb.config = &own.config
    return &own.config


cdef void take_settings(Tcb* tcb) noexcept nogil:
    """Those that the configuration has a word on; all others stay as the application set them."""
    cdef TcpSettings said
    settings_default(&said, tcb.config)
    settings_of(tcb).receive_locked = settings_of(tcb).send_locked = False
    settings_of(tcb).notsent_lowat = said.notsent_lowat
    settings_of(tcb).keepalive_idle_s = said.keepalive_idle_s
    settings_of(tcb).keepalive_interval_s = said.keepalive_interval_s
    settings_of(tcb).keepalive_count = said.keepalive_count
    settings_of(tcb).congestion = said.congestion


cdef int tcp_configure(TcpLayer* tcp, Tcb* tcb, const TcpConfig* config) noexcept nogil:
    cdef TcpConfig* own
    if tcb.state != STATE_CLOSED or tcb.smss:
        return -EISCONN
    own = config_own(tcp, tcb)
    if own == NULL or settings_edit(tcp, tcb) == NULL:
        return -ENOMEM
    own[0] = config[0]
    take_settings(tcb)
    settings_settle(tcp, tcb)
    tcb_take_config(tcb)
    return 0
