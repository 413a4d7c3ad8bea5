/* Bulk in (to a sink) and bulk out (from a source) over one or more connections. */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { CHUNK = 256 << 10, CHECKED = 64, PATIENCE_MS = 5000 };

static uint64_t acknowledged(int fd)
{
    struct tcp_info info;
    socklen_t length = sizeof info;
    memset(&info, 0, sizeof info);
    getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length);
    return info.tcpi_bytes_acked;
}

static void note_algorithm(int fd, Report *report)
{
    socklen_t length = sizeof report->note;
    getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, report->note, &length);
}

static int open_all(const Options *options, int *fds, uint32_t events)
{
    int poller = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < options->number; i++) {
        struct epoll_event event = {events, {.u32 = i}};
        fds[i] = tcp_connect(options);
        epoll_ctl(poller, EPOLL_CTL_ADD, fds[i], &event);
    }
    return poller;
}

/* All is sent: the end, and the other side's end, which comes after it has taken everything. */
static void finish_in(int fd, Report *report)
{
    char byte;
    int queued = -1;
    int64_t limit = now_ns() + PATIENCE_MS * 1000000LL;
    ssize_t got = -1;
    shutdown(fd, SHUT_WR);
    while (now_ns() < limit && (got = read(fd, &byte, 1)) < 0 && errno == EAGAIN)
        usleep(200);
    ioctl(fd, SIOCOUTQ, &queued);
    if (got != 0 || queued != 0)
        report->lost++;
    close(fd);
}

void stream_in(const Options *options, Report *report)
{
    int fds[MAX_CONNECTIONS];
    uint64_t acked = 0;
    int warm = 0;
    int poller = open_all(options, fds, EPOLLOUT);
    struct epoll_event events[64];
    Run run;
    note_algorithm(fds[0], report);
    run_begin(&run, options, report);
    for (int64_t now = run.start; run_tick(&run, now); now = now_ns()) {
        if (!warm && now >= run.begin) {
            warm = 1;
            run.begin = now;
            for (int i = 0; i < options->number; i++)
                acked += acknowledged(fds[i]);
        }
        int ready = epoll_wait(poller, events, 64, 10);
        for (int i = 0; i < ready; i++) {
            ssize_t sent = send(fds[events[i].data.u32], pattern, CHUNK, MSG_NOSIGNAL);
            if (sent > 0)
                report->total_bytes += sent;
            else if (errno != EAGAIN)
                fail("send");
        }
    }
    for (int i = 0; i < options->number; i++)
        report->bytes += acknowledged(fds[i]);
    report->bytes -= acked;
    report->seconds = (now_ns() - run.begin) / 1e9;
    for (int i = 0; i < options->number; i++)
        finish_in(fds[i], report);
}

static int as_expected(const char *data, uint64_t position, ssize_t length)
{
    ssize_t some = length < CHECKED ? length : CHECKED;
    return !memcmp(data, pattern + position % PATTERN, some)
        && !memcmp(data + length - some, pattern + (position + length - some) % PATTERN, some);
}

void stream_out(const Options *options, Report *report)
{
    int fds[MAX_CONNECTIONS];
    static uint64_t position[MAX_CONNECTIONS];
    int poller = open_all(options, fds, EPOLLIN);
    char *buffer = malloc(CHUNK);
    struct epoll_event events[64];
    Run run;
    note_algorithm(fds[0], report);
    run_begin(&run, options, report);
    for (int64_t now = run.start; run_tick(&run, now); now = now_ns()) {
        int ready = epoll_wait(poller, events, 64, 10);
        for (int i = 0; i < ready; i++) {
            int which = events[i].data.u32;
            ssize_t got = recv(fds[which], buffer, CHUNK, 0);
            if (got == 0 || (got < 0 && errno != EAGAIN))
                fail("recv");
            if (got < 0)
                continue;
            report->wrong += !as_expected(buffer, position[which], got);
            position[which] += got;
            run_count(&run, now, 0, got);
        }
    }
    run_end(&run, now_ns());
    for (int i = 0; i < options->number; i++)
        close(fds[i]);
    free(buffer);
}
