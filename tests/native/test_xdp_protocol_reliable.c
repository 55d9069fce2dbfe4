/* The engine of the accelerated path, both ends in memory on a simulated clock: what it promises, one thing a test. */
#include "../../transports/xdp/native/protocol/token.h"
#include "xdp_pair.h"

static uint64_t seed;

static const lunar_xdp_statistics *statistics(const Pair *pair, int side) {
    return lunar_xdp_engine_statistics(pair->engines[side]);
}

static void finish(Pair *pair, Sender *sender, Receiver *receiver) {
    pair_free(pair);
    CHECK(sender->held == 0 && sender->held_bytes == 0);
    CHECK(receiver->blocks == 0 && receiver->memory_bytes == 0);
}

/* A whole transfer: everything arrives, once, in order, as it was; then the sender has nothing left. */
static void everything_arrives(uint32_t loss_ppm, uint64_t count, uint32_t (*size_of)(uint64_t), uint16_t mtu,
                               uint32_t window, uint32_t refuse_every) {
    Pair pair;
    lunar_xdp_limits limits = {.window = window};
    Sender sender = {.size_of = size_of, .count = count};
    Receiver receiver = {.size_of = size_of, .refuse_every = refuse_every};
    pair_make(&pair, seed, &limits, mtu);
    pair.wire.lose_ppm = pair.wire.repeat_ppm = pair.wire.delay_ppm = loss_ppm;
    pair.wire.extra_ns = 300000;
    pair_open_receiver(&pair, &receiver, 1, true);
    pair_open_sender(&pair, &sender, 1, true);
    uint64_t began_ns = pair.wire.now_ns;
    while (receiver.delivered < count || lunar_xdp_outgoing_unacknowledged(sender.end)) {
        lunar_xdp_engine_set_time(pair.engines[0], pair.wire.now_ns);
        pair_send_all(&sender);
        pair_turn(&pair);
        if (receiver.is_waiting && fuzz_below(&seed, 4) == 0) {
            receiver.is_waiting = false;
            lunar_xdp_incoming_resume(receiver.end);
        }
        CHECK(pair.wire.now_ns < began_ns + UINT64_C(600000000000));
    }
    CHECK(receiver.bytes && sender.held == 0 && receiver.blocks == 0 && !receiver.is_faulty);
    CHECK(statistics(&pair, 0)->faults == 0 && statistics(&pair, 1)->faults == 0);
    printf("  %4.1f %% lost: %llu messages, %llu datagrams, resent %llu, polls %llu, %.1f ms\n", loss_ppm / 1e4,
           (unsigned long long)count, (unsigned long long)pair.wire.carried,
           (unsigned long long)statistics(&pair, 0)->resent, (unsigned long long)statistics(&pair, 0)->polls_sent,
           (double)(pair.wire.now_ns - began_ns) / 1e6);
    if (!loss_ppm)
        CHECK(statistics(&pair, 0)->resent == 0 && statistics(&pair, 1)->duplicates == 0);
    finish(&pair, &sender, &receiver);
}

static uint32_t all_sizes(uint64_t sequence) {
    static const uint32_t sizes[] = {0, 1, 64, 1380, 1424, 1425, 2848, 2849, 5000, 65536, 100000};
    return sizes[sequence % (sizeof sizes / sizeof *sizes)];
}

static uint32_t always_1_mib(uint64_t sequence) { return sequence ? 1 << 20 : 1; }
static uint32_t always_64_mib(uint64_t sequence) { return sequence ? 64 << 20 : 1; }

static void reliable_streams(void) {
    static const uint32_t losses_ppm[] = {0, 10000, 50000, 150000, 300000};
    for (size_t i = 0; i < sizeof losses_ppm / sizeof *losses_ppm; i++) {
        everything_arrives(losses_ppm[i], 20000, always_64, 1500, 2048, 0);
        everything_arrives(losses_ppm[i], 300, all_sizes, 1500, 256, 0);
        everything_arrives(losses_ppm[i], 300, all_sizes, 1500, 64, 7);
        everything_arrives(losses_ppm[i], 6, always_1_mib, 1500, 2048, 3);
    }
    everything_arrives(10000, 2, always_64_mib, 9000, 2048, 0);
}

/* Part numbers wrap: a key is looked for with which the first stream begins just before that. */
static void numbers_wrap(bool reliable) {
    Pair pair;
    Sender sender = {.size_of = all_sizes, .count = 3000};
    Receiver receiver = {.size_of = all_sizes};
    uint32_t origin = (uint32_t)(PAIR_BEGINS_NS >> 20) + 1;
    uint8_t key[16] = {0};
    for (uint64_t i = 0; (uint32_t)lunar_token_siphash(key, (const uint8_t *)&origin, 4) < UINT32_MAX - 20000; i++)
        memcpy(key, &i, sizeof i);
    pair_make_with(&pair, seed, NULL, 1500, key);
    pair.wire.lose_ppm = pair.wire.delay_ppm = reliable ? 50000 : 0;
    pair.wire.extra_ns = 100000;
    pair_open_sender(&pair, &sender, 1, reliable);
    pair_open_receiver(&pair, &receiver, 1, reliable);
    PAIR_UNTIL(&pair, receiver.running, 5);
    while (receiver.delivered < 3000) {
        lunar_xdp_engine_set_time(pair.engines[0], pair.wire.now_ns);
        pair_send_all(&sender);
        pair_turn(&pair);
    }
    PAIR_UNTIL(&pair, !lunar_xdp_outgoing_unacknowledged(sender.end), 1);
    CHECK(receiver.last == 3000 && !receiver.lost);
    finish(&pair, &sender, &receiver);
}

/* Those that wait share a datagram; one that is flushed has one of its own; so have those for different times. */
static void datagrams_are_shared(void) {
    Pair pair;
    Sender senders[3] = {{.size_of = always_64}, {.size_of = always_64}, {.size_of = always_64}};
    Receiver receivers[3] = {{.size_of = always_64}, {.size_of = always_64}, {.size_of = always_64}};
    pair_make(&pair, seed, NULL, 1500);
    for (uint32_t i = 0; i < 3; i++) {
        pair_open_receiver(&pair, &receivers[i], i, i < 2);
        pair_open_sender(&pair, &senders[i], i, i < 2);
    }
    PAIR_UNTIL(&pair, receivers[0].running && receivers[1].running && receivers[2].running, 1);
    pair_run_for(&pair, 50000000);
    uint64_t carried = pair.wire.carried;
    lunar_xdp_engine_set_time(pair.engines[0], pair.wire.now_ns);
    for (uint32_t i = 0; i < 12; i++)
        CHECK(pair_send_one(&senders[i % 3]));
    CHECK(pair.wire.carried == carried);
    CHECK(lunar_xdp_engine_flush(pair.engines[0]) == 0);
    CHECK(pair.wire.carried == carried + 1 && pair.wire.transmit_ns == 0);
    for (uint32_t i = 0; i < 3; i++) {
        CHECK(pair_send_one(&senders[0]));
        lunar_xdp_engine_flush(pair.engines[0]);
    }
    CHECK(pair.wire.carried == carried + 4);
    uint8_t bytes[64];
    Block *block = malloc(sizeof *block);
    CHECK(block && (block->bytes = malloc(1)));
    block->size_bytes = 0;
    CHECK(pair_send_one(&senders[2]));
    uint64_t sequence = ++senders[2].sequence;
    fill(bytes, sequence, sizeof bytes);
    senders[2].held++;
    lunar_xdp_message message = {bytes, 64, 0, sequence, sequence * 1000, block, 12345};
    CHECK(lunar_xdp_outgoing_send(senders[2].end, &message) == 1);
    lunar_xdp_engine_flush(pair.engines[0]);
    CHECK(pair.wire.carried == carried + 6 && pair.wire.transmit_ns == 12345);
    pair_run_for(&pair, 50000000);
    CHECK(receivers[2].last == senders[2].sequence && receivers[0].delivered == 7);
    pair_free(&pair);
}

/* An acknowledgement goes with what is sent that way anyway. */
static void acknowledgements_ride_along(void) {
    Pair pair;
    Sender there = {.size_of = always_64}, back = {.size_of = always_64};
    Receiver there_end = {.size_of = always_64}, back_end = {.size_of = always_64};
    pair_make(&pair, seed, NULL, 1500);
    pair_open_receiver(&pair, &there_end, 1, true);
    pair_open_sender(&pair, &there, 1, true);
    lunar_xdp_stream stream = pair_stream(2, true);
    back.pair = back_end.pair = &pair;
    back_end.reliable = true;
    back.end = lunar_xdp_engine_open_outgoing(pair.engines[1], &stream, &pair.to, &pair_outgoing_host, &back);
    back_end.end = lunar_xdp_engine_open_incoming(pair.engines[0], &stream, pair.keys[1], &pair.to,
                                                  &pair_incoming_host, &back_end);
    CHECK(back.end && back_end.end);
    PAIR_UNTIL(&pair, there_end.running && back_end.running && there.connected && back.connected, 1);
    pair_run_for(&pair, 50000000);
    uint64_t carried = pair.wire.carried;
    for (uint64_t i = 1; i <= 1000; i++) {
        lunar_xdp_engine_set_time(pair.engines[0], pair.wire.now_ns);
        CHECK(pair_send_one(&there));
        lunar_xdp_engine_flush(pair.engines[0]);
        PAIR_UNTIL(&pair, there_end.delivered == i, 0.01);
        lunar_xdp_engine_set_time(pair.engines[1], pair.wire.now_ns);
        CHECK(pair_send_one(&back));
        lunar_xdp_engine_flush(pair.engines[1]);
        PAIR_UNTIL(&pair, back_end.delivered == i, 0.01);
        CHECK(lunar_xdp_outgoing_unacknowledged(there.end) == 0);
    }
    CHECK(pair.wire.carried - carried < 2010);
    CHECK(statistics(&pair, 0)->polls_sent == 0 && statistics(&pair, 1)->polls_sent == 0);
    pair_free(&pair);
}

/* A host that answers from within `deliver`, whose streams fill the same datagrams as the acknowledgements. */
static Sender echo;

static bool deliver_and_answer(void *context, const lunar_xdp_message *message) {
    if (!pair_deliver(context, message))
        return false;
    CHECK(echo.connected && pair_send_one(&echo));
    return true;
}

static void answered_from_within(void) {
    lunar_xdp_incoming_host host = pair_incoming_host;
    host.deliver = deliver_and_answer;
    Pair pair;
    Sender there = {.size_of = always_64};
    Receiver there_end = {.size_of = always_64, .reliable = true}, back_end = {.size_of = always_64, .reliable = true};
    pair_make(&pair, seed, NULL, 1500);
    echo = (Sender){.size_of = always_64, .pair = &pair};
    there_end.pair = back_end.pair = &pair;
    lunar_xdp_stream streams[] = {pair_stream(1, true), pair_stream(2, true)};
    pair_open_sender(&pair, &there, 1, true);
    there_end.end = lunar_xdp_engine_open_incoming(pair.engines[1], &streams[0], pair.keys[0], &pair.to, &host,
                                                   &there_end);
    echo.end = lunar_xdp_engine_open_outgoing(pair.engines[1], &streams[1], &pair.to, &pair_outgoing_host, &echo);
    back_end.end = lunar_xdp_engine_open_incoming(pair.engines[0], &streams[1], pair.keys[1], &pair.to,
                                                  &pair_incoming_host, &back_end);
    PAIR_UNTIL(&pair, there_end.running && back_end.running && there.connected && echo.connected, 1);
    pair_run_for(&pair, 50000000);
    for (uint64_t burst = 1; burst <= 100; burst++) {
        lunar_xdp_engine_set_time(pair.engines[0], pair.wire.now_ns);
        for (uint64_t i = 0; i < burst; i++)
            CHECK(pair_send_one(&there));
        PAIR_UNTIL(&pair, back_end.last == there.sequence, 0.1);
    }
    PAIR_UNTIL(&pair, !lunar_xdp_outgoing_unacknowledged(there.end) && !lunar_xdp_outgoing_unacknowledged(echo.end),
               0.1);
    pair_free(&pair);
}

/* A thousand streams cost no more datagrams than one: what is sent in one go shares them, and so do the answers. */
static void a_thousand_streams(void) {
    enum { COUNT = 1000 };
    Pair pair;
    Sender *senders = calloc(COUNT, sizeof *senders);
    Receiver *receivers = calloc(COUNT, sizeof *receivers);
    CHECK(senders && receivers);
    pair_make(&pair, seed, NULL, 1500);
    for (uint32_t i = 0; i < COUNT; i++) {
        senders[i].size_of = receivers[i].size_of = always_64;
        pair_open_receiver(&pair, &receivers[i], i, true);
        pair_open_sender(&pair, &senders[i], i, true);
    }
    pair_run_for(&pair, 3000000000);
    uint64_t carried = pair.wire.carried;
    lunar_xdp_engine_set_time(pair.engines[0], pair.wire.now_ns);
    for (uint32_t i = 0; i < COUNT; i++)
        CHECK(pair_send_one(&senders[i]));
    pair_run_for(&pair, 100000000);
    for (uint32_t i = 0; i < COUNT; i++)
        CHECK(receivers[i].delivered == 1 && senders[i].held == 0);
    CHECK(pair.wire.carried - carried < 120); /* 77 with data, 28 with acknowledgements */
    pair_free(&pair);
    free(senders);
    free(receivers);
}

int main(void) {
    seed = fuzz_seed();
    reliable_streams();
    numbers_wrap(true);
    numbers_wrap(false);
    datagrams_are_shared();
    acknowledgements_ride_along();
    answered_from_within();
    a_thousand_streams();
    printf("protocol: ok\n");
    return 0;
}
