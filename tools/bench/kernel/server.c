/* The kernel's row: echo (7), discard (9) and chargen (19) over TCP and UDP on its sockets, IPv4's
   and IPv6's.

   One thread with epoll. usage: server */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/udp.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ECHO = 7, DISCARD = 9, CHARGEN = 19, UDP = 256, LISTENER = 512, KIND = 1023 };
enum { PATTERN = 95 * 74, COPIES = 38, CHUNK = 256 << 10, BATCH = 32, MAX_FDS = 65536 };

static char pattern[PATTERN * (COPIES + 1)], buffer[CHUNK];
static uint64_t position[MAX_FDS]; /* in the pattern, by fd */
static int poller;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(int fd, int kind, uint32_t events)
{
    struct epoll_event event = {events, {.u64 = (uint64_t)fd << 32 | kind}};
    if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event) < 0)
        fail("epoll_ctl");
}

static void bind_port(int fd, int family, int port)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    int one = 1, error;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (family == AF_INET6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
        error = bind(fd, (struct sockaddr *)&v6, sizeof v6);
    } else {
        error = bind(fd, (struct sockaddr *)&v4, sizeof v4);
    }
    if (error)
        fail("bind");
}

static void open_port(int family, int type, int port)
{
    int one = 1, big = 32 << 20;
    int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0 && family == AF_INET6) /* a kernel without it */
        return;
    bind_port(fd, family, port);
    if (type == SOCK_STREAM) {
        if (listen(fd, 4096) < 0)
            fail("listen");
        watch(fd, port | LISTENER, EPOLLIN);
        return;
    }
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &big, sizeof big) < 0)
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &big, sizeof big);
    setsockopt(fd, IPPROTO_UDP, UDP_GRO, &one, sizeof one);
    watch(fd, port | UDP, EPOLLIN);
}

static void accept_all(int listener, int port)
{
    int fd, one = 1;
    while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
        if (fd >= MAX_FDS) {
            close(fd);
            continue;
        }
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        position[fd] = 0;
        watch(fd, port, port == CHARGEN ? EPOLLIN | EPOLLOUT : EPOLLIN);
    }
}

static int send_all(int fd, const char *data, ssize_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
        struct pollfd room = {fd, POLLOUT, 0};
        if (sent < 0 && (errno != EAGAIN || poll(&room, 1, 1000) != 1))
            return -1;
        if (sent > 0)
            data += sent, length -= sent;
    }
    return 0;
}

static void serve_stream(int fd, int port, uint32_t events)
{
    if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
        ssize_t got = recv(fd, buffer, sizeof buffer, 0);
        if (got == 0 || (got < 0 && errno != EAGAIN)
            || (got > 0 && port == ECHO && send_all(fd, buffer, got) < 0)) {
            close(fd);
            return;
        }
    }
    if (events & EPOLLOUT) {
        ssize_t sent = send(fd, pattern + position[fd] % PATTERN, CHUNK, MSG_NOSIGNAL);
        if (sent > 0)
            position[fd] += sent;
    }
}

/* Trains are echoed as trains: UDP_GRO says how large their pieces are, UDP_SEGMENT takes it. */
static void serve_datagrams(int fd, int port)
{
    static char data[BATCH][1 << 16], control[BATCH][64];
    static struct sockaddr_storage names[BATCH];
    struct mmsghdr messages[BATCH];
    struct iovec parts[BATCH];
    for (int i = 0; i < BATCH; i++) {
        parts[i] = (struct iovec){data[i], sizeof data[i]};
        messages[i].msg_hdr = (struct msghdr){&names[i], sizeof names[i], &parts[i], 1,
                                              control[i], sizeof control[i], 0};
    }
    int got = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT, NULL);
    if (got <= 0 || port != ECHO)
        return;
    for (int i = 0; i < got; i++) {
        struct msghdr *message = &messages[i].msg_hdr;
        struct cmsghdr *cmsg = CMSG_FIRSTHDR(message);
        uint16_t piece = 0;
        if (cmsg && cmsg->cmsg_level == IPPROTO_UDP && cmsg->cmsg_type == UDP_GRO) {
            int value;
            memcpy(&value, CMSG_DATA(cmsg), sizeof value);
            piece = value;
        }
        parts[i].iov_len = messages[i].msg_len;
        message->msg_controllen = 0;
        message->msg_control = NULL;
        if (piece && piece < messages[i].msg_len) {
            message->msg_control = control[i];
            message->msg_controllen = CMSG_SPACE(sizeof piece);
            cmsg = CMSG_FIRSTHDR(message);
            cmsg->cmsg_level = IPPROTO_UDP;
            cmsg->cmsg_type = UDP_SEGMENT;
            cmsg->cmsg_len = CMSG_LEN(sizeof piece);
            memcpy(CMSG_DATA(cmsg), &piece, sizeof piece);
        }
    }
    sendmmsg(fd, messages, got, 0);
}

int main(void)
{
    struct epoll_event events[256];
    static const int ports[] = {DISCARD, ECHO, CHARGEN};
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < PATTERN * (COPIES + 1); i++) {
        int line = i % PATTERN / 74, column = i % 74;
        pattern[i] = column < 72 ? 32 + (line + column) % 95 : column == 72 ? '\r' : '\n';
    }
    poller = epoll_create1(EPOLL_CLOEXEC);
    for (int i = 0; i < 3; i++) {
        open_port(AF_INET, SOCK_STREAM, ports[i]);
        open_port(AF_INET, SOCK_DGRAM, ports[i]);
        open_port(AF_INET6, SOCK_STREAM, ports[i]);
        open_port(AF_INET6, SOCK_DGRAM, ports[i]);
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        int ready = epoll_wait(poller, events, 256, -1);
        for (int i = 0; i < ready; i++) {
            int fd = events[i].data.u64 >> 32, kind = events[i].data.u64 & KIND;
            int port = kind & (UDP - 1);
            if (kind & LISTENER)
                accept_all(fd, port);
            else if (kind & UDP)
                serve_datagrams(fd, port);
            else
                serve_stream(fd, port, events[i].events);
        }
    }
}
