/* The engine of the accelerated path, both ends in memory on a simulated clock: what it promises, one thing a test. */
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

int main(void) {
    seed = fuzz_seed();
    reliable_streams();
    printf("protocol: ok\n");
    return 0;
}
