/* Many streams at once on a bad network, with random everything: sizes, windows, losses, cuts, refusals, closing and
 * opening anew.  What was promised holds all the time (xdp_pair.h checks it), and when the network is well again
 * everything that was sent arrives.  LUNAR_ROUNDS makes it long: a round is about 500,000 datagrams. */
#include "xdp_pair.h"

enum { MOST_STREAMS = 40 };

typedef struct {
    Pair pair;
    uint32_t streams;
    Sender senders[MOST_STREAMS];
    Receiver receivers[MOST_STREAMS];
    uint64_t random;
    uint64_t opened;
} Chaos;

static uint64_t pick(Chaos *chaos, uint64_t bound) { return fuzz_below(&chaos->random, bound); }

static uint32_t mixed(uint64_t sequence) {
    static const uint32_t sizes[] = {64, 64, 64, 10, 0, 1424, 1425, 3000, 64, 64, 20000, 64, 300, 64, 64, 150000};
    return sizes[sequence * 7 % (sizeof sizes / sizeof *sizes)];
}

static bool is_reliable(uint32_t i) { return i % 4 != 3; }

static void open_both(Chaos *chaos, uint32_t i) {
    uint32_t (*size_of)(uint64_t) = i % 3 ? mixed : always_64;
    chaos->senders[i] = (Sender){.size_of = size_of};
    chaos->receivers[i] = (Receiver){.size_of = size_of};
    if (is_reliable(i) && pick(chaos, 3) == 0)
        chaos->receivers[i].refuse_every = 2 + pick(chaos, 30);
    if (pick(chaos, 4) == 0)
        chaos->receivers[i].fail_begin_every = 20;
    /* A number of its own: two ends that are opened together know of no earlier ones. */
    uint32_t number = (uint32_t)(i + MOST_STREAMS * ++chaos->opened);
    pair_open_receiver(&chaos->pair, &chaos->receivers[i], number, is_reliable(i));
    pair_open_sender(&chaos->pair, &chaos->senders[i], number, is_reliable(i));
}

static void close_both(Chaos *chaos, uint32_t i) {
    if (pick(chaos, 2) && chaos->receivers[i].end)
        lunar_xdp_incoming_close(chaos->receivers[i].end);
    lunar_xdp_outgoing_close(chaos->senders[i].end);
    pair_run_for(&chaos->pair, 1000000);
}

static void worsen(Chaos *chaos) {
    Wire *wire = &chaos->pair.wire;
    static const uint32_t rates_ppm[] = {0, 1000, 10000, 50000, 300000};
    wire->lose_ppm = rates_ppm[pick(chaos, 5)];
    wire->repeat_ppm = rates_ppm[pick(chaos, 5)];
    wire->delay_ppm = rates_ppm[pick(chaos, 5)];
    wire->extra_ns = pick(chaos, 2) ? 50000 : 3000000;
    wire->latency_ns = pick(chaos, 2) ? 10000 : 400000;
    wire->cut = pick(chaos, 12) == 0;
    for (int i = 0; i < 2; i++) {
        chaos->pair.ports[i].most = pick(chaos, 4) ? 0 : 10 + (uint32_t)pick(chaos, 100);
        chaos->pair.ports[i].depth = pick(chaos, 4) ? 0 : 50 + (uint32_t)pick(chaos, 500);
    }
}

static void heal(Chaos *chaos) {
    Wire *wire = &chaos->pair.wire;
    wire->lose_ppm = wire->repeat_ppm = wire->delay_ppm = 0;
    wire->cut = false;
    for (int i = 0; i < 2; i++)
        chaos->pair.ports[i].most = chaos->pair.ports[i].depth = 0;
}

static void go_on(Chaos *chaos, bool sends) {
    lunar_xdp_engine_set_time(chaos->pair.engines[0], chaos->pair.wire.now_ns);
    for (uint32_t i = 0; i < chaos->streams; i++) {
        Sender *sender = &chaos->senders[i];
        if (sends && sender->connected && pick(chaos, 4) == 0) {
            sender->is_writable = true;
            sender->count = sender->sequence + pick(chaos, 60);
        }
        pair_send_all(sender);
        if (chaos->receivers[i].is_waiting && pick(chaos, 6) == 0) {
            chaos->receivers[i].is_waiting = false;
            lunar_xdp_incoming_resume(chaos->receivers[i].end);
        }
    }
    pair_turn(&chaos->pair);
}

static bool all_arrived(Chaos *chaos) {
    for (uint32_t i = 0; i < chaos->streams; i++) {
        Sender *sender = &chaos->senders[i];
        Receiver *receiver = &chaos->receivers[i];
        if (!sender->connected || !receiver->running || lunar_xdp_outgoing_unacknowledged(sender->end))
            return false;
        if (is_reliable(i) ? receiver->last != sender->sequence
                           : receiver->delivered + receiver->lost != sender->sequence)
            return false;
    }
    return true;
}

static uint64_t run(uint64_t seed, uint64_t datagrams) {
    Chaos *chaos = calloc(1, sizeof *chaos);
    CHECK(chaos);
    chaos->random = seed;
    chaos->streams = 1 + (uint32_t)pick(chaos, MOST_STREAMS);
    lunar_xdp_limits limits = {.window = 64u << pick(chaos, 6), .message_bytes = 1 << 20,
                               .turn_datagrams = 8 + (uint32_t)pick(chaos, 300)};
    static const uint16_t mtus[] = {300, 1400, 1500, 9000};
    pair_make(&chaos->pair, seed, &limits, mtus[pick(chaos, 4)]);
    for (uint32_t i = 0; i < chaos->streams; i++)
        open_both(chaos, i);
    while (chaos->pair.wire.carried < datagrams) {
        worsen(chaos);
        uint64_t until_ns = chaos->pair.wire.now_ns + (chaos->pair.wire.cut ? UINT64_C(700000000) : 0);
        for (int i = 0; i < 300 || chaos->pair.wire.now_ns < until_ns; i++)
            go_on(chaos, !chaos->pair.wire.cut); /* nothing is new during a cut, so that time passes */
    }
    heal(chaos);
    for (uint32_t i = 0; i < chaos->streams; i++)
        chaos->senders[i].is_writable = chaos->senders[i].connected;
    uint64_t until_ns = chaos->pair.wire.now_ns + UINT64_C(20000000000);
    while (!all_arrived(chaos)) {
        go_on(chaos, false);
        CHECK(chaos->pair.wire.now_ns < until_ns);
    }
    const lunar_xdp_statistics *from = lunar_xdp_engine_statistics(chaos->pair.engines[0]);
    const lunar_xdp_statistics *to = lunar_xdp_engine_statistics(chaos->pair.engines[1]);
    CHECK(!from->faults && !to->faults && !from->malformed && !to->malformed);
    uint64_t cut_off = 0;
    for (uint32_t i = 0; i < chaos->streams; i++)
        cut_off += chaos->senders[i].disconnects;
    printf("  seed %llu: %u streams, %llu datagrams, %llu lost, %llu messages, %llu resent, %llu duplicates, "
           "%llu cut off\n",
           (unsigned long long)seed, chaos->streams, (unsigned long long)chaos->pair.wire.carried,
           (unsigned long long)chaos->pair.wire.lost, (unsigned long long)to->messages_delivered,
           (unsigned long long)from->resent, (unsigned long long)to->duplicates,
           (unsigned long long)cut_off);
    fflush(stdout);
    uint64_t carried = chaos->pair.wire.carried;
    for (uint32_t i = 0; i < chaos->streams; i += 2)
        close_both(chaos, i);
    pair_run_for(&chaos->pair, 200000000);
    pair_free(&chaos->pair);
    for (uint32_t i = 0; i < chaos->streams; i++)
        CHECK(chaos->senders[i].held == 0 && chaos->receivers[i].blocks == 0);
    free(chaos);
    return carried;
}

int main(void) {
    uint64_t seed = fuzz_seed(), rounds = fuzz_rounds(1), carried = 0;
    for (uint64_t i = 0; i < 4 * rounds; i++)
        carried += run(seed + i, 6000);
    printf("chaos: ok, %llu datagrams\n", (unsigned long long)carried);
    return 0;
}
