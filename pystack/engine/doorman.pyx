# DoormanHandle: flows that nobody waits for, as Python decides about them.
# Called by: pystack.doorman.
# RFCs: none.

from libc.errno cimport ECONNABORTED
from libc.stdint cimport int64_t, uint32_t, uint64_t
from pystack.core.endpoint cimport READY_READ
from pystack.core.ip.doorman cimport (
    doorman_find,
    doorman_forget,
    doorman_open,
    doorman_see,
)
from pystack.core.ip.layer cimport PROTOCOL_TCP, AskedFlow, Doorman
from pystack.core.memory.flow cimport FlowKey
from pystack.core.tcp.layer cimport Tcb
from pystack.core.tcp.listen cimport listen_admit, listen_turn_away
from pystack.core.udp.input cimport udp_admit, udp_turn_away
from pystack.core.udp.layer cimport Datagram
from pystack.engine.datagram cimport DatagramHandle
from pystack.engine.endpoint cimport Handle, addr_bytes, until_from
from pystack.engine.engine cimport Engine
from pystack.engine.errors cimport check
from pystack.engine.tcp cimport TcpHandle


cdef class DoormanHandle(Handle):
    """Who is asked about flows that no socket and no service of a stack waits for."""

    def __init__(self, Engine engine, bint tcp, bint udp, uint32_t limit):
        """limit: flows that wait for a decision; the oldest is dropped for a new one."""
        cdef Doorman* doorman
        cdef int code
        with nogil:
            code = engine.enter()
            if code == 0:
                doorman = doorman_open(&engine.core.ip, tcp, udp, limit, &code)
                if doorman != NULL:
                    code = 0
                    engine.add_owner(&self.owner, &doorman.endpoint)
                engine.leave(&self.owner)
        check(code)

    cdef int see(self, Asked asked, int64_t until) noexcept nogil:
        """The next flow that nobody has looked at; 0 or a negative code."""
        cdef AskedFlow* flow
        cdef int code = self.enter()
        if code < 0:
            return code
        while True:
            flow = doorman_see(&self.engine.core.ip)
            if flow != NULL:
                asked.key = flow.key
                asked.number = flow.number
                break
            code = self.wait(READY_READ, until)
            if code < 0:
                return code
        self.leave()
        return 0

    def take(self, timeout):
        """The next flow to decide about."""
        cdef Asked asked = Asked.__new__(Asked)
        cdef int64_t until = until_from(self.engine, timeout)
        cdef int code
        asked.doorman = self
        with nogil:
            code = self.see(asked, until)
        check(code)
        return asked


cdef class Asked:
    """One flow. Until somebody decides, what it sends is kept or dropped."""
    cdef DoormanHandle doorman
    cdef FlowKey key
    cdef uint64_t number

    @property
    def protocol(self):
        return self.key.protocol

    @property
    def source(self):
        """(address, port)"""
        return addr_bytes(&self.key.remote), self.key.remote_port

    @property
    def destination(self):
        """(address, port)"""
        return addr_bytes(&self.key.local), self.key.local_port

    cdef AskedFlow* begin(self, int* code) noexcept nogil:
        """Begin a call: the flow, or NULL and a negative code, out of the call."""
        cdef AskedFlow* flow
        code[0] = self.doorman.enter()
        if code[0] < 0:
            return NULL
        flow = doorman_find(&self.doorman.engine.core.ip, &self.key, self.number)
        if flow == NULL:
            self.doorman.leave()
            code[0] = -ECONNABORTED
        return flow

    cdef void end(self, AskedFlow* flow) noexcept nogil:
        doorman_forget(&self.doorman.engine.core.ip, flow)
        self.doorman.leave()

    def accept(self):
        """A TcpHandle whose handshake goes on, or a connected DatagramHandle."""
        cdef Engine engine = self.doorman.engine
        cdef TcpHandle stream
        cdef DatagramHandle socket
        cdef AskedFlow* flow
        cdef Tcb* tcb = NULL
        cdef Datagram* datagram = NULL
        cdef int code = 0
        if self.key.protocol == PROTOCOL_TCP:
            stream = TcpHandle.__new__(TcpHandle, engine)
            with nogil:
                flow = self.begin(&code)
                if flow != NULL:
                    tcb = listen_admit(&engine.core.tcp, &flow.views[0])
                    if tcb != NULL:
                        engine.add_owner(&stream.owner, &tcb.endpoint)
                    else:
                        code = -ECONNABORTED
                    self.end(flow)
            check(code)
            return stream
        socket = DatagramHandle.__new__(DatagramHandle, engine)
        with nogil:
            flow = self.begin(&code)
            if flow != NULL:
                datagram = udp_admit(&engine.core.udp, flow)
                if datagram != NULL:
                    engine.add_owner(&socket.owner, &datagram.endpoint)
                else:
                    code = -ECONNABORTED
                self.end(flow)
        check(code)
        return socket

    def refuse(self):
        """As if nobody were there: a RST, or port unreachable."""
        cdef Engine engine = self.doorman.engine
        cdef AskedFlow* flow
        cdef int code
        with nogil:
            flow = self.begin(&code)
            if flow != NULL:
                if self.key.protocol == PROTOCOL_TCP:
                    listen_turn_away(&engine.core.tcp, &flow.views[0])
                else:
                    udp_turn_away(&engine.core.udp, flow)
                self.end(flow)
        check(code)

    def drop(self):
        """Say nothing."""
        cdef AskedFlow* flow
        cdef int code
        with nogil:
            flow = self.begin(&code)
            if flow != NULL:
                self.end(flow)
        check(code)
