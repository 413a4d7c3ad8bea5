/* The load generator of tools/bench: one kind of traffic for some time, and a line of JSON.

   usage: load MODE ADDRESS PORT NUMBER SIZE WARMUP SECONDS [RATE] */
#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <unistd.h>

static const struct {
    const char *name;
    void (*run)(const Options *, Report *);
} modes[] = {
    {"stream-in", stream_in},
    {"stream-out", stream_out},
    {"request", request_response},
    {"paced", paced},
    {"http", http_requests},
    {"connect", connect_close},
    {"connect-request", connect_request_close},
    {"icmp", icmp_echo},
    {"udp", udp_echo},
    {"udp-in", udp_in},
    {"udp-train", udp_train_echo},
};

/* The peer's address and port; 0 if that is no address. */
static int parse_peer(Options *options, const char *address, int port)
{
    options->port = port;
    if (inet_pton(AF_INET, address, &options->peer.v4.sin_addr) == 1) {
        options->peer.v4.sin_family = AF_INET;
        options->peer.v4.sin_port = htons(port);
        options->peer_length = sizeof options->peer.v4;
        return 1;
    }
    options->peer.v6.sin6_family = AF_INET6;
    options->peer.v6.sin6_port = htons(port);
    options->peer_length = sizeof options->peer.v6;
    return inet_pton(AF_INET6, address, &options->peer.v6.sin6_addr) == 1;
}

static double seconds_of(struct timeval time)
{
    return time.tv_sec + time.tv_usec / 1e6;
}

static void print(const Report *report)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"operations\": %lu, \"bytes\": %lu, \"seconds\": %.6f, \"total_operations\": %lu, "
           "\"total_bytes\": %lu, \"lost\": %lu, \"wrong\": %lu, \"cpu\": %.6f, \"note\": \"%s\", "
           "\"p50\": %.1f, \"p99\": %.1f, \"p999\": %.1f}\n",
           report->operations, report->bytes, report->seconds, report->total_operations,
           report->total_bytes, report->lost, report->wrong,
           seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime), report->note,
           latency_quantile(report, .5) / 1e3, latency_quantile(report, .99) / 1e3,
           latency_quantile(report, .999) / 1e3);
}

int main(int count, char **arguments)
{
    static Report report;
    Options options;
    if (count != 8 && count != 9) {
        fprintf(stderr, "usage: load MODE ADDRESS PORT NUMBER SIZE WARMUP SECONDS [RATE]\n");
        return 2;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    memset(&options, 0, sizeof options);
    options.number = atoi(arguments[4]);
    options.size = atoi(arguments[5]);
    options.warmup = atof(arguments[6]) * 1e9;
    options.duration = atof(arguments[7]) * 1e9;
    options.rate = count == 9 ? atof(arguments[8]) : 1000;
    if (!parse_peer(&options, arguments[2], atoi(arguments[3])) || options.number < 1
        || options.rate <= 0
        || options.number > MAX_CONNECTIONS) {
        fprintf(stderr, "load: bad arguments\n");
        return 2;
    }
    alarm((options.warmup + options.duration) / 1000000000 + 15); /* never for ever */
    pattern_fill();
    for (unsigned i = 0; i < sizeof modes / sizeof *modes; i++)
        if (!strcmp(arguments[1], modes[i].name)) {
            modes[i].run(&options, &report);
            print(&report);
            return 0;
        }
    fprintf(stderr, "load: no mode %s\n", arguments[1]);
    return 2;
}
