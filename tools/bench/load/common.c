/* The clock, the phases of a run, latencies, sockets. */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

char pattern[PATTERN * PATTERN_COPIES];

int64_t now_ns(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000000000LL + time.tv_nsec;
}

void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

void run_begin(Run *run, const Options *options, Report *report)
{
    run->options = options;
    run->report = report;
    run->start = now_ns();
    run->begin = run->start + options->warmup;
    run->end = run->begin + options->duration;
}

int run_tick(Run *run, int64_t now)
{
    return now < run->end;
}

void run_count(Run *run, int64_t now, uint64_t operations, uint64_t bytes)
{
    run->report->total_operations += operations;
    run->report->total_bytes += bytes;
    if (now >= run->begin && now < run->end) {
        run->report->operations += operations;
        run->report->bytes += bytes;
    }
}

void run_end(Run *run, int64_t now)
{
    int64_t end = now < run->end ? now : run->end;
    run->report->seconds = end > run->begin ? (end - run->begin) / 1e9 : 0;
}

void latency_add(Report *report, int64_t ns)
{
    uint64_t value = ns < 16 ? 16 : (uint64_t)ns;
    int power = 63 - __builtin_clzll(value);
    report->latency[power * 16 + ((value >> (power - 4)) & 15)]++;
}

double latency_quantile(const Report *report, double quantile)
{
    uint64_t all = 0, seen = 0;
    for (int i = 0; i < BUCKETS; i++)
        all += report->latency[i];
    for (int i = 0; i < BUCKETS && all; i++) {
        seen += report->latency[i];
        if (seen >= quantile * all)
            return (double)((16ULL + i % 16) << (i / 16)) / 16;
    }
    return 0;
}

int is_ipv6(const Options *options)
{
    return options->peer.any.sa_family == AF_INET6;
}

int tcp_socket(const Options *options)
{
    int one = 1, type = SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    int fd = socket(options->peer.any.sa_family, type, 0);
    if (fd < 0)
        fail("socket");
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    return fd;
}

int tcp_connect(const Options *options)
{
    int error, fd = tcp_socket(options);
    socklen_t length = sizeof error;
    struct pollfd ready = {fd, POLLOUT, 0};
    if (connect(fd, &options->peer.any, options->peer_length) < 0 && errno != EINPROGRESS)
        fail("connect");
    if (poll(&ready, 1, 5000) != 1) {
        errno = ETIMEDOUT;
        fail("connect");
    }
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    if (error) {
        errno = error;
        fail("connect");
    }
    return fd;
}

/* Beyond rmem_max where we may. */
void grow_buffers(int fd, int bytes)
{
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes) < 0)
        setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
}

void pattern_fill(void)
{
    for (int i = 0; i < PATTERN * PATTERN_COPIES; i++) {
        int line = i % PATTERN / 74, column = i % 74;
        pattern[i] = column < 72 ? 32 + (line + column) % 95 : column == 72 ? '\r' : '\n';
    }
}
