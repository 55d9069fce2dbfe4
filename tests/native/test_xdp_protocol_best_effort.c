/* Best-effort streams of the accelerated path: what arrives does so once and in order, at once, and what does not is
 * counted, at both ends, with the same number. */
#include "xdp_pair.h"

static uint64_t seed;

static uint32_t all_sizes(uint64_t sequence) {
    static const uint32_t sizes[] = {0, 1, 64, 1424, 1425, 5000, 20000};
    return sizes[sequence % (sizeof sizes / sizeof *sizes)];
}

static void send_spread(Pair *pair, Sender *sender, uint64_t drop_every) {
    while (sender->sequence < sender->count) {
        uint64_t burst = fuzz_below(&seed, 8);
        lunar_xdp_engine_set_time(pair->engines[0], pair->wire.now_ns);
        while (burst-- && sender->sequence < sender->count && sender->is_writable) {
            if (drop_every && fuzz_below(&seed, drop_every) == 0) {
                sender->sequence++; /* the publisher's queue dropped it */
                sender->dropped++;
            }
            pair_send_one(sender);
        }
        pair_turn(pair);
    }
}

static void losses_are_counted(uint32_t loss_ppm, uint32_t (*size_of)(uint64_t), uint64_t drop_every) {
    Pair pair;
    Sender sender = {.size_of = size_of, .count = 5000};
    Receiver receiver = {.size_of = size_of};
    pair_make(&pair, fuzz_next(&seed), NULL, 1500);
    pair_open_receiver(&pair, &receiver, 1, false);
    pair_open_sender(&pair, &sender, 1, false);
    PAIR_UNTIL(&pair, sender.connected && receiver.running, 1);
    pair.wire.lose_ppm = pair.wire.repeat_ppm = pair.wire.delay_ppm = loss_ppm;
    pair.wire.extra_ns = 100000;
    send_spread(&pair, &sender, drop_every);
    pair_run_for(&pair, 20000000);
    pair.wire.lose_ppm = 0;
    pair_run_for(&pair, 2000000000); /* the last tally, and the report of it */
    CHECK(receiver.delivered + receiver.lost + sender.dropped == sender.sequence);
    CHECK(sender.losses == receiver.lost && sender.held == 0 && receiver.blocks == 0);
    CHECK(lunar_xdp_outgoing_unacknowledged(sender.end) == 0);
    if (!loss_ppm)
        CHECK(receiver.lost == 0);
    printf("  %4.1f %% lost: %llu of %llu delivered\n", loss_ppm / 1e4, (unsigned long long)receiver.delivered,
           (unsigned long long)sender.sequence);
    CHECK(lunar_xdp_engine_statistics(pair.engines[0])->resent == 0);
    pair_free(&pair);
}

/* One message, and all of it is lost: the tally says so. */
static void a_tail_is_counted(void) {
    Pair pair;
    Sender sender = {.size_of = always_64, .count = 1};
    Receiver receiver = {.size_of = always_64};
    pair_make(&pair, 3, NULL, 1500);
    pair_open_receiver(&pair, &receiver, 1, false);
    pair_open_sender(&pair, &sender, 1, false);
    PAIR_UNTIL(&pair, sender.connected && receiver.running, 1);
    pair.wire.cut = true;
    lunar_xdp_engine_set_time(pair.engines[0], pair.wire.now_ns);
    pair_send_all(&sender);
    pair_turn(&pair);
    pair.wire.cut = false;
    PAIR_UNTIL(&pair, receiver.lost == 1 && sender.losses == 1, 0.1);
    pair_free(&pair);
}

/* A host that has no room keeps one message with the engine; what comes meanwhile is lost, and counted. */
static void refused(void) {
    Pair pair;
    Sender sender = {.size_of = all_sizes, .count = 100};
    Receiver receiver = {.size_of = all_sizes};
    pair_make(&pair, 3, NULL, 1500);
    pair_open_receiver(&pair, &receiver, 1, false);
    pair_open_sender(&pair, &sender, 1, false);
    PAIR_UNTIL(&pair, sender.connected && receiver.running, 1);
    receiver.refuses = true;
    lunar_xdp_engine_set_time(pair.engines[0], pair.wire.now_ns);
    pair_send_all(&sender);
    pair_run_for(&pair, 1000000);
    CHECK(receiver.delivered == 0 && receiver.blocks == 1 && sender.held == 0);
    receiver.refuses = receiver.is_waiting = false;
    lunar_xdp_incoming_resume(receiver.end);
    pair_turn(&pair);
    CHECK(receiver.delivered == 1 && receiver.last == 1);
    pair_run_for(&pair, 3000000000);
    CHECK(receiver.lost == 99 && sender.losses == 99);
    pair_free(&pair);
    CHECK(receiver.blocks == 0);
}

int main(void) {
    seed = fuzz_seed();
    for (int i = 0; i < 2; i++) {
        static const uint32_t losses_ppm[] = {0, 10000, 100000, 300000};
        for (size_t j = 0; j < sizeof losses_ppm / sizeof *losses_ppm; j++) {
            losses_are_counted(losses_ppm[j], always_64, i ? 10 : 0);
            losses_are_counted(losses_ppm[j], all_sizes, i ? 10 : 0);
        }
    }
    a_tail_is_counted();
    refused();
    printf("best effort: ok\n");
    return 0;
}
