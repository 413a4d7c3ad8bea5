"""Whatever is bound, connected and closed: a datagram goes to whom a slow and simple model says."""

from __future__ import annotations

import errno

from effort import some
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from native import udp
from scenario.udp_wire import IPV4, IPV6, udp_packet

ANY = ("0.0.0.0", "::")
LOCALS = (IPV4.ours, IPV4.second, IPV6.ours, *ANY)
REMOTES = (IPV4.peer, IPV4.stranger, IPV6.peer)
PORTS = (53, 54)


def is_v4(address):
    return "." in address


class Model:
    """One socket: what the calls have made of it."""

    def __init__(self, native, v6, v6only, reuse):
        self.native, self.v6, self.v6only, self.reuse = native, v6, v6only, reuse
        self.local = self.bound_to = ANY[v6]
        self.port = 0
        self.remote = None
        self.since = 0  # when it took its present addresses

    def covers(self, address):
        """Bound to every address, this one included."""
        if self.local == "0.0.0.0":
            return is_v4(address)
        return self.local == "::" and not (self.v6only and is_v4(address))

    def rank(self, source, port, destination, destination_port):
        """How well a datagram suits it: Linux's score; None if it doesn't."""
        if self.port != destination_port:
            return None
        if self.remote is not None:
            suits = (self.remote, self.local) == ((source, port), destination)
            return (3, self.since) if suits else None
        if self.local == destination:
            return (2, self.since)
        if self.covers(destination):
            return (1 if self.local == ANY[not is_v4(destination)] else 0, self.since)
        return None

    def collides(self, other, address):
        """Whether another socket forbids this one an address, with a port that both want."""
        wanted = Model(None, self.v6, self.v6only, self.reuse)
        wanted.local = address
        overlaps = address == other.local or wanted.covers(other.local) or other.covers(address)
        return overlaps and not (self.reuse and other.reuse)


class Lookup(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.host = udp.Host("10.3.0.0/24", "fd03::/64")
        self.sockets = []
        self.time = 0

    def teardown(self):
        assert self.host.close() == 0

    def moved(self, socket):
        self.time += 1
        socket.since = self.time

    @rule(v6=st.booleans(), v6only=st.booleans(), reuse=st.booleans())
    def open(self, v6, v6only, reuse):
        native = self.host.socket(v6=v6).set(v6only=v6only, reuse_address=reuse)
        self.sockets.append(Model(native, v6, v6 and v6only, reuse))

    @precondition(lambda self: self.sockets)
    @rule(data=st.data(), address=st.sampled_from(LOCALS), port=st.sampled_from(PORTS))
    def bind(self, data, address, port):
        socket = data.draw(st.sampled_from(self.sockets))
        if socket.port or (is_v4(address) and socket.v6only):
            expected = errno.EINVAL
        elif not is_v4(address) and not socket.v6:
            expected = errno.EAFNOSUPPORT
        elif any(socket.collides(other, address) for other in self.sockets if other.port == port):
            expected = errno.EADDRINUSE
        else:
            expected = 0
        assert self.result(socket.native.bind, address, port) == expected
        if expected == 0:
            socket.local = socket.bound_to = address
            socket.port = port
            self.moved(socket)

    @precondition(lambda self: any(socket.port for socket in self.sockets))
    @rule(data=st.data(), address=st.sampled_from(REMOTES))
    def connect(self, data, address):
        socket = data.draw(st.sampled_from([s for s in self.sockets if s.port]))
        result = self.result(socket.native.connect, address, 9)
        ours = is_v4(address) or socket.v6
        meets = ours and not (is_v4(address) and socket.v6only)
        fixed = socket.bound_to
        if fixed != "::" or not socket.v6:
            meets = meets and is_v4(fixed) == is_v4(address)
        assert (result == 0) == meets
        if meets:
            socket.local = socket.native.name[0]
            socket.remote = (address, 9)
            self.moved(socket)

    @precondition(lambda self: any(socket.remote for socket in self.sockets))
    @rule(data=st.data())
    def disconnect(self, data):
        socket = data.draw(st.sampled_from([s for s in self.sockets if s.remote]))
        socket.native.disconnect()
        socket.local = socket.bound_to
        socket.remote = None
        self.moved(socket)

    @precondition(lambda self: self.sockets)
    @rule(data=st.data())
    def close(self, data):
        socket = data.draw(st.sampled_from(self.sockets))
        self.sockets.remove(socket)
        socket.native.close()

    @rule(
        source=st.sampled_from(REMOTES),
        port=st.sampled_from((9, 10)),
        destination=st.sampled_from((IPV4.ours, IPV4.second, IPV6.ours)),
        destination_port=st.sampled_from(PORTS),
    )
    def arrival(self, source, port, destination, destination_port):
        if is_v4(source) != is_v4(destination):
            return
        flow = (source, port, destination, destination_port)
        ranks = [(socket.rank(*flow), socket) for socket in self.sockets]
        ranks = [(rank, socket) for rank, socket in ranks if rank is not None]
        expected = max(ranks, key=lambda pair: pair[0])[1] if ranks else None
        self.host.receive(udp_packet(*flow, b"?"))
        self.host.transmit()
        receivers = [socket for socket in self.sockets if socket.native.recv() is not None]
        assert receivers == ([expected] if expected else [])

    @staticmethod
    def result(call, *arguments):
        try:
            call(*arguments)
        except OSError as error:
            return error.errno
        return 0

    @invariant()
    def names_agree(self):
        for socket in self.sockets:
            assert socket.native.name == (socket.local, socket.port)


TestLookup = Lookup.TestCase
TestLookup.settings = settings(max_examples=some(30), stateful_step_count=40, deadline=None)
