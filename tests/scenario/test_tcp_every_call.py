"""Every user call meets every state: what RFC 9293 sections 3.10.1 to 3.10.6 say must come of it.

The calls are those of sockets. Where the RFC queues a SEND or a RECEIVE, the caller is told to wait
(EAGAIN); `connect`, `listen` and `shutdown` have the errors of Linux. ABORT is in test_tcp_close.
"""

from __future__ import annotations

import errno

import pytest
from native.core import CallError
from scenario.peer import SECOND
from scenario.tcp_states import SHUT_WR, STATES, in_state, simultaneous

# Answers: what the call returns (`ok`, an errno, text) or, for CLOSE by close(), `-`; what is sent
# after a slash; and >STATE, the state afterwards if it is another one.
TABLE = {
    # section 3.10.1. An active OPEN of a listener is no call of sockets: it would have to stop
    # listening.
    "OPEN, active": """
        ok/S>SYN-SENT EISCONN EALREADY EALREADY EISCONN EISCONN EISCONN EISCONN EISCONN EISCONN
        EISCONN""",
    "OPEN, passive": """
        ok>LISTEN ok EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL""",
    # section 3.10.2
    "SEND": """
        ENOTCONN ENOTCONN EAGAIN EAGAIN ok/A EPIPE EPIPE ok/A EPIPE EPIPE EPIPE""",
    # section 3.10.3, with nothing received
    "RECEIVE": """
        ENOTCONN ENOTCONN EAGAIN EAGAIN EAGAIN EAGAIN EAGAIN end end end end""",
    # section 3.10.4: "I have no more data to send". A second one is no error, and sends nothing.
    "CLOSE": """
        ENOTCONN ok ok>CLOSED ok ok/FA>FIN-WAIT-1 ok ok ok/FA>LAST-ACK ok ok ENOTCONN""",
    # The same by who wants to receive nothing any more either; a listener's connections have ended.
    "CLOSE for both": """
        - ->CLOSED ->CLOSED - -/FA>FIN-WAIT-1 - - -/FA>LAST-ACK - - -""",
}
CALLS = {
    "OPEN, active": lambda peer, socket: socket.connect(peer.family.theirs, 9),
    "OPEN, passive": lambda peer, socket: socket.listen(),
    "SEND": lambda peer, socket: socket.send(b"text"),
    "RECEIVE": lambda peer, socket: socket.receive(),
    "CLOSE": lambda peer, socket: socket.shutdown(SHUT_WR),
    "CLOSE for both": lambda peer, socket: socket.close(),
}
# The states in which a connection may come to rest.
RESTFUL = ("CLOSED", "LISTEN", "ESTABLISHED", "FIN-WAIT-2", "CLOSE-WAIT")
CASES = [
    pytest.param(call, state, answer, id=f"{call} in {state}: {answer}")
    for call, answers in TABLE.items()
    for state, answer in zip(STATES, answers.split(), strict=True)
]


def reach(state):
    """The peer, and the socket that is in that state: SYN-RECEIVED by crossing SYNs."""
    peer = simultaneous() if state == "SYN-RECEIVED" else in_state(state)
    return peer, peer.socket or peer.listener or peer.host.tcp()


def outcome(call, peer, socket) -> str:
    try:
        result = CALLS[call](peer, socket)
    except CallError as error:
        return errno.errorcode[error.errno]
    if result is None:
        return "-"
    return "end" if result == b"" else "ok"


@pytest.mark.parametrize(("call", "state", "answer"), CASES)
def test_a_call(call, state, answer):
    """RFC 9293 sections 3.10.1 to 3.10.4."""
    check(call, state, answer, *reach(state))


@pytest.mark.parametrize(
    ("call", "state", "answer"),
    [case for case in CASES if case.values[1] in RESTFUL],
)
def test_a_call_that_finds_the_connection_at_rest(call, state, answer):
    """The same comes of it."""
    peer, socket = reach(state)
    peer.advance(5 * SECOND)
    assert not socket.awake
    check(call, state, answer, peer, socket)


def check(call, state, answer, peer, socket):
    answer, _, after = answer.partition(">")
    answer, _, sent = answer.partition("/")
    held = socket.state
    assert held == state
    assert outcome(call, peer, socket) == answer
    peer.collect()
    segments = [s.flags.replace("P", "") for s in peer.pending]
    segments += ["S" for _ in peer.others]  # of the OPEN to port 9
    assert sorted("".join(segments)) == sorted(sent)
    if call == "CLOSE for both":
        assert peer.state == ("CLOSED" if state == "LISTEN" else after or state)
    else:
        assert socket.state == (after or state)


@pytest.mark.parametrize("state", ["ESTABLISHED", "FIN-WAIT-1", "FIN-WAIT-2"])
def test_receive_gives_what_has_come(state):
    """RFC 9293 section 3.10.3: our own FIN changes nothing."""
    peer = in_state(state)
    peer.inject("A", data=b"text", ack=1)
    assert peer.socket.receive(2) == b"te"
    assert peer.socket.receive() == b"xt"
    with pytest.raises(CallError) as error:
        peer.socket.receive()
    assert error.value.errno == errno.EAGAIN


@pytest.mark.parametrize("then", ["CLOSE-WAIT", "LAST-ACK", "CLOSING", "TIME-WAIT"])
def test_receive_gives_what_came_before_the_fin(then):
    """RFC 9293 section 3.10.3, CLOSE-WAIT: "satisfied by data already on hand", then the end."""
    peer = in_state("ESTABLISHED")
    if then in ("CLOSING", "TIME-WAIT"):
        peer.socket.shutdown(SHUT_WR)
        peer.expect("FA")
    peer.inject("FA", data=b"text", ack=1 if then == "CLOSING" else None)
    if then == "LAST-ACK":
        peer.socket.shutdown(SHUT_WR)
    assert peer.state == then
    assert peer.socket.receive() == b"text"
    assert peer.socket.receive() == b""


@pytest.mark.parametrize("state", ["ESTABLISHED", "CLOSE-WAIT"])
def test_sent_text_carries_the_ack(state):
    """RFC 9293 section 3.10.2: "segmentize the buffer and send it with a piggybacked ACK"."""
    peer = in_state(state)
    peer.socket.send(b"text")
    assert peer.expect("A", seq=1, ack=peer.snd_nxt).data == b"text"


def test_text_that_was_sent_before_the_handshake_ended_has_to_be_sent_again():
    """RFC 9293 section 3.10.2 would queue it; as Linux, the caller waits for ESTABLISHED."""
    peer = in_state("SYN-SENT")
    with pytest.raises(CallError):
        peer.socket.send(b"early")
    peer.inject("SA", seq=0, ack=1, options=peer.syn_options())
    assert not peer.expect("A", ack=1).data
    peer.socket.send(b"now")
    assert peer.expect("A", seq=1).data == b"now"


@pytest.mark.parametrize("state", STATES[1:])
def test_whatever_is_closed_ends_by_itself(state):
    """RFC 9293 section 3.6: in CLOSED, with no timer left, though the peer says nothing more."""
    peer, socket = reach(state)
    socket.close()
    if peer.listener and socket is not peer.listener:
        peer.listener.close()
    for _ in range(40):
        peer.advance(60 * SECOND)
        peer.drop()
    assert peer.host.connections == 0
    assert peer.host.deadline is None
