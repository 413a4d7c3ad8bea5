/* The limit: answers packets without being a stack. What its files share. */
#ifndef LIMIT_H
#define LIMIT_H

#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <sys/uio.h>

enum { ECHO = 7, DISCARD = 9, CHARGEN = 19 };
enum { IPV4_HEADER = 20, IPV6_HEADER = 40, TCP_HEADER = 20, UDP_HEADER = 8, ICMP_HEADER = 8 };

/* A device, with or without a virtio-net header before each packet. */
typedef struct {
    int fd;
    int offloads;  /* virtio-net header, checksums, TSO and USO */
    int ack_every; /* packets, of those that are there; trains are acknowledged one by one */
} Limit;

int open_device(const char *name, int offloads);

/* Where things are in a packet: without options, without extension headers. */
typedef struct {
    uint8_t *data;
    int length;
    int header;    /* of IP: IPV4_HEADER or IPV6_HEADER */
    int protocol;
    int addresses; /* where the two are */
    int address;   /* bytes of one */
} Packet;

/* One packet; with offloads, `header` is its virtio-net header. */
void answer(const Limit *, struct virtio_net_hdr *header, uint8_t *packet, int length);
void answer_tcp(const Limit *, const Packet *);
void flush_acks(const Limit *); /* there is nothing more to read */

uint32_t sum_bytes(const void *data, int length, uint32_t sum);
uint16_t fold(uint32_t sum);
void send_packet(const Limit *, struct virtio_net_hdr *header, struct iovec *parts, int count);

extern char pattern[];
enum { PATTERN = 95 * 74, PATTERN_COPIES = 11 };

#endif
