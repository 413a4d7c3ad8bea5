/* ICMP, ICMPv6 and UDP echo with a number of packets in flight; every answer is checked. */
#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

enum { BATCH = 64, MAX_SIZE = 2048, ICMP_HEADER = 8, PATIENCE_MS = 1000 };

/* What is echoed: of UDP just the payload. A raw socket of IPv4 shows the IP header of what it
   receives; one of IPv6 does not, and its kernel does the checksum. */
typedef struct {
    int icmp;
    int ip_header;
    int request, reply; /* types */
} Kind;

static const Kind datagrams = {0};
static const Kind icmp_v4 = {1, 20, ICMP_ECHO, ICMP_ECHOREPLY};
static const Kind icmp_v6 = {1, 0, ICMPV6_ECHO_REQUEST, ICMPV6_ECHO_REPLY};

static unsigned char out[BATCH][MAX_SIZE], in[BATCH][MAX_SIZE];
static struct mmsghdr out_messages[BATCH], in_messages[BATCH];
static struct iovec out_parts[BATCH], in_parts[BATCH];
static unsigned char pending[1 << 16]; /* by sequence number */
static uint16_t next_number, identity;
static uint64_t in_flight;

static uint16_t checksum(const unsigned char *data, int length)
{
    uint32_t sum = 0;
    uint16_t word;
    for (int i = 0; i + 1 < length; i += 2) {
        memcpy(&word, data + i, 2);
        sum += word;
    }
    if (length & 1)
        sum += data[length - 1];
    sum = (sum & 0xffff) + (sum >> 16);
    return ~((sum & 0xffff) + (sum >> 16));
}

/* Its length. */
static int write_request(unsigned char *packet, const Kind *kind, int size)
{
    uint16_t number = next_number++;
    pending[number] = 1;
    if (!kind->icmp) {
        memcpy(packet, &number, 2);
        packet[size - 1] = (unsigned char)number;
        return size;
    }
    struct icmphdr header = {.type = kind->request};
    header.un.echo.id = identity;
    header.un.echo.sequence = number;
    memcpy(packet, &header, sizeof header);
    header.checksum = checksum(packet, ICMP_HEADER + size);
    memcpy(packet, &header, sizeof header);
    return ICMP_HEADER + size;
}

static int send_some(int fd, const Kind *kind, int size, int count)
{
    uint16_t first = next_number;
    int sent;
    if (count > BATCH)
        count = BATCH;
    for (int i = 0; i < count; i++)
        out_parts[i].iov_len = write_request(out[i], kind, size);
    sent = sendmmsg(fd, out_messages, count, MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN && errno != ENOBUFS)
        fail("sendmmsg");
    sent = sent < 0 ? 0 : sent;
    for (int i = sent; i < count; i++)
        pending[(uint16_t)(first + i)] = 0;
    next_number = first + sent;
    in_flight += sent;
    return sent;
}

/* 1 if it answers one of ours. */
static int check(const unsigned char *packet, int length, const Kind *kind, int size,
                 Report *report)
{
    uint16_t number;
    if (kind->icmp) {
        struct icmphdr header;
        if (length != kind->ip_header + ICMP_HEADER + size)
            return 0;
        memcpy(&header, packet + kind->ip_header, sizeof header);
        if (header.type != kind->reply || header.un.echo.id != identity)
            return 0;
        number = header.un.echo.sequence;
    } else {
        memcpy(&number, packet, 2);
        if (length != size || packet[size - 1] != (unsigned char)number)
            report->wrong++;
    }
    if (!pending[number])
        return 0;
    pending[number] = 0;
    in_flight--;
    return 1;
}

static void prepare(void)
{
    for (int i = 0; i < BATCH; i++) {
        out_parts[i].iov_base = out[i];
        in_parts[i].iov_base = in[i];
        in_parts[i].iov_len = MAX_SIZE;
        out_messages[i].msg_hdr.msg_iov = &out_parts[i];
        in_messages[i].msg_hdr.msg_iov = &in_parts[i];
        out_messages[i].msg_hdr.msg_iovlen = in_messages[i].msg_hdr.msg_iovlen = 1;
    }
    identity = (uint16_t)getpid();
}

static void echo(int fd, const Kind *kind, const Options *options, Report *report)
{
    int poller = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {EPOLLIN, {.fd = fd}};
    int size = options->size < 2 ? 2 : options->size;
    int64_t now;
    Run run;
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    grow_buffers(fd, 8 << 20);
    if (connect(fd, &options->peer.any, options->peer_length) < 0)
        fail("connect");
    prepare();
    run_begin(&run, options, report);
    for (now = run.start; run_tick(&run, now);) {
        while (in_flight < (uint64_t)options->number)
            if (send_some(fd, kind, size, options->number - in_flight) == 0)
                break;
        if (epoll_wait(poller, &event, 1, PATIENCE_MS) == 0) {
            report->lost += in_flight;
            in_flight = 0;
            memset(pending, 0, sizeof pending);
        }
        int got = recvmmsg(fd, in_messages, BATCH, MSG_DONTWAIT, NULL);
        if (got < 0 && errno != EAGAIN && errno != ECONNREFUSED)
            fail("recvmmsg");
        now = now_ns();
        for (int i = 0; i < got; i++)
            if (check(in[i], in_messages[i].msg_len, kind, size, report))
                run_count(&run, now, 1, size);
    }
    run_end(&run, now);
    close(fd);
}

static int raw_socket(int family, int protocol)
{
    int fd = socket(family, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (fd < 0)
        fail("raw socket");
    return fd;
}

static int icmp_socket(void)
{
    uint32_t all_but_replies = ~(1u << ICMP_ECHOREPLY);
    int fd = raw_socket(AF_INET, IPPROTO_ICMP);
    setsockopt(fd, SOL_RAW, ICMP_FILTER, &all_but_replies, sizeof all_but_replies);
    return fd;
}

/* RFC 3542 section 3.2: a bit that is set keeps a type away. */
static int icmp6_socket(void)
{
    struct icmp6_filter filter;
    int fd = raw_socket(AF_INET6, IPPROTO_ICMPV6);
    memset(&filter, 0xff, sizeof filter);
    filter.data[ICMPV6_ECHO_REPLY >> 5] &= ~(1u << (ICMPV6_ECHO_REPLY & 31));
    setsockopt(fd, SOL_ICMPV6, ICMPV6_FILTER, &filter, sizeof filter);
    return fd;
}

void icmp_echo(const Options *options, Report *report)
{
    if (is_ipv6(options))
        echo(icmp6_socket(), &icmp_v6, options, report);
    else
        echo(icmp_socket(), &icmp_v4, options, report);
}

void udp_echo(const Options *options, Report *report)
{
    int fd = socket(options->peer.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        fail("socket");
    echo(fd, &datagrams, options, report);
}
