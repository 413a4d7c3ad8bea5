/* Just enough TCP to be a sink, a source, an echo, and to end: no timers, no recovery, one client.

   A connection is known by the client's port. Nothing is offered in the handshake but MSS and window scale. */
#define _GNU_SOURCE
#include "limit.h"

#include <stddef.h>
#include <string.h>

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };
enum { SCALE = 7, MTU = 1500, PIECES = 44, OPTIONS = 8 };
/* In flight at most: what fits the device's queue of 500 packets, so that nothing is lost. */
enum { WINDOW_PLAIN = 400 * 1460, WINDOW_TRAINS = 6 << 20 };

typedef struct {
    uint32_t rcv_nxt, snd_nxt, snd_una;
    uint32_t position; /* of snd_nxt in the pattern */
    int scale; /* the client's */
    int window;
    int unacked; /* packets since the last ACK */
    int duplicates;
    int smss;
    int header; /* of IP */
    int address; /* bytes of one */
    uint8_t addresses[32]; /* the client's and ours */
    uint16_t port, client_port; /* in network order */
} Connection;

static Connection connections[65536];
static Connection *owing; /* an ACK, when there is nothing more to read */

static void write_ip(uint8_t *packet, const Connection *one, int payload)
{
    int addresses;
    if (one->header == IPV4_HEADER) {
        struct iphdr *ip = (struct iphdr *)packet;
        ip->version = 4;
        ip->ihl = 5;
        ip->ttl = 64;
        ip->frag_off = htons(IP_DF);
        ip->protocol = IPPROTO_TCP;
        ip->tot_len = htons(IPV4_HEADER + payload);
        addresses = offsetof(struct iphdr, saddr);
    } else {
        struct ip6_hdr *ip = (struct ip6_hdr *)packet;
        ip->ip6_flow = htonl(6u << 28);
        ip->ip6_plen = htons(payload);
        ip->ip6_nxt = IPPROTO_TCP;
        ip->ip6_hlim = 64;
        addresses = offsetof(struct ip6_hdr, ip6_src);
    }
    memcpy(packet + addresses, one->addresses + one->address, one->address);
    memcpy(packet + addresses + one->address, one->addresses, one->address);
    if (one->header == IPV4_HEADER)
        ((struct iphdr *)packet)->check = ~fold(sum_bytes(packet, IPV4_HEADER, 0));
}

/* A segment with `length` bytes of the pattern, or with those at `data`. */
static void send_segment(const Limit *limit, Connection *one, uint32_t seq, int flags,
                         const char *data, int length)
{
    _Alignas(8) uint8_t packet[IPV6_HEADER + TCP_HEADER + OPTIONS] = {0};
    struct tcphdr *tcp = (struct tcphdr *)(packet + one->header);
    int options = flags & SYN ? OPTIONS : 0, headers = one->header + TCP_HEADER + options;
    struct virtio_net_hdr header = {.hdr_len = headers};
    struct iovec parts[3] = {{0}, {packet, headers}, {(void *)data, length}};
    uint32_t window = limit->offloads ? WINDOW_TRAINS : WINDOW_PLAIN, pseudo;
    write_ip(packet, one, headers - one->header + length);
    tcp->source = one->port;
    tcp->dest = one->client_port;
    tcp->seq = htonl(seq);
    tcp->ack_seq = htonl(one->rcv_nxt);
    tcp->doff = 5 + options / 4;
    tcp->window = htons(flags & SYN ? 65535 : window >> SCALE);
    ((uint8_t *)tcp)[13] = flags;
    if (options) {
        uint8_t given[OPTIONS] = {2, 4, one->smss >> 8, one->smss & 255, 3, 3, SCALE, 1};
        memcpy(tcp + 1, given, OPTIONS);
    }
    pseudo = sum_bytes(one->addresses, 2 * one->address, htons(IPPROTO_TCP))
           + htons(headers + length - one->header);
    if (limit->offloads) {
        header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
        header.csum_start = one->header;
        header.csum_offset = offsetof(struct tcphdr, check);
        tcp->check = fold(pseudo);
        if (length > one->smss) {
            int is_v4 = one->header == IPV4_HEADER;
            header.gso_type = is_v4 ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6;
            header.gso_size = one->smss;
        }
    } else {
        uint32_t sum = sum_bytes(tcp, headers - one->header, fold(pseudo));
        tcp->check = ~fold(sum_bytes(data, length, fold(sum)));
    }
    one->unacked = 0;
    send_packet(limit, &header, parts, length ? 3 : 2);
}

static void send_ack(const Limit *limit, Connection *one)
{
    send_segment(limit, one, one->snd_nxt, ACK, NULL, 0);
}

/* As much of the pattern as the client's window takes. */
static void fill_window(const Limit *limit, Connection *one)
{
    int train = limit->offloads ? PIECES * one->smss : one->smss;
    for (;;) {
        int room = one->window - (int)(one->snd_nxt - one->snd_una);
        int length = room < train ? room / one->smss * one->smss : train;
        if (length <= 0)
            return;
        send_segment(limit, one, one->snd_nxt, ACK | PSH, pattern + one->position, length);
        one->snd_nxt += length;
        one->position = (one->position + length) % PATTERN;
    }
}

static int scale_in(const struct tcphdr *tcp)
{
    const uint8_t *options = (const uint8_t *)(tcp + 1);
    int length = tcp->doff * 4 - TCP_HEADER;
    for (int i = 0; i < length && options[i];) {
        if (options[i] == 3 && i + 2 < length)
            return options[i + 2];
        i += options[i] == 1 || i + 1 >= length || options[i + 1] < 2 ? 1 : options[i + 1];
    }
    return 0;
}

static void begin(const Limit *limit, Connection *one, const Packet *packet,
                  const struct tcphdr *tcp)
{
    memset(one, 0, sizeof *one);
    one->header = packet->header;
    one->smss = MTU - packet->header - TCP_HEADER;
    one->address = packet->address;
    memcpy(one->addresses, packet->data + packet->addresses, 2 * packet->address);
    one->client_port = tcp->source;
    one->port = tcp->dest;
    one->rcv_nxt = ntohl(tcp->seq) + 1;
    one->scale = scale_in(tcp);
    one->snd_nxt = one->snd_una = 1;
    send_segment(limit, one, 0, SYN | ACK, NULL, 0);
}

/* What the client's ACK says to a source: go on, or back to where something is missing. */
static void source(const Limit *limit, Connection *one, const struct tcphdr *tcp, uint32_t ack)
{
    int window = ntohs(tcp->window) << one->scale;
    if (ack == one->snd_una && window == one->window && one->snd_nxt != ack) {
        if (++one->duplicates % 3 == 0) {
            int64_t back = (int64_t)one->position - (uint32_t)(one->snd_nxt - ack);
            one->position = (back % PATTERN + PATTERN) % PATTERN;
            one->snd_nxt = ack;
        }
    } else {
        one->duplicates = 0;
    }
    one->snd_una = ack;
    one->window = window;
    fill_window(limit, one);
}

void answer_tcp(const Limit *limit, const Packet *packet)
{
    struct tcphdr *tcp = (struct tcphdr *)(packet->data + packet->header);
    int flags = ((uint8_t *)tcp)[13], headers = packet->header + tcp->doff * 4;
    int text = packet->length - headers;
    char *data = (char *)packet->data + headers;
    Connection *one = &connections[tcp->source];
    if (text < 0 || flags & RST)
        return;
    if (flags & SYN) {
        begin(limit, one, packet, tcp);
        return;
    }
    if (one->header != packet->header || one->port != tcp->dest
        || memcmp(one->addresses, packet->data + packet->addresses, 2 * one->address))
        return;
    if (ntohl(tcp->seq) != one->rcv_nxt) {
        send_ack(limit, one);
        return;
    }
    one->rcv_nxt += text;
    if (tcp->dest == htons(CHARGEN) && !(flags & FIN)) {
        source(limit, one, tcp, ntohl(tcp->ack_seq));
        return;
    }
    if (flags & FIN) {
        one->rcv_nxt++;
        if (text && tcp->dest == htons(ECHO)) {
            send_segment(limit, one, one->snd_nxt, ACK | PSH, data, text);
            one->snd_nxt += text;
        }
        send_segment(limit, one, one->snd_nxt++, ACK | FIN, NULL, 0);
        if (owing == one)
            owing = NULL;
        return;
    }
    if (text == 0)
        return;
    if (tcp->dest == htons(ECHO)) {
        send_segment(limit, one, one->snd_nxt, ACK | PSH, data, text);
        one->snd_nxt += text;
        return;
    }
    if (owing && owing != one)
        flush_acks(limit);
    owing = one;
    if (limit->offloads || ++one->unacked >= limit->ack_every)
        flush_acks(limit);
}

void flush_acks(const Limit *limit)
{
    Connection *one = owing;
    owing = NULL;
    if (one)
        send_ack(limit, one);
}
