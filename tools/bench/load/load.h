/* What the load generator's modes share: options, the clock, the report, sockets. */
#ifndef LOAD_H
#define LOAD_H

#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

enum { MAX_CONNECTIONS = 4096, BUCKETS = 64 * 16 };

typedef struct {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } peer;
    socklen_t peer_length;
    int port;         /* of the peer */
    int number;       /* connections, or packets in flight */
    int size;         /* bytes of a request; of HTTP: of a response's body */
    int64_t warmup;   /* ns */
    int64_t duration; /* ns, after the warm-up */
    double rate;      /* requests a second, of the mode paced */
} Options;

/* What is counted; `total` from the first packet on, the others after the warm-up. */
typedef struct {
    uint64_t operations, bytes;
    uint64_t total_operations, total_bytes;
    uint64_t lost;  /* sent and never answered */
    uint64_t wrong; /* errors, and bytes that are not what they should be */
    double seconds;
    uint64_t latency[BUCKETS]; /* ns, 16 buckets a power of two */
    char note[64];
} Report;

/* The phases of a run: warm-up, measurement, end. */
typedef struct {
    const Options *options;
    Report *report;
    int64_t start, begin, end;
} Run;

int64_t now_ns(void);
void fail(const char *what);

void run_begin(Run *run, const Options *options, Report *report);
int run_tick(Run *run, int64_t now); /* 0 when the run is over */
void run_end(Run *run, int64_t now);
void run_count(Run *run, int64_t now, uint64_t operations, uint64_t bytes);
void latency_add(Report *report, int64_t ns);
double latency_quantile(const Report *report, double quantile);

int is_ipv6(const Options *options);
int tcp_socket(const Options *options); /* non-blocking, without Nagle */
int tcp_connect(const Options *options);
void grow_buffers(int fd, int bytes);

/* RFC 864: 72 of the 95 printable characters a line. */
enum { PATTERN = 95 * 74, PATTERN_COPIES = 40 };
extern char pattern[PATTERN * PATTERN_COPIES];
void pattern_fill(void);

void stream_in(const Options *, Report *);
void stream_out(const Options *, Report *);
void request_response(const Options *, Report *);
void paced(const Options *, Report *);
void http_requests(const Options *, Report *);
void connect_close(const Options *, Report *);
void connect_request_close(const Options *, Report *);
void icmp_echo(const Options *, Report *);
void udp_echo(const Options *, Report *);
void udp_in(const Options *, Report *);
void udp_train_echo(const Options *, Report *);

#endif
