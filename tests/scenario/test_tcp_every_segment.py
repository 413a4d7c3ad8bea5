"""Every state meets every class of segment: what RFC 9293 section 3.10.7 says must come of it.

The table is written from the text of the RFC with RFC 5961 (challenge ACKs, exact resets), RFC 1337
(TIME-WAIT ignores resets) and RFC 6191 (TIME-WAIT may be reopened); notes mark where Linux decides.
"""

from __future__ import annotations

import pytest
from scenario.peer import FULL, MS, PLAIN, SECOND
from scenario.tcp_states import in_state, simultaneous
from scenario.tcp_wire import FAMILIES, MODULUS

# The columns. SR is a passive open; SO is SYN-RECEIVED by a simultaneous open.
COLUMNS = {
    "CL": "CLOSED",
    "LI": "LISTEN",
    "SS": "SYN-SENT",
    "SR": "SYN-RECEIVED",
    "SO": "SYN-RECEIVED",
    "ES": "ESTABLISHED",
    "F1": "FIN-WAIT-1",
    "F2": "FIN-WAIT-2",
    "CW": "CLOSE-WAIT",
    "CG": "CLOSING",
    "LA": "LAST-ACK",
    "TW": "TIME-WAIT",
}

# Answers:  .  none          A  <SEQ=SND.NXT><ACK=RCV.NXT>, RCV.NXT where it was
#           A+ the same, and RCV.NXT is beyond the segment
#           D+ the same, but delayed (Linux: the ACK of text and FIN waits for our own)
#           R  <SEQ=SEG.ACK><CTL=RST>      RA <SEQ=0><ACK=SEG.SEQ+SEG.LEN><CTL=RST,ACK>
#           SA <ACK=SEG.SEQ+1><CTL=SYN,ACK>
# and >XX, the state afterwards if it is another one.
#
# seq: RCV.NXT is `next` (the peer's ISN before there is one), RCV.NXT + RCV.WND is `edge`.
# ack: SND.UNA is `una`, SND.NXT is `nxt`, `old` is below what RFC 5961 tolerates; `now` is what the
# peer should say: SND.NXT if our SYN is not yet acknowledged, else SND.UNA.
TABLE = [
    # --- acknowledgments
    ("an ACK of nothing new", "A", "next", "una", 0, "R R R R R . . . . . . ."),
    ("an ACK of everything", "A", "next", "nxt", 0, "R R . .>ES .>ES . .>F2 . . .>TW .>CL ."),
    # RFC 9293 section 3.10.7.4 fifth; in SYN-SENT and SYN-RECEIVED a reset
    ("an ACK of the future", "A", "next", "nxt+1", 0, "R R R R R A A A A A A A"),
    # RFC 5961 section 5.2
    ("an ACK of long ago", "A", "next", "old", 0, "R R R R R A A A A A A A"),
    # RFC 9293 section 3.4: not acceptable. Keepalives and zero-window probes look like this.
    ("an ACK below the window", "A", "next-1", "nxt", 0, "R R . A A A A A A A A A"),
    ("an ACK beyond the window", "A", "edge+1", "nxt", 0, "R R . A A A A A A A A A"),
    # Linux: the sequence number of a peer that has filled our window. RFC 9293 would have an ACK.
    ("an ACK at the edge", "A", "edge", "nxt", 0, "R R . .>ES .>ES . .>F2 . . .>TW .>CL ."),
    # --- no ACK bit: in synchronized states "drop the segment and return"
    ("no control bit", "", "next", None, 0, "RA . . . . . . . . . . ."),
    ("text without ACK", "", "next", None, 4, "RA . . . . . . . . . . ."),
    ("a FIN without ACK", "F", "next", None, 0, "RA . . . . . . . . . . ."),
    ("URG and PSH only", "UP", "next", None, 4, "RA . . . . . . . . . . ."),
    # --- text; after the peer's FIN it is ignored
    ("text in order", "A", "next", "now", 4, "R R . A+>ES A+>ES A+ A+ A+ . . . ."),
    ("text beyond a hole", "A", "next+9", "now", 4, "R R . A>ES A>ES A A A . . . ."),
    ("text before the edge", "A", "edge-4", "now", 4, "R R . A>ES A>ES A A A . . . ."),
    ("text at the edge", "A", "edge", "now", 4, "R R . A A A A A A A A A"),
    ("text beyond the window", "A", "edge+1", "now", 4, "R R . A A A A A A A A A"),
    ("text that is old", "A", "next-4", "now", 4, "R R . A A A A A A A A A"),
    ("text of long ago", "A", "next-90000", "now", 4, "R R . A A A A A A A A A"),
    ("text of the future", "A", "next+2000000000", "now", 4, "R R . A A A A A A A A A"),
    ("text that acks the future", "A", "next", "nxt+1", 4, "R R R R R A A A A A A A"),
    # --- FIN
    ("a FIN", "FA", "next", "now", 0, "R R . A+>CW A+>CW A+>CW A+>CG A+>TW . . . ."),
    ("a FIN that acks", "FA", "next", "nxt", 0,
        "R R . A+>CW A+>CW A+>CW A+>TW A+>TW . .>TW .>CL ."),
    ("text and FIN", "FA", "next", "now", 4, "R R . D+>CW D+>CW D+>CW A+>CG A+>TW . . . ."),
    ("a FIN beyond a hole", "FA", "next+9", "now", 0, "R R . A>ES A>ES A A A . . . ."),
    ("a FIN once more", "FA", "next-1", "nxt", 0, "R R . A A A A A A A A A"),
    ("a FIN beyond the window", "FA", "edge+1", "now", 0, "R R . A A A A A A A A A"),
    # --- RST: RFC 5961 section 3.2; never answered by a reset
    ("a RST", "R", "next", None, 0, ". . . .>LI .>CL .>CL .>CL .>CL .>CL .>CL .>CL ."),
    ("a RST that acks", "RA", "next", "now", 0,
        ". . .>CL .>LI .>CL .>CL .>CL .>CL .>CL .>CL .>CL ."),
    # the ACK field of a RST counts in SYN-SENT only
    ("a RST with a wrong ACK", "RA", "next", "nxt+1", 0,
        ". . . .>LI .>CL .>CL .>CL .>CL .>CL .>CL .>CL ."),
    ("a RST in the window", "R", "next+1", None, 0, ". . . A A A A A A A A ."),
    ("a RST before the edge", "R", "edge-1", None, 0, ". . . A A A A A A A A ."),
    ("a RST at the edge", "R", "edge", None, 0, ". . . . . . . . . . . ."),
    # Linux: some stacks reset from where their FIN was
    ("a RST below the window", "R", "next-1", None, 0, ". . . . . . . . .>CL .>CL .>CL ."),
    ("a RST of the future", "R", "next+2000000000", None, 0, ". . . . . . . . . . . ."),
    ("a RST with text", "R", "next", None, 4, ". . . .>LI .>CL .>CL .>CL .>CL .>CL .>CL .>CL ."),
    # --- SYN: RFC 9293 fourth, RFC 5961 section 4.2; RFC 6191 in TIME-WAIT
    ("a SYN", "S", "next", None, 0, "RA SA>SR SA>SR RA>LI A A A A A A A A"),
    ("a SYN in the window", "S", "next+1", None, 0, "RA SA>SR SA>SR RA>LI A A A A A A A SA>SR"),
    # Linux: the SYN that is known draws the SYN-ACK again; RFC 9293 would have a bare ACK
    ("a SYN once more", "S", "next-1", None, 0, "RA SA>SR SA>SR SA SA A A A A A A A"),
    ("a SYN of long ago", "S", "next-90000", None, 0, "RA SA>SR SA>SR A A A A A A A A A"),
    ("a SYN beyond the window", "S", "edge+1", None, 0, "RA SA>SR SA>SR A A A A A A A A SA>SR"),
    ("a SYN-ACK", "SA", "next", "nxt", 0, "R R A+>ES R>LI A A A A A A A A"),
    # RFC 9293 figure 8: the simultaneous open's SYN-ACK repeats the SYN
    ("a SYN-ACK once more", "SA", "next-1", "nxt", 0, "R R A+>ES A A>ES A A A A A A A"),
    ("a SYN-ACK of nothing", "SA", "next", "una", 0, "R R R R>LI A A A A A A A A"),
    ("a SYN-ACK of the future", "SA", "next", "nxt+1", 0, "R R R R>LI A A A A A A A A"),
    # Linux: nothing that a handshake begins with (RFC 9293 would keep the FIN for later)
    ("a SYN with FIN", "SF", "next", None, 0, "RA . SA>SR RA>LI A A A A A A A A"),
    ("a SYN with RST", "SR", "next", None, 0, ". . . .>LI .>CL .>CL .>CL .>CL .>CL .>CL .>CL ."),
    ("all flags", "SFRPAUEC", "next", "now", 4,
        ". . .>CL .>LI .>CL .>CL .>CL .>CL .>CL .>CL .>CL ."),
]  # fmt: skip
VARIANTS = [(family, options) for family in FAMILIES for options in (PLAIN, FULL)]


# The states in which a connection may come to rest.
RESTFUL = ("ES", "F2", "CW")


def cases(columns=tuple(COLUMNS)):
    for name, flags, seq, ack, length, answers in TABLE:
        for column, answer in zip(COLUMNS, answers.split(), strict=True):
            if column in columns:
                yield pytest.param(
                    column, flags, seq, ack, length, answer, id=f"{name} in {column} {answer}"
                )


def reach(column, family, options):
    if column == "SO":
        return simultaneous(family, options=options)
    return in_state(COLUMNS[column], family, options=options)


def reach_at_rest(column, family, options):
    peer = reach(column, family, options)
    peer.advance(5 * SECOND)
    assert not peer.tcb.awake
    return peer


class Numbers:
    """What the names in the table mean for this connection, relative to the ISNs."""

    def __init__(self, peer, column):
        tcb = peer.tcb
        self.next, self.edge = peer.snd_nxt, peer.snd_nxt + 65535
        self.una = self.nxt = peer.rcv_nxt
        if tcb is not None and column != "SS":
            assert (tcb.rcv_nxt - peer.iss) % MODULUS == self.next
            self.edge = (tcb.rcv_edge - peer.iss) % MODULUS
        if tcb is not None:
            self.una = (tcb.snd_una - tcb.iss) % MODULUS
            self.nxt = (tcb.snd_nxt - tcb.iss) % MODULUS
        # Where absolute zero lies: resets without an ACK to go by begin there.
        self.iss = 0 if tcb is None or column in ("LI", "SS") else tcb.iss
        self.old = self.una - (65535 if tcb is None else tcb.max_snd_wnd) - 1
        self.now = self.nxt if column in ("SS", "SR", "SO") else self.una

    def __getitem__(self, text):
        if text is None:
            return None
        for sign in "+-":
            name, found, offset = text.partition(sign)
            if found:
                return getattr(self, name) + int(sign + offset)
        return getattr(self, text)


def expected(answer, numbers, flags, seq, ack, length):
    """(flags, seq, ack) of the host's answer, or None."""
    end = seq + length + ("S" in flags) + ("F" in flags)
    return {
        ".": None,
        "A": ("A", numbers.nxt, numbers.next),
        "A+": ("A", numbers.nxt, end),
        "D+": ("A", numbers.nxt, end),
        "R": ("R", ack, None),
        "RA": ("RA", -numbers.iss, end),
        "SA": ("SA", 0, seq + 1),
    }[answer]


def check_answer(sent, wanted, where):
    if wanted is None:
        assert not sent, f"{where}: {sent[0]}"
        return
    assert len(sent) == 1, f"{where}: {[str(s) for s in sent]}"
    flags, seq, ack = wanted
    assert set(sent[0].flags) == set(flags), f"{where}: {sent[0]}"
    assert seq is None or sent[0].seq == seq % MODULUS, f"{where}: {sent[0]}"
    assert ack is None or sent[0].ack == ack % MODULUS, f"{where}: {sent[0]}"


@pytest.mark.parametrize(("column", "flags", "seq", "ack", "length", "answer"), list(cases()))
def test_a_segment(column, flags, seq, ack, length, answer):
    """RFC 9293 section 3.10.7, each family with and without timestamps."""
    check(reach, column, flags, seq, ack, length, answer)


@pytest.mark.parametrize(
    ("column", "flags", "seq", "ack", "length", "answer"), list(cases(RESTFUL))
)
def test_a_segment_that_finds_the_connection_at_rest(column, flags, seq, ack, length, answer):
    """The same comes of it."""
    check(reach_at_rest, column, flags, seq, ack, length, answer)


def check(reach, column, flags, seq, ack, length, answer):
    answer, _, after = answer.partition(">")
    for family, options in VARIANTS:
        where = f"{column} {family.name} {'with' if 'ts' in options else 'without'} timestamps"
        peer = reach(column, family, options)
        peer.timestamps = "ts" in options
        numbers = Numbers(peer, column)
        at, acked = numbers[seq], numbers[ack]
        peer.inject(flags, seq=at, ack=acked, data=bytes(length))
        if answer == "D+":
            peer.expect_nothing()
            peer.advance(40 * MS)
        check_answer(peer.drop(), expected(answer, numbers, flags, at, acked, length), where)
        state = COLUMNS[after or column]
        assert peer.state == ("CLOSED" if state == "LISTEN" else state), where
