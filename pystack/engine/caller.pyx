# The caller driver: a stack turned by its user's own loop, perhaps in the user's own time.
# Called by: pystack.stack.
# RFCs: none.

from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport ENOMEM
from libc.stdint cimport int64_t, uint32_t
from libc.string cimport memcpy
from pystack.core.memory.packet cimport (
    PACKET_MAX,
    Packet,
    packet_free,
    packet_new,
    packet_pop,
)
from pystack.core.stack cimport core_advance, core_deadline, core_enter
from pystack.engine.batch cimport (
    Batch,
    batch_end,
    batch_input,
    batch_read,
    batch_refill,
    batch_room,
)
from pystack.engine.clock cimport NEVER
from pystack.engine.engine cimport Engine
from pystack.engine.errors cimport BACKWARDS, check


ctypedef struct Told:
    bint given                  # False: the clock's time, or what was told last
    int64_t now


cdef Told told_from(object now) except *:
    cdef Told told
    told.given = now is not None
    told.now = now if now is not None else 0
    return told


cdef int enter_at(Engine engine, const Told* told) noexcept nogil:
    """Begin a call of the core, perhaps at a time that the caller tells: 0 or a negative code.

    Once told, time is the caller's alone. If it begins before what the clock has said so far, the
    core's time goes on from there.
    """
    cdef int64_t now
    cdef int code = engine.lock()
    if code < 0:
        return code
    if engine.failure:
        code = -engine.failure
        engine.unlock()
        return code
    if told.given:
        if not engine.told:
            engine.told_offset = max(engine.core.context.now - told.now, <int64_t>0)
        now = told.now + engine.told_offset
        if now < engine.core.context.now:
            engine.unlock()
            return BACKWARDS
        engine.told = True
        engine.told_now = now
    core_enter(engine.core, engine.now())
    return 0


cdef int receive_packet(
    Engine engine, const Told* told, const void* data, uint32_t length
) noexcept nogil:
    cdef Packet* packet
    cdef int code = enter_at(engine, told)
    if code < 0:
        return code
    packet = packet_new(&engine.core.context.slab, length)
    if packet != NULL:
        memcpy(packet.data, data, length)
        packet.length = length
        engine.input(packet, engine.core.context.now)
    engine.leave(NULL)
    return 0 if packet != NULL else -ENOMEM


def receive(Engine engine, packet, now):
    """Take in one packet: any buffer that begins with its IP header."""
    cdef Told told = told_from(now)
    cdef Py_buffer view
    cdef int code
    PyObject_GetBuffer(packet, &view, PyBUF_SIMPLE)
    try:
        if not 0 < view.len <= PACKET_MAX:
            raise ValueError(f"a packet has 1 to {PACKET_MAX} bytes, not {view.len}")
        with nogil:
            code = receive_packet(engine, &told, view.buf, <uint32_t>view.len)
        engine.give_back()
        check(code)
    finally:
        PyBuffer_Release(&view)


cdef int turn(Engine engine, const Told* told, Batch* batch, int filled) noexcept nogil:
    """Give the core what was read, fire what is due, be ready to read more; 0 or a negative code.

    filled: packets that were read, or why the device is gone.
    """
    cdef int code = enter_at(engine, told)
    if code < 0:
        return code
    if filled < 0:
        engine.fail(-filled)
        code = -engine.failure
        engine.unlock()
        return code
    batch_input(batch, engine, filled, engine.core.context.now)
    core_advance(engine.core, engine.core.context.now)
    if engine.device is not None:
        batch_refill(batch, engine)
    engine.leave(NULL)
    return 0


def poll(Engine engine, now):
    """Fire what is due, and take in what the device has, if there is one."""
    cdef Told told = told_from(now)
    cdef Batch batch
    cdef int filled = 0, wanted, code
    batch.ready = batch.share = 0
    with engine.closing, nogil:     # the device must not go while it is read
        code = turn(engine, &told, &batch, 0)
        wanted = batch_room(&batch)
        while code == 0 and wanted > 0:
            filled = batch_read(&batch, engine, wanted)
            code = turn(engine, &told, &batch, filled)
            wanted = batch_room(&batch) if filled == wanted else 0
        batch_end(&batch, engine)
    engine.log_gone()
    engine.give_back()
    check(code)


def deadline(Engine engine):
    """When poll wants to be called at the latest, in ns of the caller's time or the clock's."""
    cdef int64_t when = NEVER
    cdef int code
    with nogil:
        code = engine.enter()
        if code == 0:
            engine.flush()
            when = core_deadline(engine.core)
            engine.unlock()
    check(code)
    return None if when == NEVER else when - engine.told_offset


def transmit(Engine engine):
    """The packets that the stack wants to send, each as bytes; for a stack without a device."""
    cdef Packet* packet
    cdef int code
    packets = []
    with nogil:
        code = engine.enter()
    check(code)
    try:
        with nogil:
            engine.flush()
        while engine.outbound.first != NULL:
            packet = engine.outbound.first
            packets.append(PyBytes_FromStringAndSize(<char*>packet.data, packet.length))
            engine.outbound_bytes -= packet.capacity
            packet_free(&engine.core.context.slab, packet_pop(&engine.outbound))
    finally:
        with nogil:
            engine.unlock()
    return packets
