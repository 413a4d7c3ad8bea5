/* Connections that come and go: connect, perhaps one request, close; a number at once.

   This side closes first, and waits for the other's end: a connection counts when both are done. */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <unistd.h>

typedef enum { CONNECTING, ASKED, CLOSING } Stage;

typedef struct {
    int fd;
    Stage stage;
    int64_t started;
} Visit;

static int poller, with_request;

static void start(Visit *visit, const Options *options, Report *report)
{
    struct epoll_event event = {EPOLLIN | EPOLLOUT | EPOLLET, {.ptr = visit}};
    visit->fd = tcp_socket(options);
    visit->stage = CONNECTING;
    visit->started = now_ns();
    if (connect(visit->fd, &options->peer.any, options->peer_length) < 0
        && errno != EINPROGRESS) {
        report->wrong++;
        fail("connect");
    }
    epoll_ctl(poller, EPOLL_CTL_ADD, visit->fd, &event);
}

/* 1 when the connection is over. */
static int step(Visit *visit, uint32_t events, Report *report)
{
    char byte = 'x';
    if (events & EPOLLERR) {
        report->wrong++;
        return 1;
    }
    if (visit->stage == CONNECTING && events & EPOLLOUT) {
        visit->stage = with_request ? ASKED : CLOSING;
        if (with_request && send(visit->fd, &byte, 1, MSG_NOSIGNAL) != 1)
            fail("send");
        if (!with_request)
            shutdown(visit->fd, SHUT_WR);
        return 0;
    }
    if (visit->stage == ASKED && events & EPOLLIN) {
        if (recv(visit->fd, &byte, 1, 0) != 1)
            return 0;
        report->wrong += byte != 'x';
        visit->stage = CLOSING;
        shutdown(visit->fd, SHUT_WR);
        return 0;
    }
    if (visit->stage == CLOSING && events & EPOLLIN) {
        ssize_t got = recv(visit->fd, &byte, 1, 0);
        report->wrong += got > 0;
        return got == 0;
    }
    return 0;
}

static void come_and_go(const Options *options, Report *report)
{
    static Visit all[MAX_CONNECTIONS];
    struct epoll_event events[256];
    int64_t now, last;
    Run run;
    poller = epoll_create1(EPOLL_CLOEXEC);
    run_begin(&run, options, report);
    for (int i = 0; i < options->number; i++)
        start(&all[i], options, report);
    last = run.start;
    for (now = run.start; run_tick(&run, now); now = now_ns()) {
        int ready = epoll_wait(poller, events, 256, 100);
        now = now_ns();
        if (ready == 0 && now - last > 1000000000LL) {
            report->lost += options->number;
            break;
        }
        for (int i = 0; i < ready; i++) {
            Visit *visit = events[i].data.ptr;
            if (!step(visit, events[i].events, report))
                continue;
            last = now;
            close(visit->fd);
            run_count(&run, now, 1, 0);
            if (now >= run.begin)
                latency_add(report, now - visit->started);
            start(visit, options, report);
        }
    }
    run_end(&run, now);
}

void connect_close(const Options *options, Report *report)
{
    with_request = 0;
    come_and_go(options, report);
}

void connect_request_close(const Options *options, Report *report)
{
    with_request = 1;
    come_and_go(options, report);
}
