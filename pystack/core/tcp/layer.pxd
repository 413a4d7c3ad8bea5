# The TCP layer's structs: everything that a connection remembers (the TCB), by the names of the
# RFCs.
# Called by: every file of tcp/, stack. A comment at each group says who writes it.
# RFCs: 9293 section 3.3.1, 6298, 5681, 6675, 7323, 2018, 7413, 9040.

from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from pystack.core.context cimport Context
from pystack.core.endpoint cimport Endpoint
from pystack.core.ip.layer cimport IpLayer
from pystack.core.memory.deadline cimport DeadlineNode
from pystack.core.memory.flow cimport FlowTable
from pystack.core.memory.interval cimport IntervalSet
from pystack.core.memory.loan cimport Loans
from pystack.core.memory.packet cimport Packet, PacketQueue
from pystack.core.memory.ring cimport Ring
from pystack.core.tcp.config cimport SharedSettings, TcpConfig, TcpSettings
from pystack.core.tcp.congestion.bbr_state cimport BbrState
from pystack.core.tcp.metrics_cache cimport MetricsCache

cdef enum TcpState:
    STATE_CLOSED = 0
    STATE_LISTEN = 1
    STATE_SYN_SENT = 2
    STATE_SYN_RECEIVED = 3
    STATE_ESTABLISHED = 4
    STATE_FIN_WAIT_1 = 5
    STATE_FIN_WAIT_2 = 6
    STATE_CLOSE_WAIT = 7
    STATE_CLOSING = 8
    STATE_LAST_ACK = 9
    STATE_TIME_WAIT = 10

cdef struct Tcb     # below
cdef struct TcpBusy
cdef struct TcpRare

# One transmission: a segment or a train, split at the boundaries of its segments when only some of
# them have arrived or are sent again.
cdef enum SentFlag:
    SENT_SACKED = 0x01
    SENT_LOST = 0x02
    SENT_RETRANSMITTED = 0x04   # the last transmission was a retransmission and is still out
    SENT_EVER_RETRANSMITTED = 0x08      # Karn: no RTT sample
    SENT_FIN = 0x10             # the last sequence number is that of our FIN
    SENT_PUSHED = 0x20          # its last segment had PSH, and has it when it is sent again
    SENT_JUDGED = 0x40          # RACK has found it lost, and judges it again when it is sent again
    SENT_APP_LIMITED = 0x80     # when it was last sent the application had nothing more (rate.pyx)

ctypedef struct Sent:
    uint32_t seq
    uint32_t end
    int64_t sent_at             # of the last transmission
    int64_t first_sent_at       # busy.first_sent_at and busy.delivered_at at that time
    int64_t delivered_at
    uint32_t delivered          # tcb.delivered at that time
    # in SentOrder: the last number of what was sent before it, the first of what was sent after it
    uint32_t older
    uint32_t newer              # SENT_SACKED: all up to this number has arrived, at least
    uint16_t mss                # payload of each of its segments but the last
    uint8_t flags

cdef enum:
    FEW_SENT = 2

# A record in SentOrder, by its last number.
ctypedef struct SentMark:
    uint32_t last
    uint8_t is_set

# What may still be judged lost, in order of its last transmission; written by sent_order.pyx, the
# marks also by rack.pyx.
ctypedef struct SentOrder:
    uint32_t oldest             # its first number, with `count`
    uint32_t newest             # its last
    uint32_t count
    SentMark overtaken          # up to here something has arrived that was sent later
    SentMark passed             # up to here nothing is in the network: lost, and not sent again

ctypedef struct SentQueue:
    Sent* items                 # NULL; `few`; or allocated
    uint32_t first
    uint32_t count
    uint32_t capacity
    SentOrder order
    Sent few[FEW_SENT]          # all that a request and its answer need

# Text that has not been read; written by receive_queue.pyx.
ctypedef struct ReceiveQueue:
    Ring ring                   # what is read first; beyond it what lies beyond holes
    PacketQueue trains          # what is read afterwards; none while there are holes
    uint32_t length             # bytes in order, of both

# RFC 6298, as Linux computes it; written by rtt.pyx only.
ctypedef struct Rtt:
    int64_t srtt                # ns; 0: no sample yet
    int64_t rto                 # without back-off
    # microseconds, four times the mean deviation: smoothed, and what the RTO takes of it
    uint32_t mdev
    uint32_t rttvar
    # least round trip of the last minutes; the runners-up are in TcpBusy
    uint32_t min_us
    uint32_t min_at_ms

# TcpSettings.congestion: a row of the table in congestion/interface.pyx.
cdef enum CongestionAlgorithm:
    CONGESTION_RENO = 0
    CONGESTION_CUBIC = 1
    CONGESTION_BBR = 2

# RFC 9438; written by cubic.pyx. Windows in segments, times in ms, as Linux.
ctypedef struct CubicCurve:
    uint32_t w_max              # 0: no loss yet that says so
    uint32_t k                  # of K, in 1/1024 s
    uint32_t origin             # where the curve is flat
    uint32_t epoch_start
    uint32_t cwnd_prior         # at the last reduction
    uint32_t w_est              # what Reno would have
    uint32_t w_est_acked        # segments towards its next one
    uint8_t in_epoch

# RFC 9406; written by hystart.pyx.
ctypedef struct HyStart:
    uint32_t window_end         # the round ends with its acknowledgment
    uint32_t last_round_min_us  # 0: none
    uint32_t current_round_min_us
    uint32_t css_baseline_us    # with css_rounds
    uint8_t samples
    uint8_t css_rounds          # rounds left of conservative slow start; 0: standard slow start
    uint8_t in_round            # window_end is known

# Linux's HyStart; written by hystart_classic.pyx. Times in us.
ctypedef struct ClassicHyStart:
    uint32_t round_start
    uint32_t last_ack
    uint32_t round_end          # sequence number
    uint32_t least_rtt          # of this round
    uint8_t samples
    uint8_t found               # this slow start is over
    uint8_t in_round

ctypedef struct CubicState:
    CubicCurve curve
    HyStart hystart
    ClassicHyStart classic
    uint32_t least_rtt_us       # since the last timeout; 0: none
    uint32_t per_segment        # segments to be acknowledged for one more of cwnd
    uint32_t last_cwnd          # what per_segment was computed for, and when
    uint32_t last_at

# RFC 5681; written by congestion/ only (cwnd in fast recovery: recovery.pyx).
ctypedef struct Congestion:
    uint32_t cwnd               # bytes
    uint32_t ssthresh
    uint32_t acked              # bytes counted towards the next increase in congestion avoidance
    # Was the window in use? (RFC 7661, in Linux's way; validation.pyx)
    uint32_t used               # most that was outstanding since the window was last full
    int64_t used_since          # when it was last full, grew or shrank
    CubicState* cubic           # NULL until needed; cubic.pyx

# Explicit congestion notification (RFC 3168); written by ecn.pyx, ECN_OWE_CWR by
# congestion/ too.
cdef enum EcnState:
    ECN_OK = 0x01               # agreed on
    ECN_SEEN = 0x02             # the peer marks its text as capable
    ECN_OWE_ECE = 0x04          # a mark has arrived, and no CWR since
    ECN_OWE_CWR = 0x08          # our window was reduced: to be said with the next new text

# Linux's numbers: TCP_INFO reports them.
cdef enum CaState:
    CA_OPEN = 0
    CA_DISORDER = 1             # something arrived out of order, or twice
    CA_CWR = 2                  # cwnd is being reduced, but nothing is lost: ECN, a tail loss probe
    CA_RECOVERY = 3             # fast recovery
    CA_LOSS = 4                 # after an RTO

# What retransmit_at is for, beside the timers that have a state or flag of their own.
cdef enum RetransmitTimer:
    TIMER_RTO = 0
    TIMER_TAIL_PROBE = 1        # RFC 8985 section 7
    TIMER_REORDERING = 2        # RFC 8985 section 6.2 step 5

# What the last ACK or timer lets output send again.
cdef enum Retransmit:
    RETRANSMIT_NONE = 0
    RETRANSMIT_LOST = 1
    RETRANSMIT_AFTER_NEW = 2    # F-RTO: new data if there is some, otherwise what is lost

# RFC 8985: what RACK knows of the latest delivery; its reordering window.
ctypedef struct Rack:
    int64_t sent_at             # RACK.xmit_ts
    int64_t rtt                 # RACK.rtt
    uint32_t end                # RACK.end_seq
    uint8_t again               # that had been sent again
    uint8_t duplicate_seen      # RACK.dsack_round's work: a D-SACK of this round trip
    uint8_t advanced            # since the last look for losses

# TCP_SAVED_SYN: from the IP header to the end of TCP's.
ctypedef struct SavedSyn:
    uint32_t length
    uint8_t headers[1]          # as many as length says

# Where Linux's buffers would end of what is written and not sent; written by chunks.pyx.
cdef enum:
    MOST_CHUNKS = 16

ctypedef struct Chunks:
    uint32_t ends[16]
    uint8_t pushed[16]          # its last segment has PSH
    uint8_t count
    uint8_t used                # pushed_at is known
    uint32_t pushed_at          # end of the last one that has
    uint32_t sent_at_once       # how far the last write would have been sent while it went on

# RFC 4821: the search for the largest packet; sizes are of IP packets. Written by mtu_search.pyx
# (high, path and in_force also by mss.pyx).
ctypedef struct MtuSearch:
    uint32_t low                # search_low: such packets arrive
    uint32_t high               # search_high: larger ones do not
    uint32_t size               # of the probe that is out; 0: none
    uint32_t probe_start        # its text
    uint32_t probe_end
    uint32_t path               # what IP last said of the path
    int64_t since               # when the search began
    uint8_t in_force            # segments are no larger than low

# For TCP_INFO. Segments of trains are counted one by one.
ctypedef struct TcpTotals:
    uint64_t bytes_acked        # with SYN and FIN, as Linux
    uint64_t bytes_received     # with FIN, as Linux
    uint64_t bytes_sent         # with those sent again
    uint32_t segments_out
    uint32_t segments_in
    uint32_t data_segments_out
    uint32_t data_segments_in

cdef struct TcbList:
    Tcb* first
    Tcb* last
    uint32_t count

# A key and the one before, in little-endian words.
ctypedef struct FastOpenKeys:
    uint64_t words[4]
    uint32_t count

# Tcb.fast_open (RFC 7413); written by fast_open.pyx.
cdef enum FastOpen:
    FAST_OPEN_CHILD = 0x01      # made by a SYN whose cookie was good
    FAST_OPEN_EARLY = 0x02      # and the SYN-ACK is not yet acknowledged
    FAST_OPEN_DEFERRED = 0x04   # connect() has been called, the SYN waits for data
    FAST_OPEN_ASKED = 0x08      # our SYN carried the option
    FAST_OPEN_DATA = 0x10       # our SYN carried data
    FAST_OPEN_DATA_ACKED = 0x20         # data of a SYN, of whichever side, has been acknowledged
    FAST_OPEN_EXPERIMENTAL = 0x40       # the option of our SYN was the experimental one
    FAST_OPEN_WATCHED = 0x80    # the first after a pause: shows whether black holes are gone

# Tcb.fast_open_failure: Linux's numbers, TCP_INFO reports them.
cdef enum FastOpenFailure:
    FAST_OPEN_NO_COOKIE = 1
    FAST_OPEN_DATA_NOT_ACKED = 2
    FAST_OPEN_SYN_REPEATED = 3

# A connection that took data early and was then reset: it counts for a while.
ctypedef struct FastOpenReset:
    FastOpenReset* next
    int64_t until

# What a listener does with data in SYNs; written by fast_open.pyx.
ctypedef struct FastOpenQueue:
    TcbList accepted            # accepted while EARLY
    FastOpenReset* resets_first         # oldest first
    FastOpenReset* resets_last
    uint32_t limit              # TCP_FASTOPEN; 0: none
    uint32_t count              # EARLY children, and resets
    FastOpenKeys keys           # TCP_FASTOPEN_KEY; none: the stack's

# A listener's queues; written by listen.pyx. There before LISTEN if TCP_FASTOPEN is set first.
ctypedef struct Backlog:
    TcbList accept              # established, not yet accepted
    TcbList half_open           # SYN-RECEIVED
    uint32_t limit              # of listen()
    int64_t cookies_until       # cookies have been sent that are valid until then
    FastOpenQueue fast_open

# What a connection needs while something is in motion: data that is outstanding or unread, holes,
# an ACK that is owed, a handshake, a list that it is on. Written by whom the comments name, made
# and given back by busy.pyx only. At rest all of it is zero, but for timers that are off.
cdef struct TcpBusy:
    # timers: absolute, DEADLINE_NEVER when off; tcb.deadline holds a time no later than the first
    # of them. First of all: see AT_REST in busy.pyx.
    int64_t retransmit_at       # RTO, or zero-window probe when `probing`
    int64_t ack_at              # delayed ACK
    int64_t pace_at             # output waits for paced_until
    int64_t paced_until         # pacing.pyx: nothing leaves before
    # when the oldest outstanding data was first left without progress (R2, user timeout)
    int64_t first_unacked_at
    int64_t last_challenge_at
    Tcb* tcb                    # whose it is; NULL: AT_REST, or that has gone
    # with `watched`: all that time alone may bring to rest, in the order in which tcp_rest looks at
    # them; the others wait for a segment, a call or a timer of theirs (tcb_wake)
    TcpBusy* next
    TcpBusy* previous
    int64_t look_at             # when it does
    # the one list that tcb.next and previous belong to: half-open, accept, TIME-WAIT, orphans
    TcbList* list
    Tcb* previous_tcb
    TcpBusy* output_next        # output list, with output_pending
    # parent while not yet accepted or FAST_OPEN_EARLY; NULL afterwards or when it has gone
    Tcb* listener
    Ring send_ring              # first byte is snd_una (SYN excluded); calls add, ack.pyx removes
    Loans loans                 # of its bytes, those that are elsewhere; by sequence numbers
    ReceiveQueue received       # up to rcv_nxt; receive.pyx adds, calls remove
    uint64_t unwanted           # bytes that a waiting call still wants dropped as they come
    uint64_t dropped            # those that it has had; both written by transfer.pyx
    SentQueue sent              # oldest first; written by scoreboard.pyx
    IntervalSet out_of_order    # received beyond rcv_nxt; written by receive.pyx
    # starts of the latest out-of-order arrivals, newest first (RFC 2018 section 4)
    uint32_t recent[4]
    # the delivery rate: when that was sent which the last sample is of, and when something last
    # arrived; or when sending began after a pause; written by rate.pyx
    int64_t first_sent_at
    int64_t delivered_at
    int64_t chrono_since        # written by chrono.pyx
    uint64_t pacing_rate        # bytes per second, as of the last ACK; 0: not known; pacing.pyx
    Rack rack
    Chunks chunks

    # counts of the scoreboard, in segments; without SACK sacked_out counts duplicate ACKs
    uint32_t packets_out
    uint32_t sacked_out
    uint32_t lost_out
    uint32_t retrans_out
    uint32_t highest_sacked     # end of the highest, with SACK and sacked_out
    uint32_t to_repeat          # of lost_out: not yet sent again
    uint32_t repeat_from        # with to_repeat: none of them is below
    uint32_t snd_up             # one past the urgent byte, with urgent_out
    uint32_t snd_small          # end of the last segment below smss (Minshall's Nagle)
    uint32_t app_limited        # until `delivered` is beyond it the application limits; 0: no

    # receiving
    uint32_t last_ack_sent      # Last.ACK.sent of RFC 7323
    uint32_t unacked_bytes      # received in order since the last ACK we sent
    uint32_t last_segment       # the last below ack_segment, to see whether that is the size now
    uint32_t duplicate_start    # D-SACK to report, with duplicate_pending (RFC 2883)
    uint32_t duplicate_end
    uint32_t fin_at             # of a FIN beyond a hole, with fin_ahead
    # auto-tuning, the round trip in progress; written by window.pyx
    uint32_t read_seq           # where the reader was when it began
    uint32_t rcv_rtt_seq        # edge whose arrival ends it
    int64_t read_at
    int64_t rcv_rtt_from

    # timing, the round trip in progress; written by rtt.pyx
    uint32_t mdev_max           # largest mdev in it
    uint32_t round_end          # snd_nxt at its beginning
    # least round trip: the second and third best of the last minutes, each later than the better
    uint32_t min_us[2]
    uint32_t min_at_ms[2]
    # congestion window validation and undo; written by congestion/
    uint32_t max_flight         # most that was outstanding in the round that ends with usage_end
    uint32_t usage_end
    uint32_t prior_cwnd         # before the last reduction, should it have been a mistake
    uint32_t prior_ssthresh

    # loss recovery: recovery.pyx and its neighbours rack, tlp, prr, undo, frto, reordering
    uint32_t recover            # RecoveryPoint: snd_nxt when ca_state was entered
    uint32_t undo_marker        # snd_una when the reduction that may be undone began, with `undo`
    int32_t undo_retransmitted  # segments whose D-SACK is awaited; -1: nothing sent again yet
    uint32_t first_retransmit   # timestamp of the first retransmission of the episode; 0: none
    uint32_t tail_probe_end     # TLP.end_seq, with tail_probing
    uint32_t prr_delivered      # segments, as cwnd is counted in RFC 9937 by Linux
    uint32_t prr_out
    uint32_t prr_start          # RecoverFS: cwnd when the reduction began
    uint8_t watched             # next and previous are valid
    uint8_t recent_count
    uint8_t chrono              # Chrono
    uint8_t ca_state            # CaState; written by recovery.pyx and its neighbours
    uint8_t retransmit_timer    # RetransmitTimer
    uint8_t retransmit          # Retransmit
    uint8_t undo                # undo_marker is valid
    uint8_t undo_window         # and congestion_undo may restore what was
    uint8_t tail_probing        # TLP.end_seq is valid
    uint8_t tail_probe_old      # TLP.is_retrans
    uint8_t tail_probe_due      # with the next output
    uint8_t frto                # RFC 5682: is this timeout spurious?
    uint8_t reneged             # the peer took back what it had acknowledged selectively
    uint8_t rescued             # the rescue retransmission of this episode is spent (RFC 6675)
    uint8_t handshake_acked     # SYN-RECEIVED: the last ACK came, but accept has to wait
    uint8_t retransmits         # consecutive timeouts, or unanswered window probes
    uint8_t user_timeout_owed   # the next segment tells our user timeout (RFC 5482)
    uint8_t probing             # zero-window probe timer instead of RTO
    uint8_t ack_now             # owes an ACK with the next output
    uint8_t output_pending      # on the output list
    uint8_t output_forced       # the override timer has fired: what is held back goes too
    uint8_t fin_ahead
    uint8_t pushed              # of what is unacknowledged: acknowledge.pyx
    uint8_t duplicate_pending
    uint8_t more                # MSG_MORE: the last write announced another
    uint8_t urgent_out

# What few connections ever need; made by the first write (tcb_rare), kept as long as the TCB.
cdef struct TcpRare:
    Backlog* backlog            # of a listener
    SavedSyn* saved_syn         # NULL: none, or taken
    MtuSearch* search           # NULL: path MTU by ICMP only
    BbrState* bbr               # NULL with any other algorithm; bbr.pyx
    int64_t chrono_time[2]      # ns, held back by the window and by the buffer; chrono.pyx
    # of losses and reordering
    uint64_t bytes_retransmitted
    uint32_t total_retransmitted        # segments
    uint32_t lost               # segments that were believed lost, each time
    uint32_t duplicates_reported        # segments in D-SACKs
    uint32_t reordering_seen    # times
    uint32_t out_of_order       # segments that arrived so
    uint32_t delivered_marked   # segments whose ACK had ECE
    uint16_t timeouts
    uint16_t timeout_episodes   # timeouts in a row are one
    uint16_t path_changes       # other hashes or flow labels, after timeouts

# A connection at rest is this and nothing more: what is needed while something is in motion is in
# `busy`, what few connections ever need in `rare`. Both may always be read: without memory of its
# own a TCB points to constants (busy.pyx). Before `busy` is written somebody has called tcb_wake,
# at the door of the layer; `rare` is written through tcb_rare. Ordered by size, then by who reads
# it: tests/unit/test_tcb_size.py holds it below its bound.
cdef struct Tcb:
    Endpoint endpoint
    DeadlineNode deadline
    TcpBusy* busy
    TcpRare* rare
    const TcpConfig* config     # the stack's, or that of an OwnConfig
    # shared by all that have the same: settings_edit gives one that may be written
    const TcpSettings* settings
    # of busy.list, or among the dead; on neither, it shares the address and port of one that is
    # bound (SO_REUSEPORT; lookup.pyx)
    Tcb* next
    int64_t last_received_at    # for keepalive
    int64_t last_text_at        # for delayed ACKs: who answers text with text is interactive
    int64_t last_sent_at        # idle restart (RFC 5681 section 4.1)
    int64_t other_at            # timer: TIME-WAIT, FIN-WAIT-2, keepalive, user timeout, linger
    int64_t ts_recent_at
    int64_t rcv_rtt             # ns; 0: not known; window.pyx
    int64_t busy_time           # ns, of the Chrono; written by chrono.pyx

    # send sequence space: input (ack.pyx) and output.pyx
    uint32_t iss
    uint32_t snd_una
    uint32_t snd_nxt            # highest sent + 1; retransmissions do not move it
    uint32_t snd_wnd            # scaled
    uint32_t snd_wl1
    uint32_t snd_wl2
    uint32_t max_snd_wnd        # largest window seen (SWS, RFC 9293 section 3.8.6.2.1)
    uint32_t smss               # payload that fits a segment with the options that we send now
    uint32_t delivered          # segments that have arrived, however the peer said so; from 1

    # receive sequence space: input (receive.pyx) and output.pyx
    uint32_t irs
    uint32_t rcv_nxt
    uint32_t rcv_edge           # right edge of the window that we have advertised; never moves left
    uint32_t rcv_up
    uint32_t ts_recent
    # added to our clock, so that it tells nothing (RFC 7323 section 5.4)
    uint32_t ts_offset
    uint32_t ack_segment        # size of a full segment as the peer sends them
    uint32_t ato_us             # delay of ACKs; 0: no text yet; written by acknowledge.pyx
    # the receive window and its auto-tuning; written by window.pyx
    uint32_t window_clamp
    uint32_t rcv_ssthresh
    uint32_t read_target        # bytes read in a round trip, at most so far
    # SO_RCVBUF and SO_SNDBUF, which auto-tuning moves; written by calls, settings, window.pyx and
    # send_buffer.pyx
    uint32_t receive_buffer
    uint32_t send_buffer

    Rtt rtt
    Congestion congestion
    TcpTotals totals

    # delivery rate: segments and time of the last sample that counts; written by rate.pyx
    uint32_t rate_delivered
    uint32_t rate_interval_us
    # RFC 8985: the reordering window; written by rack.pyx
    uint32_t rack_adapted_at    # `delivered` when it was last widened
    int16_t soft_error          # last ICMP error: for who asks, or why it timed out (RFC 5461)
    uint16_t reordering         # segments
    uint16_t peer_mss           # from its SYN, 536/1220 if none (RFC 9293 section 3.7.1)
    uint8_t rack_steps          # RACK.reo_wnd_mult
    uint8_t rack_persist        # RACK.reo_wnd_persist
    uint8_t rate_app_limited
    uint8_t backoff             # doublings of the RTO
    uint8_t limited             # the congestion window was full in this round
    uint8_t state               # TcpState; written by tcb_set_state only
    uint8_t keepalive_probes    # unanswered
    uint8_t ecn                 # EcnState
    uint8_t snd_scale
    uint8_t rcv_scale
    uint8_t rcv_scale_offered   # we send the option: first, or because the peer did
    uint8_t quick_acks          # ACKs still to be sent at once (start of a connection, after a gap)
    uint8_t timestamps_ok
    uint8_t sack_ok
    uint8_t fin_queued          # application has closed its direction
    uint8_t fin_sent            # snd_nxt is beyond the FIN
    uint8_t fin_received
    uint8_t shut_read           # shutdown(SHUT_RD): what arrives is acknowledged and discarded
    uint8_t held                # somebody will tcp_close it: the application, or a native service
    uint8_t buried              # among the dead
    uint8_t pingpong            # answers to text: delay ACKs (Linux's ping-pong mode)
    uint8_t passive
    uint8_t v6                  # the socket's family is AF_INET6
    uint8_t urgent_in
    uint8_t far_from_iss        # SND.UNA is further from ISS than any window reaches
    uint8_t bound
    uint8_t write_blocked       # the application waits for room
    uint8_t fast_open           # FastOpen
    uint8_t fast_open_failure   # FastOpenFailure

ctypedef struct TcpLayer:
    IpLayer* ip
    Context* context
    TcpConfig config
    FlowTable connections       # by 4-tuple
    Tcb* recent                 # of the last segment that was of a connection; lookup.pyx
    Packet* arriving            # whose segment is being processed; NULL: its text was kept in it
    FlowTable bound             # bound and listening, remote unspecified
    TcpBusy* output_first       # owe output: drained by the stack once per batch
    TcpBusy* output_last
    TcbList time_wait           # oldest first
    TcbList orphans             # that nobody holds, before TIME-WAIT
    Tcb* dead                   # to be freed before the core is left
    TcpBusy* awake_first        # with `watched`: tcp_rest looks at the first one next
    TcpBusy* awake_last
    DeadlineNode rest           # for that, while there are any
    SharedSettings* shared_settings     # all that are in use
    uint32_t connection_count   # TCBs alive
    uint64_t isn_secret[2]
    uint64_t port_secret[2]
    uint64_t cookie_secret[2]
    uint64_t timestamp_secret[2]
    uint64_t fast_open_secret[2]
    int64_t fast_open_paused_at
    uint32_t fast_open_pauses   # black holes in a row
    MetricsCache metrics        # what is remembered of destinations; metrics.pyx
    uint16_t port_steps[4096]   # table[] of RFC 6056 section 3.3.4
    int64_t challenge_second
    uint32_t challenge_left     # challenge ACKs that this second still allows
