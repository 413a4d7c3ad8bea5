# Network: what addresses a stack has, and what happens to packets for them.
# Called by: pystack.stack. Addresses are 16 bytes, IPv4 as ::ffff:a.b.c.d.
# RFCs: none.

from libc.stdint cimport uint8_t, uint16_t
from pystack.core.ip.layer cimport PolicyAction
from pystack.core.ip.networks cimport ip_add_network, ip_exclude_address, ip_is_local
from pystack.core.ip.policy cimport policy_set
from pystack.core.stack cimport core_serve
from pystack.core.wire.address cimport Addr, addr_is_v4
from pystack.engine.engine cimport Engine, addr_from
from pystack.engine.errors cimport check


def add(Engine engine, bytes prefix, int length):
    """Add a network whose addresses all answer; length: 0 to 128."""
    cdef Addr addr = addr_from(prefix)
    cdef int code
    with nogil:
        code = engine.enter()
        if code == 0:
            code = ip_add_network(&engine.core.ip, &addr, length)
            engine.leave(NULL)
    check(code)


def exclude(Engine engine, bytes address):
    """Say that an address of a network is somebody else's."""
    cdef Addr addr = addr_from(address)
    cdef int code
    with nogil:
        code = engine.enter()
        if code == 0:
            code = ip_exclude_address(&engine.core.ip, &addr)
            engine.leave(NULL)
    check(code)


def set_source(Engine engine, bytes address):
    """Let sockets that connect or send without being bound do so from here; False: not ours."""
    cdef Addr addr = addr_from(address)
    cdef bint known = False
    cdef int code
    with nogil:
        code = engine.enter()
        if code == 0:
            known = ip_is_local(&engine.core.ip, &addr)
            if known:
                engine.source[0 if addr_is_v4(&addr) else 1] = addr
            engine.leave(NULL)
    check(code)
    return known


def set_policy(Engine engine, bytes prefix, int length, int action, uint8_t protocol,
               uint16_t first_port, uint16_t last_port):
    """See pystack.core.ip.policy; protocol 0: all."""
    cdef Addr addr = addr_from(prefix)
    cdef int code
    with nogil:
        code = engine.enter()
        if code == 0:
            code = policy_set(&engine.core.ip, &addr, length, protocol, first_port, last_port,
                              <PolicyAction>action, 0)
            engine.leave(NULL)
    check(code)


def serve(Engine engine, int service, int protocol, int port):
    """Let the core itself answer a port at every address."""
    cdef int code
    with nogil:
        code = engine.enter()
        if code == 0:
            code = core_serve(engine.core, service, protocol, port)
            engine.leave(NULL)
    check(code)
