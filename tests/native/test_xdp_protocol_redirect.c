/* The way to a peer becomes known, or another one, while streams use it: they go on by it at once and lose nothing. */
#include <errno.h>

#include "xdp_pair.h"

typedef struct {
    Pair pair;
    Sender sender;
    Receiver receiver;
    uint32_t largest_bytes; /* of all datagrams, since it was last set to 0 */
} Line;

static lunar_destination expected; /* of the publisher's datagrams */
static uint64_t elsewhere;         /* how many went to another one */

static uint8_t *begin(lunar_port *port, const lunar_destination *to, uint32_t *room_bytes) {
    CHECK(to->mtu);
    elsewhere += memcmp(to, &expected, sizeof expected) != 0;
    return memory_begin(port, to, room_bytes);
}

static lunar_port_kind kind;

static bool measure(Wire *wire, int from, uint8_t *bytes, uint32_t size_bytes) {
    Line *line = wire->tap_argument;
    (void)bytes;
    if (from == 0 && size_bytes > line->largest_bytes)
        line->largest_bytes = size_bytes;
    return true;
}

static uint32_t always_5000(uint64_t sequence) { return sequence ? 5000 : 5000; }

static void make(Line *line, bool reliable, uint16_t mtu) {
    memset(line, 0, sizeof *line);
    pair_make(&line->pair, 7, NULL, 1500);
    line->pair.wire.tap = measure;
    line->pair.wire.tap_argument = line;
    kind = memory_kind;
    kind.begin = begin;
    line->pair.ports[0].port.kind = &kind;
    line->sender = (Sender){.size_of = always_5000};
    line->receiver = (Receiver){.size_of = always_5000};
    pair_open_receiver(&line->pair, &line->receiver, 1, reliable);
    line->pair.to.mtu = mtu;
    pair_open_sender(&line->pair, &line->sender, 1, reliable);
    expected = line->pair.to;
    elsewhere = 0;
}

static void finish(Line *line) {
    pair_free(&line->pair);
    CHECK(line->sender.held == 0 && line->receiver.blocks == 0);
}

static void send_more(Line *line, uint64_t count) {
    line->sender.count = line->sender.sequence + count;
    lunar_xdp_engine_set_time(line->pair.engines[0], line->pair.wire.now_ns);
    pair_send_all(&line->sender);
}

static void arrive(Line *line) {
    while (line->sender.sequence < line->sender.count || lunar_xdp_outgoing_unacknowledged(line->sender.end)) {
        send_more(line, line->sender.count - line->sender.sequence);
        pair_turn(&line->pair);
    }
    PAIR_UNTIL(&line->pair, line->receiver.last == line->sender.sequence, 1);
}

static void redirect(Line *line, uint16_t mtu, uint8_t mac) {
    lunar_destination from = expected;
    expected.mtu = mtu;
    expected.mac[5] = mac;
    lunar_xdp_engine_set_time(line->pair.engines[0], line->pair.wire.now_ns);
    CHECK(lunar_xdp_engine_redirect(line->pair.engines[0], &from, &expected) == 0);
}

/* Nothing leaves before there is a way; then the stream begins within a few round trips, in parts of full size. */
static void unknown_at_first(bool reliable) {
    Line line;
    make(&line, reliable, 0);
    pair_run_for(&line.pair, UINT64_C(10000000000));
    CHECK(line.largest_bytes == 0 && !line.sender.connects && !line.receiver.starts);
    redirect(&line, 1500, 1);
    PAIR_UNTIL(&line.pair, line.receiver.running, 0.001);
    send_more(&line, 20);
    arrive(&line);
    CHECK(line.largest_bytes == 1472 && line.receiver.delivered == 20 && !line.receiver.lost);
    CHECK(line.receiver.starts == 1 && line.sender.connects == 1 && !elsewhere);
    finish(&line);
}

/* Another next hop, in the middle of messages. */
static void another_next_hop(bool reliable) {
    Line line;
    make(&line, reliable, 1500);
    PAIR_UNTIL(&line.pair, line.receiver.running, 0.1);
    for (uint8_t mac = 1; mac < 50; mac++) {
        send_more(&line, 7);
        pair_turn(&line.pair);
        redirect(&line, 1500, mac);
    }
    arrive(&line);
    CHECK(line.receiver.delivered == 7 * 49 && !line.receiver.lost && line.receiver.starts == 1 && !elsewhere);
    finish(&line);
}

static void another_mtu(bool reliable) {
    Line line;
    make(&line, reliable, 1500);
    PAIR_UNTIL(&line.pair, line.receiver.running, 0.1);
    send_more(&line, 20);
    pair_turn(&line.pair);
    for (int times = 0; times < 5; times++) {
        redirect(&line, 600, 0);
        line.largest_bytes = 0;
        send_more(&line, 20);
        arrive(&line);
        CHECK(line.largest_bytes == 572);
        redirect(&line, 1500, 0);
        pair_run_for(&line.pair, 1000000);
        send_more(&line, 20);
        arrive(&line);
        CHECK(line.largest_bytes == 1472);
    }
    CHECK(line.sender.connects == 1 && !elsewhere);
    CHECK(reliable ? line.receiver.delivered == 220 : line.receiver.delivered > 200);
    finish(&line);
}

/* A way that is there again: nobody waits for a question that had become rare. */
static void there_again(void) {
    Line line;
    make(&line, true, 1500);
    PAIR_UNTIL(&line.pair, line.receiver.running, 0.1);
    line.pair.wire.cut = true;
    send_more(&line, 5);
    PAIR_UNTIL(&line.pair, lunar_xdp_outgoing_is_cut_off(line.sender.end), 1);
    pair_run_for(&line.pair, UINT64_C(5000000000));
    line.pair.wire.cut = false;
    redirect(&line, 1500, 0);
    PAIR_UNTIL(&line.pair, line.receiver.delivered == 5, 0.001);
    CHECK(line.sender.disconnects == 1 && line.sender.connects == 2 && !line.receiver.lost);
    arrive(&line);
    finish(&line);
}

static void one_too_small(void) {
    Line line;
    make(&line, true, 1500);
    lunar_destination to = expected;
    to.mtu = 100;
    CHECK(lunar_xdp_engine_redirect(line.pair.engines[0], &expected, &to) == -EINVAL);
    PAIR_UNTIL(&line.pair, line.receiver.running, 0.1);
    send_more(&line, 3);
    arrive(&line);
    CHECK(!elsewhere);
    finish(&line);
}

int main(void) {
    for (int reliable = 0; reliable < 2; reliable++) {
        unknown_at_first(reliable);
        another_next_hop(reliable);
        another_mtu(reliable);
    }
    there_again();
    one_too_small();
    printf("ways that change: ok\n");
    return 0;
}
