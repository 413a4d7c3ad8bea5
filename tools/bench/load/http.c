/* Requests of HTTP/1.1 on connections that are kept, one in flight on each.

   A response has the status 200 and a body of so many bytes of the pattern of RFC 864. */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { RESPONSE = 8192, PATIENCE_MS = 5000 };

typedef struct {
    int fd;
    int got; /* bytes of the response so far */
    int64_t sent_at;
    char response[RESPONSE + 1];
} Client;

static Client all[MAX_CONNECTIONS];
static const char request[] = "GET / HTTP/1.1\r\nHost: bench\r\nUser-Agent: load\r\n\r\n";

static void ask(Client *one)
{
    one->got = 0;
    one->sent_at = now_ns();
    if (send(one->fd, request, sizeof request - 1, MSG_NOSIGNAL) != sizeof request - 1)
        fail("send");
}

/* Whether a response is what it should be. */
static int right(const char *response, const char *body, int size)
{
    const char *length = strcasestr(response, "\r\ncontent-length:");
    return !strncmp(response, "HTTP/1.1 200 ", 13) && length && length < body
        && atoi(length + 17) == size && !memcmp(body, pattern, size);
}

/* 1 when the response is whole. */
static int answered(Client *one, int size, Report *report)
{
    ssize_t got = recv(one->fd, one->response + one->got, RESPONSE - one->got, 0);
    char *body;
    if (got < 0 && errno == EAGAIN)
        return 0;
    if (got <= 0) /* or it is longer than we thought */
        fail("recv");
    one->got += got;
    one->response[one->got] = 0;
    body = strstr(one->response, "\r\n\r\n");
    if (!body)
        return 0;
    body += 4;
    if (one->got < body - one->response + size)
        return 0;
    if (one->got != body - one->response + size || !right(one->response, body, size))
        report->wrong++;
    return 1;
}

void http_requests(const Options *options, Report *report)
{
    struct epoll_event events[256];
    int poller = epoll_create1(EPOLL_CLOEXEC);
    int64_t now;
    Run run;
    if (options->size > RESPONSE / 2) {
        errno = EMSGSIZE;
        fail("size");
    }
    for (int i = 0; i < options->number; i++) {
        struct epoll_event event = {EPOLLIN, {.ptr = &all[i]}};
        all[i].fd = tcp_connect(options);
        epoll_ctl(poller, EPOLL_CTL_ADD, all[i].fd, &event);
    }
    run_begin(&run, options, report);
    for (int i = 0; i < options->number; i++)
        ask(&all[i]);
    for (now = run.start; run_tick(&run, now); now = now_ns()) {
        int ready = epoll_wait(poller, events, 256, PATIENCE_MS);
        if (ready == 0) {
            report->lost += options->number;
            break;
        }
        now = now_ns();
        for (int i = 0; i < ready; i++) {
            Client *one = events[i].data.ptr;
            if (!answered(one, options->size, report))
                continue;
            run_count(&run, now, 1, options->size);
            if (now >= run.begin)
                latency_add(report, now - one->sent_at);
            ask(one);
        }
    }
    run_end(&run, now);
    for (int i = 0; i < options->number; i++)
        close(all[i].fd);
}
