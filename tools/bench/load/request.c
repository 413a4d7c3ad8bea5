/* Request and response: a number of connections, each with one request in flight. */
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
    int64_t sent_at;
} Conversation;

static unsigned char buffer[1 << 16];

static void ask(Conversation *one, int size, int64_t now)
{
    one->number++;
    one->awaited = size;
    one->sent_at = now;
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

void request_response(const Options *options, Report *report)
{
    static Conversation all[MAX_CONNECTIONS];
    struct epoll_event events[256];
    int poller = epoll_create1(EPOLL_CLOEXEC);
    int64_t now, last;
    Run run;
    for (int i = 0; i < options->number; i++) {
        struct epoll_event event = {EPOLLIN, {.ptr = &all[i]}};
        all[i].fd = tcp_connect(options);
        epoll_ctl(poller, EPOLL_CTL_ADD, all[i].fd, &event);
    }
    run_begin(&run, options, report);
    for (int i = 0; i < options->number; i++)
        ask(&all[i], options->size, run.start);
    last = run.start;
    for (now = run.start; run_tick(&run, now); now = now_ns()) {
        int ready = epoll_wait(poller, events, 256, 100);
        now = now_ns();
        if (ready == 0 && now - last > 1000000000LL) {
            report->lost += options->number;
            break;
        }
        for (int i = 0; i < ready; i++) {
            Conversation *one = events[i].data.ptr;
            if (!answered(one, report))
                continue;
            last = now;
            run_count(&run, now, 1, options->size);
            if (now >= run.begin)
                latency_add(report, now - one->sent_at);
            ask(one, options->size, now);
        }
    }
    run_end(&run, now);
    for (int i = 0; i < options->number; i++)
        close(all[i].fd);
}
