/* The limit of what a program behind a TUN device can do: it answers, but keeps no rules.

   usage: limit NAME mirror|answer offloads|plain ACK_EVERY
   mirror swaps source and destination of each packet; answer is echo, discard and chargen over TCP
   and UDP, and ping; of IPv4 and IPv6. The interface is configured by who starts this, when "ready"
   has been said. */
#define _GNU_SOURCE
#include "limit.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <netinet/icmp6.h>
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

static void swap_addresses(const Packet *packet)
{
    uint8_t source[16], *addresses = packet->data + packet->addresses;
    memcpy(source, addresses, packet->address);
    memcpy(addresses, addresses + packet->address, packet->address);
    memcpy(addresses + packet->address, source, packet->address);
}

/* The packet goes back as it is: sums don't depend on the order, so checksums stay right. */
static void send_back(const Limit *limit, struct virtio_net_hdr *header, const Packet *packet)
{
    struct iovec parts[2] = {{0}, {packet->data, packet->length}};
    swap_addresses(packet);
    send_packet(limit, header, parts, 2);
}

/* The sum of the message changes by what its type does (RFC 1624). */
static void answer_ping(const Limit *limit, struct virtio_net_hdr *header, const Packet *packet,
                        int request, int reply)
{
    struct icmphdr *icmp = (struct icmphdr *)(packet->data + packet->header);
    if (icmp->type != request || packet->length < packet->header + ICMP_HEADER)
        return;
    icmp->type = reply;
    icmp->checksum = fold(icmp->checksum + htons(request << 8) + htons(~(reply << 8)));
    send_back(limit, header, packet);
}

static void answer_udp(const Limit *limit, struct virtio_net_hdr *header, const Packet *packet)
{
    struct udphdr *udp = (struct udphdr *)(packet->data + packet->header);
    uint16_t port = udp->source;
    if (udp->dest != htons(ECHO) || packet->length < packet->header + UDP_HEADER)
        return;
    udp->source = udp->dest;
    udp->dest = port;
    send_back(limit, header, packet);
}

/* 0 if it is none that we answer. */
static int parse(Packet *packet, uint8_t *data, int length)
{
    if (length >= IPV4_HEADER && data[0] == 0x45)
        *packet = (Packet){data, length, IPV4_HEADER, data[9], 12, 4};
    else if (length >= IPV6_HEADER && data[0] >> 4 == 6)
        *packet = (Packet){data, length, IPV6_HEADER, data[6], 8, 16};
    else
        return 0;
    return 1;
}

void answer(const Limit *limit, struct virtio_net_hdr *header, uint8_t *data, int length)
{
    Packet packet;
    if (!parse(&packet, data, length))
        return;
    if (mirroring)
        send_back(limit, header, &packet);
    else if (packet.protocol == IPPROTO_TCP && length >= packet.header + TCP_HEADER)
        answer_tcp(limit, &packet);
    else if (packet.protocol == IPPROTO_UDP)
        answer_udp(limit, header, &packet);
    else if (packet.protocol == IPPROTO_ICMP && packet.header == IPV4_HEADER)
        answer_ping(limit, header, &packet, ICMP_ECHO, ICMP_ECHOREPLY);
    else if (packet.protocol == IPPROTO_ICMPV6)
        answer_ping(limit, header, &packet, ICMP6_ECHO_REQUEST, ICMP6_ECHO_REPLY);
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
