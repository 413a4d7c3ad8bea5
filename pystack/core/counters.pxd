# Counters: one for every drop and every event that a person may ask about, by a name that explains
# itself.
# Called by: every layer of the core through count(); shown by the stack's statistics under the
# lower-case name.
# RFCs: 4293, 4022 and 4113 name some of the same things.

# Grouped by layer; within a group add at the end. A name says what happened: LAYER_WHAT_WHY.
cpdef enum Counter:
    PACKETS_IN = 0
    PACKETS_OUT
    BYTES_IN
    BYTES_OUT
    TRAINS_IN
    TRAINS_OUT
    OUT_OF_MEMORY
    PACKETS_JOINED                      # with the one before, into a train: not in PACKETS_IN
    PACKETS_HANDED_ON                   # to the next shard, which counts its transport again
    # ip
    IP_DROP_TOO_SHORT
    IP_DROP_BAD_VERSION
    IP_DROP_BAD_HEADER_LENGTH
    IP_DROP_BAD_TOTAL_LENGTH
    IP_DROP_BAD_CHECKSUM
    IP_DROP_BAD_OPTIONS
    IP_DROP_BAD_EXTENSION_HEADER
    IP_DROP_BAD_SOURCE
    IP_DROP_NOT_OUR_ADDRESS
    IP_DROP_BROADCAST_OR_MULTICAST
    IP_DROP_UNKNOWN_PROTOCOL
    IP_DROP_BY_POLICY
    IP_DROP_HOP_LIMIT
    IP_DROP_NO_ROUTE
    IP_DROP_TOO_BIG
    IP_DROP_LOOP_QUEUE_FULL
    # router solicitations, MLD and IGMP reports, mDNS: a kernel's usual noise
    IP_IGNORED_MULTICAST_CONTROL
    IP_MIRRORED
    IP_LOOPED
    IP_FRAGMENTS_IN
    IP_FRAGMENTS_OUT
    IP_REASSEMBLED
    IP_DROP_FRAGMENT_OVERLAP
    IP_DROP_FRAGMENT_TINY
    IP_DROP_FRAGMENT_TOO_BIG
    IP_DROP_FRAGMENT_BAD
    IP_DROP_FRAGMENT_TABLE_FULL
    IP_DROP_FRAGMENT_TIMEOUT
    IP_PATH_MTU_LOWERED
    IP_PATH_MTU_IGNORED
    IP_IGNORED_NO_NEXT_HEADER           # IPv6 packets that end behind their headers, as they may
    IP_MEMBERSHIP_QUERIES_IN            # IGMP and MLD
    IP_MEMBERSHIP_MESSAGES_OUT
    IP_DROP_BAD_MEMBERSHIP_MESSAGE
    IP_FLOWS_ASKED                      # listen_any: nobody else took them
    IP_DROP_FLOW_UNDECIDED              # what a flow sends until somebody decides, beyond a bound
    # icmp
    ICMP_ECHO_REQUESTS_IN
    ICMP_ECHO_REPLIES_OUT
    ICMP_ECHO_REPLIES_IN
    ICMP_ERRORS_IN
    ICMP_ERRORS_OUT
    ICMP_ERRORS_SUPPRESSED_BY_RULE
    ICMP_ERRORS_SUPPRESSED_BY_RATE
    ICMP_DROP_BAD_CHECKSUM
    ICMP_DROP_TOO_SHORT
    ICMP_DROP_UNKNOWN_TYPE
    ICMP_DROP_ERROR_NOT_OURS            # an error about something we did not send
    ICMP_IGNORED_DEPRECATED             # source quench and its kin (RFC 6633, 6918)
    ICMP_IGNORED_REDIRECT               # there is but one way out of here
    ICMP_DROP_REPLY_NOT_OURS            # an echo reply that no socket waits for
    # udp
    UDP_DATAGRAMS_IN
    UDP_DATAGRAMS_OUT
    UDP_DROP_TOO_SHORT
    UDP_DROP_BAD_LENGTH
    UDP_DROP_BAD_CHECKSUM
    UDP_DROP_ZERO_CHECKSUM
    UDP_DROP_QUEUE_FULL
    UDP_PORT_UNREACHABLE
    UDP_ERRORS_DELIVERED
    UDP_DROP_SHUT_DOWN                  # to a socket whose receiving side was shut down
    # tcp
    TCP_SEGMENTS_IN
    TCP_SEGMENTS_OUT
    TCP_BYTES_IN
    TCP_BYTES_OUT
    TCP_CONNECTIONS_OPENED_ACTIVE
    TCP_CONNECTIONS_OPENED_PASSIVE
    TCP_CONNECTIONS_CLOSED
    TCP_CONNECTIONS_RESET
    TCP_CONNECTIONS_TIMED_OUT
    TCP_CONNECTIONS_REFUSED
    TCP_RESETS_OUT
    TCP_RESETS_IN
    TCP_DROP_TOO_SHORT
    TCP_DROP_BAD_CHECKSUM
    TCP_DROP_BAD_FLAGS
    TCP_DROP_NO_CONNECTION
    TCP_DROP_OUT_OF_WINDOW
    TCP_DROP_PAWS
    TCP_DROP_BAD_ACK
    TCP_DROP_NO_ACK
    TCP_DROP_DATA_AFTER_CLOSE
    TCP_DROP_OUT_OF_ORDER_FULL
    TCP_DROP_NO_MEMORY
    TCP_DROP_RESET_OUT_OF_WINDOW
    TCP_DROP_RESET_IN_TIME_WAIT
    TCP_DROP_BACKLOG_FULL
    TCP_DROP_TTL
    TCP_DROP_BAD_COOKIE
    TCP_SYN_COOKIES_SENT
    TCP_SYN_COOKIES_ACCEPTED
    TCP_CHALLENGE_ACKS
    TCP_CHALLENGE_ACKS_SUPPRESSED
    TCP_DUPLICATE_DATA_IN
    TCP_OUT_OF_ORDER_IN
    TCP_DUPLICATE_ACKS_IN
    TCP_RETRANSMITTED_SEGMENTS
    TCP_FAST_RETRANSMITS
    TCP_LIMITED_TRANSMITS
    TCP_RECOVERIES
    TCP_TIMEOUTS
    TCP_ZERO_WINDOW_PROBES
    TCP_KEEPALIVES
    TCP_DELAYED_ACKS
    TCP_SACK_RENEGED
    TCP_ECN_MARKS_IN                    # segments that a router has marked (RFC 3168)
    TCP_ECN_ECHOES_IN                   # ACKs that say so of ours
    TCP_TIME_WAIT_REUSED
    TCP_TIME_WAIT_RECYCLED
    TCP_ORPHANS_ABORTED
    TCP_ERRORS_DELIVERED
    TCP_REORDERINGS                     # arrivals out of order that were no losses
    TCP_DUPLICATE_REPORTS_IN            # D-SACKs
    TCP_UNDONE                          # reductions of the window that were mistakes
    TCP_SPURIOUS_TIMEOUTS               # found by F-RTO
    TCP_TAIL_PROBES
    TCP_TAIL_PROBE_RECOVERIES           # losses that a probe has repaired
    TCP_BLACK_HOLES                     # timeouts after which smaller packets are tried (RFC 4821)
    TCP_MTU_PROBES                      # packets to see whether the path takes them
    TCP_MTU_PROBES_FAILED
    TCP_FAST_OPEN_ACTIVE                # data of our SYNs that was acknowledged (RFC 7413)
    TCP_FAST_OPEN_ACTIVE_FAILED
    TCP_FAST_OPEN_PASSIVE               # SYNs whose cookie was good
    TCP_FAST_OPEN_PASSIVE_FAILED        # whose cookie was not
    TCP_FAST_OPEN_OLD_KEY               # whose cookie was of the key before
    TCP_FAST_OPEN_COOKIES_REQUESTED
    TCP_FAST_OPEN_QUEUE_FULL
    TCP_FAST_OPEN_BLACK_HOLES           # our data in SYNs seems to be eaten: paused
    COUNTER_COUNT
