/* The limit of what a program behind a TUN device can do: it answers, but keeps no rules.

   usage: limit NAME mirror|answer offloads|plain ACK_EVERY
   mirror swaps source and destination of each packet; answer is echo, discard and chargen over TCP
   and UDP, and ping. The interface is configured by who starts this, when "ready" has been said. */
#define _GNU_SOURCE
#include "limit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/ip_icmp.h>
#include <netinet/udp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

char pattern[PATTERN * PATTERN_COPIES];
static int mirroring;

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

int open_device(const char *name, int offloads)
{
    struct ifreq request;
    int fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    memset(&request, 0, sizeof request);
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TUN | IFF_NO_PI | (offloads ? IFF_VNET_HDR : 0);
    if (fd < 0 || ioctl(fd, TUNSETIFF, &request) < 0)
        fail("limit: /dev/net/tun");
    if (offloads
        && ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6 | 0x20 | 0x40) < 0
        && ioctl(fd, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4 | TUN_F_TSO6) < 0)
        fail("limit: TUNSETOFFLOAD");
    return fd;
}

/* The internet checksum's sum in the machine's byte order; eight bytes at a time. */
uint32_t sum_bytes(const void *data, int length, uint32_t start)
{
    const uint8_t *bytes = data;
    uint64_t sum = start, word, carry = 0;
    for (; length >= 8; length -= 8, bytes += 8) {
        memcpy(&word, bytes, 8);
        sum += word & 0xffffffff;
        carry += word >> 32;
    }
    sum += carry;
    for (; length >= 2; length -= 2, bytes += 2)
        sum += bytes[0] | bytes[1] << 8;
    if (length)
        sum += bytes[0];
    sum = (sum & 0xffffffff) + (sum >> 32);
    return (uint32_t)((sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32));
}

uint16_t fold(uint32_t sum)
{
    sum = (sum & 0xffff) + (sum >> 16);
    return (uint16_t)((sum & 0xffff) + (sum >> 16));
}

/* parts[0] is for the virtio-net header. */
void send_packet(const Limit *limit, struct virtio_net_hdr *header, struct iovec *parts, int count)
{
    parts[0] = (struct iovec){header, sizeof *header};
    if (limit->offloads ? writev(limit->fd, parts, count) < 0
                        : writev(limit->fd, parts + 1, count - 1) < 0)
        if (errno != EAGAIN && errno != EIO)
            fail("limit: write");
}

static void swap_addresses(struct iphdr *ip)
{
    uint32_t source = ip->saddr;
    ip->saddr = ip->daddr;
    ip->daddr = source;
}

/* The packet goes back as it is: sums don't depend on the order, so checksums stay right. */
static void send_back(const Limit *limit, struct virtio_net_hdr *header, void *packet, int length)
{
    struct iovec parts[2] = {{0}, {packet, length}};
    swap_addresses(packet);
    send_packet(limit, header, parts, 2);
}

static void answer_ping(const Limit *limit, struct virtio_net_hdr *header, struct iphdr *ip,
                        int length)
{
    struct icmphdr *icmp = (struct icmphdr *)((uint8_t *)ip + 20);
    if (icmp->type != ICMP_ECHO)
        return;
    icmp->type = ICMP_ECHOREPLY;
    icmp->checksum = fold(icmp->checksum + htons(ICMP_ECHO << 8));
    send_back(limit, header, ip, length);
}

static void answer_udp(const Limit *limit, struct virtio_net_hdr *header, struct iphdr *ip,
                       int length)
{
    struct udphdr *udp = (struct udphdr *)((uint8_t *)ip + 20);
    uint16_t port = udp->source;
    if (udp->dest != htons(ECHO))
        return;
    udp->source = udp->dest;
    udp->dest = port;
    send_back(limit, header, ip, length);
}

void answer(const Limit *limit, struct virtio_net_hdr *header, uint8_t *packet, int length)
{
    struct iphdr *ip = (struct iphdr *)packet;
    if (length < HEADERS - 12 || ip->version != 4 || ip->ihl != 5)
        return;
    if (mirroring)
        send_back(limit, header, packet, length);
    else if (ip->protocol == IPPROTO_TCP && length >= HEADERS)
        answer_tcp(limit, ip, length);
    else if (ip->protocol == IPPROTO_UDP)
        answer_udp(limit, header, ip, length);
    else if (ip->protocol == IPPROTO_ICMP)
        answer_ping(limit, header, ip, length);
}

int main(int count, char **arguments)
{
    static uint8_t buffer[sizeof(struct virtio_net_hdr) + 65536];
    int before = 0;
    Limit limit;
    if (count != 5) {
        fprintf(stderr, "usage: limit NAME mirror|answer offloads|plain ACK_EVERY\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < PATTERN * PATTERN_COPIES; i++) {
        int line = i % PATTERN / 74, column = i % 74;
        pattern[i] = column < 72 ? 32 + (line + column) % 95 : column == 72 ? '\r' : '\n';
    }
    mirroring = !strcmp(arguments[2], "mirror");
    limit.offloads = !strcmp(arguments[3], "offloads");
    limit.ack_every = atoi(arguments[4]);
    limit.fd = open_device(arguments[1], limit.offloads);
    if (limit.offloads)
        before = sizeof(struct virtio_net_hdr);
    puts("ready");
    fflush(stdout);
    for (;;) {
        ssize_t got = read(limit.fd, buffer, sizeof buffer);
        struct pollfd input = {limit.fd, POLLIN, 0};
        if (got > before) {
            answer(&limit, (struct virtio_net_hdr *)buffer, buffer + before, got - before);
            continue;
        }
        if (got < 0 && errno != EAGAIN)
            fail("limit: read");
        flush_acks(&limit);
        poll(&input, 1, -1);
    }
}
