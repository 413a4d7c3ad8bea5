"""Run by test_exhaustion in a process whose malloc fails on demand: its arguments are the library
that holds the malloc, and a structure.

Each function runs a structure through its life. `heap.fails_at(n)` makes the core's n-th
allocation from now on fail, once; `heap.live()` counts the core's blocks.
"""

from __future__ import annotations

import ctypes
import errno
import struct
import sys

from native.deadline import Node
from native.deadline import Queue as DeadlineQueue
from native.flow import Key, Table
from native.interval import Intervals
from native.ip import CSUM_PARTIAL, DONT, DROP, IpHost
from native.packet import Queue, Slab
from native.ring import ByteRing
from native.udp import Host


def ring(heap):
    ring = ByteRing()
    heap.fails_at(1)
    assert ring.reserve(1) == -1
    assert ring.capacity == 0
    assert ring.reserve(1) == 0
    ring.put(0, b"kept")
    heap.fails_at(1)
    assert ring.reserve(4096) == -1
    assert ring.get(0, 4) == b"kept"
    assert ring.capacity == 2048
    assert ring.reserve(4096) == 0
    assert heap.live() == 2  # what it has outgrown is kept for the next ring
    ring.release()
    assert heap.live() == 1
    heap.fails_at(1)
    assert ring.reserve(2048) == 0  # without malloc
    heap.fails_at(0)


def interval(heap):
    intervals = Intervals()
    heap.fails_at(1)
    assert intervals.add(0, 1, 100) == -1
    assert intervals.items == []
    for n in range(4):
        assert intervals.add(2 * n, 2 * n + 1, 100) == 0
    before = intervals.items
    heap.fails_at(1)
    assert intervals.add(100, 101, 100) == -1
    assert intervals.items == before
    assert intervals.add(100, 101, 100) == 0
    assert heap.live() == 1
    intervals.remove_below(101)


def flow(heap):
    table = Table(1, 2)
    keys = [Key(local_port=n) for n in range(400)]
    heap.fails_at(1)
    assert table.insert(keys[0]) == -1
    assert (table.count, table.slots) == (0, 0)
    for key in keys[:12]:
        assert table.insert(key) == 0
    heap.fails_at(1)
    assert table.insert(keys[12]) == -1
    assert [table.find(key) for key in keys[:13]] == [*keys[:12], None]
    for key in keys[12:]:
        assert table.insert(key) == 0
    for key in keys[60:]:  # the table would shrink, and cannot
        heap.fails_at(1)
        table.remove(key)
    assert table.slots == 1024
    assert [table.find(key) for key in keys] == keys[:60] + [None] * 340
    heap.fails_at(0)
    table.remove(keys[59])
    assert table.slots == 512
    assert heap.live() == 1
    table.release()


def deadline(heap):
    queue = DeadlineQueue()
    nodes = [Node() for _ in range(300)]
    heap.fails_at(1)
    assert queue.register(nodes[0]) == -1
    assert queue.capacity == 0
    for i, node in enumerate(nodes[:16]):
        assert queue.register(node) == 0
        queue.set(node, i)
    heap.fails_at(1)
    assert queue.register(nodes[16]) == -1
    assert [queue.of(node) for node in nodes[:16]] == list(range(16))
    for node in nodes[16:]:
        assert queue.register(node) == 0
    for node in nodes[16:]:  # the heap would shrink, and cannot
        heap.fails_at(1)
        queue.unregister(node)
    assert queue.capacity == 512
    heap.fails_at(0)
    assert [queue.pop(99) for _ in range(16)] == nodes[:16]
    assert heap.live() == 1
    queue.release()


def packet(heap):
    slab, queue = Slab(), Queue()
    for size in (100, 1000, 60_000, 100_000):
        heap.fails_at(1)
        assert slab.new(size) is None
    assert (slab.live, heap.live()) == (0, 0)
    moving = slab.new(10)
    moving.lend(0, bytes(1000))
    heap.fails_at(1)
    assert slab.linearize(moving) is None
    assert slab.live == 0
    for size in (100, 1000, 60_000, 100_000):
        queue.push(slab.new(size))
    slab.release()  # frees what moving left behind, not what the queue owns
    assert (slab.live, heap.live()) == (4, 4)
    queue.release(slab)
    assert (slab.live, heap.live()) == (0, 3)
    slab.release()


def out_of_memory(call, *arguments, **named):
    """Whether a call fails for want of memory."""
    try:
        call(*arguments, **named)
    except MemoryError:
        return True
    except OSError as error:
        if error.errno != errno.ENOMEM:
            raise
        return True
    return False


def udp(heap):
    host = Host("10.3.0.0/24")
    heap.fails_at(1)
    assert out_of_memory(host.socket)
    server, client = host.socket(), host.socket()
    for call, arguments, before in (
        (server.bind, ("10.3.0.1", 53), ("0.0.0.0", 0)),
        (client.connect, ("10.3.0.1", 53), ("0.0.0.0", 0)),
    ):
        socket = call.__self__
        for nth in range(1, 10):
            heap.fails_at(nth)
            if not out_of_memory(call, *arguments):
                break
            assert (socket.name, socket.peer) == (before, None)
        assert socket.name != before
    assert nth > 1
    heap.fails_at(1)
    assert out_of_memory(client.send, b"lost")
    heap.fails_at(0)
    client.send(b"kept")
    assert server.recv().data == b"kept"
    client.disconnect()
    client.close()
    host.close()


def ip(heap):
    def attempt(call, *arguments, **named):
        """Fail each allocation of a call in turn, until it makes no more; how many there were."""
        for nth in range(1, 200):
            heap.fails_at(nth)
            if not out_of_memory(call, *arguments, **named):
                heap.fails_at(0)
                return nth - 1
        raise AssertionError(f"{call} never ends")

    heap.fails_at(1)
    assert out_of_memory(IpHost)
    heap.fails_at(0)
    host = IpHost()
    assert attempt(host.add_network, "10.3.0.0/24") == 1
    assert host.is_local("10.3.0.9")
    assert attempt(host.exclude, "10.3.0.1") == 1
    assert attempt(host.policy, "10.3.0.7/32", DROP) == 3
    assert host.policy_find("10.3.0.7", 6, 80) == (DROP, 0)
    heap.fails_at(1)
    assert host.path_mtu_lower("10.3.0.5", "192.0.2.7", 1400) == 0
    heap.fails_at(2)
    assert host.path_mtu_lower("10.3.0.5", "192.0.2.7", 1400) == 0
    assert host.path_mtu_lower("10.3.0.5", "192.0.2.7", 1400) == 1

    def send(destination, size, **named):
        sent = host.send("10.3.0.5", destination, 17, bytes(size), discover=DONT, **named)
        if sent < 0:
            raise OSError(-sent, "")

    # The packet, and its fragments: all or none leave.
    for named in ({}, {"borrowed": bytes(3000)}, {"csum": CSUM_PARTIAL, "csum_offset": 6}):
        assert attempt(send, "192.0.2.7", 3000, **named) > 0
        assert sum(len(sent.data) - 20 for sent in host.transmit()) in (3000, 6000)
        host.slab_release()
    assert attempt(send, "10.3.0.6", 8, borrowed=bytes(4000)) == 2
    assert host.looped()
    assert host.counters["out_of_memory"] > 0
    ip_input(heap, host)
    assert host.close() == 0


def ip_input(heap, host):
    """Fragments, echo and errors: what there is no memory for is lost, and may come again."""

    def v4(protocol, data, more=0, offset=0):
        header = struct.pack(
            "!BBHHHBBH8B", 0x45, 0, 20 + len(data), 1, more << 13 | offset // 8, 64, protocol, 0,
            192, 0, 2, 7, 10, 3, 0, 5,
        )  # fmt: skip
        total = sum(struct.unpack("!10H", header))
        total = (total & 0xFFFF) + (total >> 16)
        return header[:10] + struct.pack("!H", ~total & 0xFFFF) + header[12:] + data

    pieces = [v4(17, bytes(1400), 1, 0), v4(17, bytes(1400), 1, 1400), v4(17, bytes(8), 0, 2800)]
    for nth in range(1, 20):
        host.slab_release()
        heap.fails_at(nth)
        for piece in pieces:
            out_of_memory(host.receive, piece)
        heap.fails_at(0)
        host.advance(31)
        host.transmit()
        assert (host.live, host.reassembling) == (0, 0)
    assert [host.receive(piece) for piece in pieces][-1].to == "udp"
    host.slab_release()
    heap.fails_at(2)
    assert host.receive(v4(99, b"unknown")) is None
    heap.fails_at(0)
    assert host.transmit() == []


def main(library: str, structure: str) -> None:
    heap = ctypes.CDLL(library)
    globals()[structure](heap)
    assert heap.live() == 0, f"{structure}: {heap.live()} blocks never freed"


if __name__ == "__main__":
    main(*sys.argv[1:])
