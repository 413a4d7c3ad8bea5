"""Claims about reading the control messages of the error queue."""

from __future__ import annotations

import struct

from hypothesis import example, given
from hypothesis import strategies as st

from pystack import extended_error
from pystack.errorqueue import ExtensionObject, MplsLabel, parse_extensions

STACK = struct.pack("!HBBII", 12, 1, 1, 16001 << 12 | 5 << 9 | 7, 3 << 12 | 1 << 8 | 64)
OTHER = struct.pack("!HBB", 8, 2, 9) + b"name"


def message(at=0, flags=0, offender=bytes(16)):
    """struct sock_extended_err as the kernel lays it out."""
    return struct.pack("=IBBBBIHBx", 113, 2, 11, 0, 0, 0, at, flags) + offender


def test_an_mpls_label_stack_is_read():
    """RFC 4950 section 3, RFC 3032 section 2.1."""
    data = b"quoted" + b"\x20\0\0\0" + STACK + OTHER
    error = extended_error([(0, 11, message(at=6))], data)
    assert error is not None
    assert error.mpls == (MplsLabel(16001, 5, False, 7), MplsLabel(3, 0, True, 64))
    assert error.objects[1] == ExtensionObject(2, 9, b"name")
    assert error.quoted == b"quoted"


def test_extensions_that_are_said_to_be_broken_are_not_read():
    """RFC 4884 section 7; SO_EE_RFC4884_FLAG_INVALID."""
    data = b"quoted" + b"\x20\0\0\0" + STACK
    error = extended_error([(0, 11, message(at=6, flags=1))], data)
    assert error is not None
    assert (error.objects, error.mpls) == ((), ())


def test_objects_before_a_fault_are_read():
    assert parse_extensions(b"\x20\0\0\0" + OTHER + b"\0\x02\1\1") == (
        ExtensionObject(2, 9, b"name"),
    )
    assert parse_extensions(b"\x10\0\0\0" + OTHER) == ()
    assert parse_extensions(b"\x20") == ()


def test_the_offender_is_an_address_of_either_family():
    ipv4 = struct.pack("=HH4s8x", 2, 0, bytes([192, 0, 2, 7]))
    error = extended_error([(0, 11, message(offender=ipv4))])
    assert error is not None
    assert error.offender == "192.0.2.7"
    assert error.origin == "icmp"


def test_other_control_messages_are_passed_over():
    assert extended_error([(0, 2, b"\x40\0\0\0"), (1, 11, message())]) is None


@given(st.binary(max_size=64), st.binary(max_size=64))
@example(bytes(16) + b"\x02", b"")
@example(bytes(16) + b"\x0a", b"")
def test_garbage_is_survived(control, data):
    extended_error([(0, 11, control), (41, 25, control)], data)
    parse_extensions(data)
