/* UDP in trains of 44 datagrams of 1472 bytes (UDP_SEGMENT): in, and echoed.

   UDP has no acknowledgments, so what goes in is clocked by probes: after every few trains a
   datagram to the echo service, whose answer says that all before it has been taken. */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <linux/udp.h>
#include <poll.h>
#include <string.h>
#include <unistd.h>

enum { PIECE = 1472, PIECES = 44, TRAIN = PIECE * PIECES, ECHO_PORT = 7 };
enum { TRAINS_PER_PROBE = 8, PROBES_IN_FLIGHT = 4, PATIENCE_MS = 1000 };

static char train[TRAIN], answer[1 << 16];

static int open_socket(const Options *options, int port, int segment)
{
    Options there = *options;
    int one = 1, fd = socket(there.peer.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (is_ipv6(options))
        there.peer.v6.sin6_port = htons(port);
    else
        there.peer.v4.sin_port = htons(port);
    grow_buffers(fd, 16 << 20);
    if (connect(fd, &there.peer.any, there.peer_length) < 0)
        fail("connect");
    if (segment && setsockopt(fd, IPPROTO_UDP, UDP_SEGMENT, &segment, sizeof segment) < 0)
        fail("UDP_SEGMENT");
    if (segment && setsockopt(fd, IPPROTO_UDP, UDP_GRO, &one, sizeof one) < 0)
        fail("UDP_GRO");
    return fd;
}

static int wait_for(int fd)
{
    struct pollfd ready = {fd, POLLIN, 0};
    return poll(&ready, 1, PATIENCE_MS) == 1;
}

void udp_in(const Options *options, Report *report)
{
    int data = open_socket(options, options->port, PIECE);
    int probe = open_socket(options, ECHO_PORT, 0);
    uint32_t asked = 0, answered = 0, reply;
    int64_t now;
    Run run;
    run_begin(&run, options, report);
    for (now = run.start; run_tick(&run, now); now = now_ns()) {
        for (int i = 0; i < TRAINS_PER_PROBE; i++)
            if (send(data, train, TRAIN, 0) < 0)
                fail("send of a train");
        asked++;
        if (send(probe, &asked, sizeof asked, 0) < 0)
            fail("send of a probe");
        while (asked - answered >= PROBES_IN_FLIGHT) {
            if (!wait_for(probe)) {
                report->lost += asked - answered;
                answered = asked;
                break;
            }
            if (recv(probe, &reply, sizeof reply, 0) != sizeof reply)
                fail("recv of a probe");
            report->lost += reply - answered - 1;
            report->wrong += reply > asked;
            run_count(&run, now_ns(), (reply - answered) * TRAINS_PER_PROBE * PIECES,
                      (uint64_t)(reply - answered) * TRAINS_PER_PROBE * TRAIN);
            answered = reply;
        }
    }
    run_end(&run, now);
}

void udp_train_echo(const Options *options, Report *report)
{
    int fd = open_socket(options, options->port, PIECE);
    int64_t in_flight = 0; /* bytes */
    int64_t now;
    Run run;
    run_begin(&run, options, report);
    for (int i = 0; i < TRAIN; i++)
        train[i] = (char)(i / PIECE);
    for (now = run.start; run_tick(&run, now); now = now_ns()) {
        while (in_flight + TRAIN <= (int64_t)options->number * TRAIN) {
            if (send(fd, train, TRAIN, 0) < 0)
                fail("send of a train");
            in_flight += TRAIN;
        }
        if (!wait_for(fd)) {
            report->lost += in_flight / PIECE;
            in_flight = 0;
            continue;
        }
        ssize_t got = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
        if (got < 0)
            continue;
        if (got % PIECE || answer[got - 1] != answer[got - PIECE])
            report->wrong++;
        in_flight = in_flight > got ? in_flight - got : 0;
        run_count(&run, now_ns(), got / PIECE, got);
    }
    run_end(&run, now);
}
