/* lwIP behind a TUN device: echo (7), discard (9) and chargen (19) over TCP and UDP.

   Uses the library as Debian ships it, through its raw interface. One thread moves packets and
   answers, with the core locked for each batch; lwIP's own thread is there for the timers.
   usage: lwip INTERFACE ADDRESS */
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <lwip/init.h>
#include <lwip/ip.h>
#include <lwip/netif.h>
#include <lwip/pbuf.h>
#include <lwip/tcp.h>
#include <lwip/tcpip.h>
#include <lwip/udp.h>

enum { ECHO = 7, DISCARD = 9, CHARGEN = 19, MTU = 1500, BATCH = 64, CHUNK = 65535 };
enum { PATTERN = 95 * 74, COPIES = 11 };

static int device;
static char pattern[PATTERN * COPIES];

static void fail(const char *what)
{
    perror(what);
    exit(1);
}

/* A packet leaves in one piece (LWIP_NETIF_TX_SINGLE_PBUF), or is copied together. */
static err_t output(struct netif *netif, struct pbuf *packet, const ip4_addr_t *to)
{
    static char whole[MTU];
    const void *data = packet->payload;
    (void)netif;
    (void)to;
    if (packet->next) {
        pbuf_copy_partial(packet, whole, sizeof whole, 0);
        data = whole;
    }
    if (write(device, data, packet->tot_len) < 0 && errno != EAGAIN && errno != EIO)
        fail("lwip: write");
    return ERR_OK;
}

static err_t begin(struct netif *netif)
{
    netif->name[0] = 't';
    netif->name[1] = 'n';
    netif->mtu = MTU;
    netif->output = output;
    netif->flags |= NETIF_FLAG_LINK_UP;
    return ERR_OK;
}

/* The position in the pattern is what the connection's argument says. */
static void fill(struct tcp_pcb *pcb, uintptr_t position)
{
    u16_t room = tcp_sndbuf(pcb) < CHUNK ? tcp_sndbuf(pcb) : CHUNK;
    if (room && tcp_write(pcb, pattern + position, room, 0) == ERR_OK) {
        tcp_arg(pcb, (void *)((position + room) % PATTERN));
        tcp_output(pcb);
    }
}

static err_t sent(void *position, struct tcp_pcb *pcb, u16_t length)
{
    (void)length;
    fill(pcb, (uintptr_t)position);
    return ERR_OK;
}

static err_t received(void *argument, struct tcp_pcb *pcb, struct pbuf *data, err_t error)
{
    (void)argument;
    (void)error;
    if (data == NULL) {
        tcp_sent(pcb, NULL);
        tcp_recv(pcb, NULL);
        if (tcp_close(pcb) != ERR_OK) {
            tcp_abort(pcb);
            return ERR_ABRT;
        }
        return ERR_OK;
    }
    tcp_recved(pcb, data->tot_len);
    if (pcb->local_port == ECHO) {
        for (struct pbuf *part = data; part; part = part->next)
            tcp_write(pcb, part->payload, part->len, TCP_WRITE_FLAG_COPY);
        tcp_output(pcb);
    }
    pbuf_free(data);
    return ERR_OK;
}

static err_t accepted(void *argument, struct tcp_pcb *pcb, err_t error)
{
    (void)argument;
    if (error != ERR_OK || pcb == NULL)
        return ERR_VAL;
    tcp_nagle_disable(pcb);
    tcp_arg(pcb, NULL);
    tcp_recv(pcb, received);
    if (pcb->local_port == CHARGEN) {
        tcp_sent(pcb, sent);
        fill(pcb, 0);
    }
    return ERR_OK;
}

static void datagram(void *argument, struct udp_pcb *pcb, struct pbuf *data, const ip_addr_t *from,
                     u16_t port)
{
    (void)argument;
    if (pcb->local_port == ECHO)
        udp_sendto(pcb, data, from, port);
    pbuf_free(data);
}

static void serve(int port)
{
    struct tcp_pcb *listener = tcp_new();
    struct udp_pcb *datagrams = udp_new();
    if (tcp_bind(listener, IP4_ADDR_ANY, port) != ERR_OK
        || udp_bind(datagrams, IP4_ADDR_ANY, port) != ERR_OK)
        fail("lwip: bind");
    listener = tcp_listen_with_backlog(listener, 255);
    tcp_accept(listener, accepted);
    udp_recv(datagrams, datagram, NULL);
}

static void open_device(const char *name)
{
    struct ifreq request;
    memset(&request, 0, sizeof request);
    strncpy(request.ifr_name, name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    device = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (device < 0 || ioctl(device, TUNSETIFF, &request) < 0)
        fail("lwip: /dev/net/tun");
}

/* Up to a batch of packets; 0 when there were none. */
static int take_in(struct netif *netif)
{
    static char packet[MTU];
    int count;
    LOCK_TCPIP_CORE();
    for (count = 0; count < BATCH; count++) {
        ssize_t got = read(device, packet, sizeof packet);
        if (got <= 0)
            break;
        struct pbuf *copy = pbuf_alloc(PBUF_RAW, got, PBUF_RAM);
        if (copy == NULL)
            continue;
        pbuf_take(copy, packet, got);
        if (netif->input(copy, netif) != ERR_OK)
            pbuf_free(copy);
    }
    UNLOCK_TCPIP_CORE();
    return count;
}

int main(int count, char **arguments)
{
    struct netif netif;
    ip4_addr_t address, mask, gateway;
    if (count != 3) {
        fprintf(stderr, "usage: lwip INTERFACE ADDRESS\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    for (int i = 0; i < PATTERN * COPIES; i++) {
        int line = i % PATTERN / 74, column = i % 74;
        pattern[i] = column < 72 ? 32 + (line + column) % 95 : column == 72 ? '\r' : '\n';
    }
    open_device(arguments[1]);
    memset(&netif, 0, sizeof netif);
    ip4addr_aton(arguments[2], &address);
    IP4_ADDR(&mask, 255, 255, 255, 0);
    gateway = address;
    tcpip_init(NULL, NULL);
    LOCK_TCPIP_CORE();
    netif_add(&netif, &address, &mask, &gateway, NULL, begin, ip_input);
    netif_set_default(&netif);
    netif_set_up(&netif);
    serve(ECHO);
    serve(DISCARD);
    serve(CHARGEN);
    UNLOCK_TCPIP_CORE();
    puts("ready");
    fflush(stdout);
    for (;;) {
        struct pollfd input = {device, POLLIN, 0};
        if (take_in(&netif) == 0)
            poll(&input, 1, -1);
    }
}
