/* Streams of the accelerated path begin, end, are cut off and go on: nothing that was promised is lost or repeated. */
#include <errno.h>

#include "xdp_pair.h"

typedef struct {
    Pair pair;
    Sender sender;
    Receiver receiver;
} Line;

static void make(Line *line, bool reliable, uint64_t count) {
    memset(line, 0, sizeof *line);
    pair_make(&line->pair, 7, NULL, 1500);
    line->sender = (Sender){.size_of = always_64, .count = count};
    line->receiver = (Receiver){.size_of = always_64};
    pair_open_receiver(&line->pair, &line->receiver, 1, reliable);
    pair_open_sender(&line->pair, &line->sender, 1, reliable);
}

static void finish(Line *line) {
    pair_free(&line->pair);
    CHECK(line->sender.held == 0 && line->receiver.blocks == 0);
}

static void send_all(Line *line) {
    lunar_xdp_engine_set_time(line->pair.engines[0], line->pair.wire.now_ns);
    pair_send_all(&line->sender);
}

static uint32_t left(const Line *line) { return lunar_xdp_outgoing_unacknowledged(line->sender.end); }

/* Both ends may be opened in any order, with any time in between; then the first message goes at once. */
static void in_any_order(bool subscriber_first, bool reliable) {
    Line line;
    memset(&line, 0, sizeof line);
    pair_make(&line.pair, 7, NULL, 1500);
    line.sender = (Sender){.size_of = always_64, .count = 3};
    line.receiver = (Receiver){.size_of = always_64};
    if (subscriber_first)
        pair_open_receiver(&line.pair, &line.receiver, 1, reliable);
    else
        pair_open_sender(&line.pair, &line.sender, 1, reliable);
    pair_run_for(&line.pair, UINT64_C(30000000000));
    uint64_t carried = line.pair.wire.carried;
    CHECK(carried < 40); /* an end alone is quiet */
    if (subscriber_first)
        pair_open_sender(&line.pair, &line.sender, 1, reliable);
    else
        pair_open_receiver(&line.pair, &line.receiver, 1, reliable);
    lunar_xdp_engine_set_time(line.pair.engines[0], line.pair.wire.now_ns);
    PAIR_UNTIL(&line.pair, line.receiver.running, 0.001);
    send_all(&line);
    PAIR_UNTIL(&line.pair, line.receiver.delivered == 3, 0.001);
    /* And quiet again, for as long as nothing is sent. */
    pair_run_for(&line.pair, UINT64_C(3000000000));
    carried = line.pair.wire.carried;
    pair_run_for(&line.pair, UINT64_C(30000000000));
    CHECK(line.pair.wire.carried == carried);
    finish(&line);
}

static void connect(Line *line) { PAIR_UNTIL(&line->pair, line->receiver.running, 5); }

/* Cut off for long: the host is told, and goes on where it was. */
static void a_cut(uint64_t cut_ns, bool expect_told) {
    Line line;
    make(&line, true, 100);
    connect(&line);
    send_all(&line);
    PAIR_UNTIL(&line.pair, line.receiver.delivered == 100 && !left(&line), 1);
    line.sender.count = 200;
    line.pair.wire.cut = true;
    send_all(&line);
    CHECK(left(&line) == 100);
    pair_run_for(&line.pair, cut_ns);
    CHECK(line.sender.disconnects == (expect_told ? 1 : 0));
    CHECK(lunar_xdp_outgoing_is_cut_off(line.sender.end) == expect_told);
    CHECK(left(&line) == 100);
    line.pair.wire.cut = false;
    line.sender.is_writable = true;
    PAIR_UNTIL(&line.pair, line.receiver.delivered == 200 && !left(&line), 1);
    CHECK(line.sender.connects == (expect_told ? 2 : 1));
    CHECK(line.receiver.starts == line.sender.connects && line.receiver.stops == line.receiver.starts - 1);
    finish(&line);
}

/* The subscriber has all of it, but nobody could say so: it is sent again, and not given on again. */
static bool nothing_back(Wire *wire, int from, uint8_t *bytes, uint32_t size_bytes) {
    (void)wire;
    (void)bytes;
    (void)size_bytes;
    return from == 0;
}

static uint32_t some_sizes(uint64_t sequence) { return sequence % 3 ? 100 : 5000; }

static void nothing_twice(void) {
    Line line;
    make(&line, true, 100);
    line.sender.size_of = line.receiver.size_of = some_sizes;
    connect(&line);
    PAIR_UNTIL(&line.pair, line.sender.connected, 1);
    line.pair.wire.tap = nothing_back;
    send_all(&line);
    PAIR_UNTIL(&line.pair, line.receiver.delivered == 100, 1);
    CHECK(left(&line) == 100);
    pair_run_for(&line.pair, UINT64_C(2000000000));
    CHECK(line.sender.disconnects == 1);
    line.pair.wire.tap = NULL;
    line.sender.count = 150;
    PAIR_UNTIL(&line.pair, line.sender.connects == 2, 1);
    send_all(&line);
    PAIR_UNTIL(&line.pair, line.receiver.delivered == 150 && !left(&line), 1);
    finish(&line);
}

/* Refused, then cut off: what the host never took is sent again. */
static void a_cut_while_refused(void) {
    Line line;
    make(&line, true, 100);
    line.sender.size_of = line.receiver.size_of = some_sizes;
    line.receiver.refuse_every = 10;
    connect(&line);
    send_all(&line);
    PAIR_UNTIL(&line.pair, line.receiver.is_waiting, 1);
    line.pair.wire.cut = true;
    pair_run_for(&line.pair, UINT64_C(1000000000));
    line.pair.wire.cut = false;
    PAIR_UNTIL(&line.pair, line.receiver.starts == 2, 1);
    line.receiver.refuse_every = 0;
    lunar_xdp_incoming_resume(line.receiver.end);
    PAIR_UNTIL(&line.pair, line.receiver.delivered == 100 && !left(&line), 1);
    finish(&line);
}

/* A subscription that does not take anything for long is no cut. */
static void slow_is_not_gone(void) {
    Line line;
    make(&line, true, 10000);
    connect(&line);
    line.receiver.refuses = true;
    send_all(&line);
    pair_run_for(&line.pair, UINT64_C(5000000000));
    CHECK(line.sender.disconnects == 0 && line.receiver.delivered == 0);
    CHECK(left(&line) == 2048 && line.sender.sequence == 2048); /* no more than the window */
    line.receiver.refuses = line.receiver.is_waiting = false;
    lunar_xdp_incoming_resume(line.receiver.end);
    PAIR_UNTIL(&line.pair, line.receiver.delivered == 10000 && !left(&line), 1);
    finish(&line);
}

static void closed_by_the_publisher(uint32_t loss_ppm) {
    Line line;
    make(&line, true, 10);
    line.pair.wire.lose_ppm = loss_ppm;
    connect(&line);
    send_all(&line);
    PAIR_UNTIL(&line.pair, line.receiver.delivered == 10 && !left(&line), 1);
    lunar_xdp_outgoing_close(line.sender.end);
    PAIR_UNTIL(&line.pair, line.receiver.stops == 1, 0.1);
    CHECK(line.sender.disconnects == 0);
    /* Opened anew, it may begin wherever it likes. */
    line.sender = (Sender){.size_of = always_64, .count = 20, .sequence = 5};
    line.receiver.starts = line.receiver.delivered = 0;
    pair_open_sender(&line.pair, &line.sender, 1, true);
    PAIR_UNTIL(&line.pair, line.receiver.running, 3);
    line.pair.wire.lose_ppm = 0;
    send_all(&line);
    PAIR_UNTIL(&line.pair, line.receiver.last == 20 && !left(&line), 3);
    finish(&line);
}

/* What was refused is given on before the host hears that the publisher is gone. */
static void closed_with_some_held(void) {
    Line line;
    make(&line, true, 10);
    line.receiver.refuses = true;
    connect(&line);
    send_all(&line);
    pair_run_for(&line.pair, UINT64_C(20000000));
    lunar_xdp_outgoing_close(line.sender.end);
    pair_run_for(&line.pair, UINT64_C(20000000));
    CHECK(line.receiver.stops == 0 && line.receiver.blocks == 10);
    line.receiver.refuses = line.receiver.is_waiting = false;
    lunar_xdp_incoming_resume(line.receiver.end);
    pair_run_for(&line.pair, UINT64_C(1000000));
    CHECK(line.receiver.delivered == 10 && line.receiver.stops == 1);
    finish(&line);
}

static void closed_by_the_subscriber(uint32_t loss_ppm) {
    Line line;
    make(&line, true, 10);
    line.pair.wire.lose_ppm = loss_ppm;
    connect(&line);
    send_all(&line);
    PAIR_UNTIL(&line.pair, line.receiver.delivered == 10, 1);
    lunar_xdp_incoming_close(line.receiver.end);
    PAIR_UNTIL(&line.pair, line.sender.disconnects == 1, 0.1);
    line.pair.wire.lose_ppm = 0;
    /* Another subscription of the same process: what the first one had not taken is not for this one. */
    line.receiver = (Receiver){.size_of = always_64};
    line.sender.count = 30;
    pair_open_receiver(&line.pair, &line.receiver, 1, true);
    PAIR_UNTIL(&line.pair, line.receiver.running, 3);
    send_all(&line);
    PAIR_UNTIL(&line.pair, line.receiver.delivered == 20 && !left(&line), 1);
    finish(&line);
}

/* Closed and opened at once, before the other end hears of it: each end notices by itself. */
static void opened_anew_unheard(bool subscriber) {
    Line line;
    make(&line, true, 10);
    connect(&line);
    send_all(&line);
    PAIR_UNTIL(&line.pair, line.receiver.delivered == 10 && !left(&line), 1);
    line.pair.wire.cut = true;
    if (subscriber) {
        lunar_xdp_incoming_close(line.receiver.end);
        line.receiver = (Receiver){.size_of = always_64};
        pair_open_receiver(&line.pair, &line.receiver, 1, true);
    } else {
        lunar_xdp_outgoing_close(line.sender.end);
        line.sender = (Sender){.size_of = always_64, .sequence = 10};
        pair_open_sender(&line.pair, &line.sender, 1, true);
    }
    pair_run_for(&line.pair, 300000000);
    line.pair.wire.cut = false;
    line.sender.count = 30;
    uint64_t starts = subscriber ? 1 : 2;
    PAIR_UNTIL(&line.pair, line.receiver.running && line.sender.connected && line.receiver.starts == starts, 3);
    CHECK(subscriber ? line.sender.disconnects == 1 : line.receiver.stops == 1);
    send_all(&line);
    PAIR_UNTIL(&line.pair, line.receiver.last == 30 && !left(&line), 1);
    finish(&line);
}

static void gather(void *argument, const lunar_xdp_message *message) {
    Sender *sender = argument;
    CHECK(message->sequence == sender->losses + 1 && is_filled(message->bytes, message->sequence, 64));
    sender->losses = message->sequence;
    pair_release(sender, message->hold);
}

static void recalled(void) {
    Line line;
    make(&line, true, 50);
    connect(&line);
    send_all(&line);
    PAIR_UNTIL(&line.pair, line.receiver.delivered == 50 && !left(&line), 1);
    line.sender.count = 90;
    line.pair.wire.cut = true;
    send_all(&line);
    pair_run_for(&line.pair, 700000000);
    CHECK(line.sender.disconnects == 1);
    line.sender.losses = 50;
    lunar_xdp_outgoing_recall(line.sender.end, gather, &line.sender);
    CHECK(line.sender.losses == 90 && line.sender.held == 0);
    finish(&line);
}

/* From within calls of the host. */
static void closed_from_within(void) {
    for (uint64_t at = 1; at < 40; at += 6) {
        Line line;
        make(&line, true, 50);
        line.sender.size_of = line.receiver.size_of = some_sizes;
        line.receiver.close_at = at;
        line.receiver.refuse_every = at % 2 ? 3 : 0;
        connect(&line);
        send_all(&line);
        for (int i = 0; i < 300; i++) {
            pair_turn(&line.pair);
            if (line.receiver.is_waiting && line.receiver.end) {
                line.receiver.is_waiting = false;
                lunar_xdp_incoming_resume(line.receiver.end);
            }
        }
        CHECK(line.receiver.delivered == at && line.sender.disconnects == 1);
        finish(&line);
    }
    Line line;
    make(&line, true, 5000);
    connect(&line);
    line.sender.closes_itself = true;
    send_all(&line);
    PAIR_UNTIL(&line.pair, !line.sender.end && line.receiver.stops == 1, 1);
    finish(&line);
}

/* A publisher whose port takes nothing for a while. */
static void no_room_in_the_port(bool reliable) {
    Line line;
    make(&line, reliable, 20000);
    line.sender.size_of = line.receiver.size_of = some_sizes;
    line.pair.ports[0].most = 20;
    connect(&line);
    send_all(&line);
    CHECK(line.sender.refusals);
    PAIR_UNTIL(&line.pair, line.receiver.last == 20000, 10);
    CHECK(line.receiver.delivered == 20000 && lunar_xdp_engine_statistics(line.pair.engines[0])->port_full);
    CHECK(line.receiver.lost == 0);
    finish(&line);
}

/* Memory that the host does not have at the moment is asked for again. */
static void no_memory_for_now(void) {
    Line line;
    make(&line, true, 2000);
    line.sender.size_of = line.receiver.size_of = some_sizes;
    line.receiver.fail_begin_every = 5;
    line.pair.wire.lose_ppm = 10000;
    connect(&line);
    send_all(&line);
    PAIR_UNTIL(&line.pair, line.receiver.delivered == 2000 && !left(&line), 30);
    CHECK(lunar_xdp_engine_statistics(line.pair.engines[1])->memory_refused);
    finish(&line);
}

/* The interface takes less than it did: streams go on in smaller parts, and lose nothing but what was under way. */
static void a_smaller_mtu(bool reliable) {
    Line line;
    make(&line, reliable, 100);
    line.sender.size_of = line.receiver.size_of = some_sizes;
    connect(&line);
    send_all(&line);
    PAIR_UNTIL(&line.pair, line.receiver.last == 100 && !left(&line), 1);
    line.pair.ports[0].largest = line.pair.ports[1].largest = 1000;
    for (line.sender.count = 103; line.sender.count < 300; line.sender.count += 5) {
        send_all(&line);
        pair_turn(&line.pair);
    }
    PAIR_UNTIL(&line.pair, line.receiver.last == line.sender.sequence && !left(&line), 2);
    CHECK(line.receiver.starts == 2 && line.sender.connects == 1);
    CHECK(line.sender.sequence > 290 && line.receiver.lost < 30);
    finish(&line);
}

/* A destination that the port will never reach is silent, no more; other streams do not wait for it. */
static void out_of_reach(void) {
    Line line;
    make(&line, true, 100);
    connect(&line);
    PAIR_UNTIL(&line.pair, line.sender.connected, 1);
    line.pair.ports[0].refuses = true;
    send_all(&line);
    uint64_t turns = line.pair.turns;
    pair_run_for(&line.pair, UINT64_C(2000000000));
    CHECK(line.sender.disconnects == 1 && line.pair.turns - turns < 1000);
    CHECK(lunar_xdp_engine_statistics(line.pair.engines[0])->undeliverable);
    line.pair.ports[0].refuses = false;
    PAIR_UNTIL(&line.pair, line.receiver.delivered == 100 && !left(&line), 1);
    finish(&line);
}

static void one_of_a_kind(void) {
    Line line;
    make(&line, true, 0);
    lunar_xdp_stream stream = pair_stream(1, true);
    errno = 0;
    CHECK(!lunar_xdp_engine_open_outgoing(line.pair.engines[0], &stream, &line.pair.to, &pair_outgoing_host, NULL));
    CHECK(errno == EEXIST);
    lunar_destination narrow = line.pair.to;
    narrow.mtu = 200;
    stream = pair_stream(2, true);
    CHECK(!lunar_xdp_engine_open_outgoing(line.pair.engines[0], &stream, &narrow, &pair_outgoing_host, NULL));
    CHECK(errno == EINVAL);
    finish(&line);
}

int main(void) {
    for (int i = 0; i < 4; i++)
        in_any_order(i & 1, i & 2);
    a_cut(100000000, false);
    a_cut(2000000000, true);
    nothing_twice();
    a_cut_while_refused();
    slow_is_not_gone();
    closed_by_the_publisher(0);
    closed_by_the_publisher(300000);
    closed_with_some_held();
    closed_by_the_subscriber(0);
    closed_by_the_subscriber(300000);
    opened_anew_unheard(true);
    opened_anew_unheard(false);
    recalled();
    closed_from_within();
    no_room_in_the_port(true);
    no_room_in_the_port(false);
    no_memory_for_now();
    a_smaller_mtu(true);
    a_smaller_mtu(false);
    out_of_reach();
    one_of_a_kind();
    printf("lives of streams: ok\n");
    return 0;
}
