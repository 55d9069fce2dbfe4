/* What the protocol engine itself costs: two of them over rings of datagrams in memory, one thread, no network.
 *
 *   cd transports/xdp/native/protocol
 *   cc -std=c11 -D_GNU_SOURCE -O3 -o /tmp/engine_bench ../../../../perf/protocol/engine_bench.c $(ls *.c)
 *   taskset -c 1 /tmp/engine_bench
 *
 * For each way of sending it prints, as JSON, nanoseconds a message: on the publisher's side (send, flush, and taking
 * in acknowledgements) and on the subscriber's (taking in, and acknowledging).  The median of many rounds.  The host calls
 * do nothing but look at the first byte.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "../../transports/xdp/native/protocol/engine.h"

enum { RING = 4096, MOST_BYTES = 9000, ROUNDS = 2000 };

typedef struct Ring {
    lunar_port port;
    struct Ring *other;
    uint8_t (*frames)[MOST_BYTES]; /* to here */
    uint32_t sizes[RING];
    uint32_t head, seen, tail; /* released, received, written: only grow */
} Ring;

static int ring_receive(lunar_port *port, lunar_datagram *datagrams, int most) {
    Ring *ring = (Ring *)port;
    int count = 0;
    for (; count < most && ring->seen != ring->tail; ring->seen++)
        datagrams[count++] =
            (lunar_datagram){.bytes = ring->frames[ring->seen % RING], .size_bytes = ring->sizes[ring->seen % RING]};
    return count;
}

static void ring_release(lunar_port *port) { ((Ring *)port)->head = ((Ring *)port)->seen; }
static bool ring_has_input(lunar_port *port) { return ((Ring *)port)->seen != ((Ring *)port)->tail; }

static uint8_t *ring_begin(lunar_port *port, const lunar_destination *to, uint32_t *room_bytes) {
    Ring *other = ((Ring *)port)->other;
    if (other->tail - other->head == RING)
        return NULL;
    *room_bytes = to->mtu - 28;
    return other->frames[other->tail % RING];
}

static void ring_commit(lunar_port *port, uint32_t size_bytes, uint64_t transmit_ns) {
    Ring *other = ((Ring *)port)->other;
    (void)transmit_ns;
    other->sizes[other->tail++ % RING] = size_bytes;
}

static void ring_cancel(lunar_port *port) { (void)port; }
static int ring_flush(lunar_port *port) { return port->fd + 1; }
static bool ring_prepare_sleep(lunar_port *port) { return !ring_has_input(port); }

static const lunar_port_kind ring_kind = {ring_receive, ring_release, ring_has_input, ring_begin,         ring_commit,
                                          ring_cancel,  ring_flush,   ring_prepare_sleep, ring_cancel};

static lunar_xdp_outgoing *outgoing;
static bool is_connected;
static uint64_t delivered, sequence, sum;
static uint8_t *memory;

static void connected(void *context) {
    (void)context;
    is_connected = true;
    lunar_xdp_outgoing_start(outgoing, 0, 0, 0);
}
static void disconnected(void *context, const char *reason) {
    (void)context;
    fprintf(stderr, "disconnected: %s\n", reason);
    exit(1);
}
static void ignore(void *context) { (void)context; }
static void ignore_count(void *context, uint64_t count) { (void)context, (void)count; }
static void ignore_hold(void *context, void *hold) { (void)context, (void)hold; }
static void ignore_reason(void *context, const char *reason) { (void)context, (void)reason; }
static void started(void *context, uint64_t last, uint64_t newest) { (void)context, (void)last, (void)newest; }
static bool take(void *context, const lunar_xdp_message *message) {
    (void)context;
    sum += message->bytes[0];
    delivered++;
    return true;
}
static uint8_t *begin(void *context, uint32_t size_bytes, void **hold) {
    (void)context, (void)size_bytes, (void)hold;
    return memory;
}

static uint64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void measure(const char *name, bool reliable, uint32_t burst, uint32_t size_bytes, uint16_t mtu) {
    static const lunar_xdp_outgoing_host out_host = {connected, disconnected, ignore, ignore_count, ignore_hold};
    static const lunar_xdp_incoming_host in_host = {started,     take,          begin,        take,
                                                    ignore_hold, ignore_reason, ignore_count, ignore_reason};
    static double there[ROUNDS], here[ROUNDS];
    uint8_t key[16] = {1};
    lunar_xdp_stream stream = {.publisher = {1}, .subscriber = {2}, .reliable = reliable};
    lunar_destination to = {.family = 4, .port = 4000, .mtu = mtu};
    Ring *rings = calloc(2, sizeof *rings);
    lunar_xdp_engine *engines[2];
    for (int i = 0; i < 2; i++) {
        rings[i].port.kind = &ring_kind;
        rings[i].port.fd = -1;
        rings[i].other = &rings[1 - i];
        rings[i].frames = malloc(RING * sizeof *rings[i].frames);
        memset(rings[i].frames, 0, RING * sizeof *rings[i].frames);
        engines[i] = lunar_xdp_engine_new(&rings[i].port, key, NULL, now());
    }
    is_connected = false;
    delivered = sequence = 0;
    outgoing = lunar_xdp_engine_open_outgoing(engines[0], &stream, &to, &out_host, NULL);
    lunar_xdp_engine_open_incoming(engines[1], &stream, key, &to, &in_host, NULL);
    for (uint64_t end = now() + 100000000; now() < end;)
        for (int i = 0; i < 2; i++)
            lunar_xdp_engine_work(engines[i], now());
    uint8_t *bytes = calloc(1, size_bytes);
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t spent[2] = {0, 0}, target = sequence + (burst < 64 ? 64 : burst);
        while (sequence < target) {
            uint64_t t0 = now();
            lunar_xdp_engine_set_time(engines[0], t0);
            for (uint32_t i = 0; i < burst; i++) {
                lunar_xdp_message message = {.bytes = bytes, .size_bytes = size_bytes, .sequence = sequence + 1};
                if (lunar_xdp_outgoing_send(outgoing, &message) != 1)
                    break;
                sequence++;
            }
            lunar_xdp_engine_flush(engines[0]);
            uint64_t t1 = now();
            lunar_xdp_engine_work(engines[1], t1);
            uint64_t t2 = now();
            lunar_xdp_engine_work(engines[0], t2);
            uint64_t t3 = now();
            spent[0] += t1 - t0 + t3 - t2;
            spent[1] += t2 - t1;
        }
        uint64_t messages = sequence - (target - (burst < 64 ? 64 : burst));
        here[round] = (double)spent[0] / (double)messages;
        there[round] = (double)spent[1] / (double)messages;
    }
    for (uint64_t end = now() + 50000000; now() < end;)
        for (int i = 0; i < 2; i++)
            lunar_xdp_engine_work(engines[i], now());
    qsort(here, ROUNDS, sizeof *here, compare);
    qsort(there, ROUNDS, sizeof *there, compare);
    const lunar_xdp_statistics *statistics = lunar_xdp_engine_statistics(engines[0]);
    printf("{\"case\": \"%s\", \"size_bytes\": %u, \"mtu\": %u, \"publisher_ns\": %.1f, \"subscriber_ns\": %.1f, "
           "\"datagrams_a_message\": %.2f, \"resent\": %llu, \"lost\": %lld}\n",
           name, size_bytes, mtu, here[ROUNDS / 2], there[ROUNDS / 2],
           (double)statistics->datagrams_sent / (double)sequence, (unsigned long long)statistics->resent,
           (long long)(sequence - delivered));
    for (int i = 0; i < 2; i++) {
        lunar_xdp_engine_free(engines[i]);
        free(rings[i].frames);
    }
    free(rings);
    free(bytes);
}

int main(void) {
    memory = malloc(64 << 20);
    memset(memory, 0, 64 << 20);
    measure("reliable burst", true, 256, 64, 1500);
    measure("reliable single", true, 1, 64, 1500);
    measure("best effort burst", false, 256, 64, 1500);
    measure("best effort single", false, 1, 64, 1500);
    measure("reliable burst", true, 64, 1024, 1500);
    measure("reliable single", true, 1, 1024, 1500);
    measure("reliable single", true, 1, 1 << 20, 1500);
    measure("reliable single", true, 1, 1 << 20, 9000);
    free(memory);
    return sum == UINT64_MAX;
}
