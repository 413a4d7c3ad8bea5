/* Just enough TCP to be a sink, a source, an echo, and to end: no timers, no recovery, one client.

   A connection is known by the client's port. Nothing is offered in the handshake but MSS and window scale. */
#define _GNU_SOURCE
#include "limit.h"

#include <stddef.h>
#include <string.h>

enum { FIN = 1, SYN = 2, RST = 4, PSH = 8, ACK = 16 };
enum { SCALE = 7, SMSS = 1460, TRAIN = 44 * SMSS };
/* In flight at most: what fits the device's queue of 500 packets, so that nothing is lost. */
enum { WINDOW_PLAIN = 400 * SMSS, WINDOW_TRAINS = 6 << 20 };

typedef struct {
    uint32_t rcv_nxt, snd_nxt, snd_una;
    uint32_t position; /* of snd_nxt in the pattern */
    int scale; /* the client's */
    int window;
    int unacked; /* packets since the last ACK */
    int duplicates;
    uint32_t client, server; /* addresses and port, in network order */
    uint16_t port;
    uint16_t client_port;
} Connection;

static Connection connections[65536];
static Connection *owing; /* an ACK, when there is nothing more to read */

/* A segment with `length` bytes of the pattern, or with those at `data`. */
static void send_segment(const Limit *limit, Connection *one, uint32_t seq, int flags,
                         const char *data, int length)
{
    struct {
        struct iphdr ip;
        struct tcphdr tcp;
        uint8_t options[8];
    } packet;
    struct virtio_net_hdr header = {.hdr_len = HEADERS};
    int options = flags & SYN ? 8 : 0, headers = HEADERS + options;
    struct iovec parts[3] = {{0}, {&packet, headers}, {(void *)data, length}};
    uint32_t window = limit->offloads ? WINDOW_TRAINS : WINDOW_PLAIN, pseudo;
    memset(&packet, 0, sizeof packet);
    packet.ip.version = 4;
    packet.ip.ihl = 5;
    packet.ip.ttl = 64;
    packet.ip.frag_off = htons(IP_DF);
    packet.ip.protocol = IPPROTO_TCP;
    packet.ip.saddr = one->server;
    packet.ip.daddr = one->client;
    packet.ip.tot_len = htons(headers + length);
    packet.ip.check = ~fold(sum_bytes(&packet.ip, 20, 0));
    packet.tcp.source = one->port;
    packet.tcp.dest = one->client_port;
    packet.tcp.seq = htonl(seq);
    packet.tcp.ack_seq = htonl(one->rcv_nxt);
    packet.tcp.doff = 5 + options / 4;
    packet.tcp.window = htons(flags & SYN ? 65535 : window >> SCALE);
    ((uint8_t *)&packet.tcp)[13] = flags;
    if (options)
        memcpy(packet.options, "\2\4\5\264\3\3\7\1", 8); /* MSS 1460, window scale 7 */
    pseudo = sum_bytes(&packet.ip.saddr, 8, htons(IPPROTO_TCP))
           + htons(headers + length - 20);
    if (limit->offloads) {
        header.flags = VIRTIO_NET_HDR_F_NEEDS_CSUM;
        header.csum_start = 20;
        header.csum_offset = offsetof(struct tcphdr, check);
        packet.tcp.check = fold(pseudo);
        if (length > SMSS) {
            header.gso_type = VIRTIO_NET_HDR_GSO_TCPV4;
            header.gso_size = SMSS;
        }
    } else {
        uint32_t sum = sum_bytes(&packet.tcp, headers - 20, fold(pseudo));
        packet.tcp.check = ~fold(sum_bytes(data, length, fold(sum)));
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
    int train = limit->offloads ? TRAIN : SMSS;
    for (;;) {
        int room = one->window - (int)(one->snd_nxt - one->snd_una);
        int length = room < train ? room / SMSS * SMSS : train;
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
    int length = tcp->doff * 4 - 20;
    for (int i = 0; i < length && options[i];) {
        if (options[i] == 3 && i + 2 < length)
            return options[i + 2];
        i += options[i] == 1 || i + 1 >= length || options[i + 1] < 2 ? 1 : options[i + 1];
    }
    return 0;
}

static void begin(const Limit *limit, Connection *one, const struct iphdr *ip,
                  const struct tcphdr *tcp)
{
    memset(one, 0, sizeof *one);
    one->client = ip->saddr;
    one->server = ip->daddr;
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

void answer_tcp(const Limit *limit, struct iphdr *ip, int length)
{
    struct tcphdr *tcp = (struct tcphdr *)((uint8_t *)ip + 20);
    int flags = ((uint8_t *)tcp)[13], header = 20 + tcp->doff * 4, text = length - header;
    Connection *one = &connections[tcp->source];
    if (text < 0 || flags & RST)
        return;
    if (flags & SYN) {
        begin(limit, one, ip, tcp);
        return;
    }
    if (one->client != ip->saddr || one->server != ip->daddr || one->port != tcp->dest)
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
            send_segment(limit, one, one->snd_nxt, ACK | PSH, (char *)ip + header, text);
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
        send_segment(limit, one, one->snd_nxt, ACK | PSH, (char *)ip + header, text);
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
