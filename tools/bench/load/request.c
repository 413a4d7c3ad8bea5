/* Request and response: a number of connections, each with one request in flight; or at a rate.

   At a rate, request number k is due at k / rate and belongs to connection k modulo their number.
   Its latency counts from when it was due, not from when the connection was free for it. */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

typedef struct {
    int fd;
    int awaited; /* bytes of the response that have not come yet */
    unsigned char number;
    int64_t sent_at; /* at a rate: when it was due, or the next one is */
} Conversation;

enum { PATIENCE_NS = 1000000000 };

static Conversation all[MAX_CONNECTIONS];
static unsigned char buffer[1 << 16];

static void ask(Conversation *one, int size, int64_t when)
{
    one->number++;
    one->awaited = size;
    one->sent_at = when;
    memset(buffer, one->number, size);
    if (send(one->fd, buffer, size, MSG_NOSIGNAL) != size)
        fail("send");
}

/* 1 when the response is whole. */
static int answered(Conversation *one, Report *report)
{
    ssize_t got = recv(one->fd, buffer, sizeof buffer, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN))
        fail("recv");
    if (got < 0)
        return 0;
    if (got > one->awaited || buffer[0] != one->number || buffer[got - 1] != one->number)
        report->wrong++;
    one->awaited -= got;
    return one->awaited <= 0;
}

static int open_all(const Options *options)
{
    int poller = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < options->number; i++) {
        struct epoll_event event = {EPOLLIN, {.ptr = &all[i]}};
        all[i].fd = tcp_connect(options);
        epoll_ctl(poller, EPOLL_CTL_ADD, all[i].fd, &event);
    }
    return poller;
}

static void close_all(const Options *options)
{
    for (int i = 0; i < options->number; i++)
        close(all[i].fd);
}

/* 1 when the response is whole, and now counts. */
static int counted(Conversation *one, const Options *options, Report *report, Run *run, int64_t now)
{
    if (!answered(one, report))
        return 0;
    run_count(run, now, 1, options->size);
    if (now >= run->begin)
        latency_add(report, now - one->sent_at);
    return 1;
}

void request_response(const Options *options, Report *report)
{
    struct epoll_event events[256];
    int poller = open_all(options);
    int64_t now, last;
    Run run;
    run_begin(&run, options, report);
    for (int i = 0; i < options->number; i++)
        ask(&all[i], options->size, run.start);
    last = run.start;
    for (now = run.start; run_tick(&run, now); now = now_ns()) {
        int ready = epoll_wait(poller, events, 256, 100);
        now = now_ns();
        if (ready == 0 && now - last > PATIENCE_NS) {
            report->lost += options->number;
            break;
        }
        for (int i = 0; i < ready; i++) {
            Conversation *one = events[i].data.ptr;
            if (!counted(one, options, report, &run, now))
                continue;
            last = now;
            ask(one, options->size, now);
        }
    }
    run_end(&run, now);
    close_all(options);
}

void paced(const Options *options, Report *report)
{
    struct epoll_event events[256];
    double interval = 1e9 / options->rate;
    int poller = open_all(options);
    int64_t now, last;
    Run run;
    run_begin(&run, options, report);
    for (int i = 0; i < options->number; i++)
        all[i].sent_at = run.start + (int64_t)(i * interval);
    for (now = last = run.start; run_tick(&run, now); now = now_ns()) {
        for (int i = 0; i < options->number; i++)
            if (all[i].awaited <= 0 && all[i].sent_at <= now)
                ask(&all[i], options->size, all[i].sent_at);
        int ready = epoll_wait(poller, events, 256, 0);
        now = now_ns();
        for (int i = 0; i < ready; i++) {
            Conversation *one = events[i].data.ptr;
            if (!counted(one, options, report, &run, now))
                continue;
            last = now;
            one->sent_at += (int64_t)(options->number * interval);
        }
        if (now - last > PATIENCE_NS + (int64_t)interval) {
            report->lost += options->number;
            break;
        }
    }
    run_end(&run, now);
    close_all(options);
}
