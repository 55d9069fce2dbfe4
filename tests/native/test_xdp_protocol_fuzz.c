/* Hostile datagrams to both ends of running streams, whose tokens the sender knows: nothing is read past its end (each
 * datagram has a block of its own, under ASan), no more memory is begun than was granted, and both engines go on to
 * serve honest streams. */
#include "../../transports/xdp/native/protocol/token.h"
#include "xdp_pair.h"

enum { STREAMS = 4, WINDOW = 64, MESSAGE_BYTES = 40000, RECENT = 64 };

typedef struct {
    Pair pair;
    Sender senders[STREAMS];
    Receiver receivers[STREAMS];
    uint64_t tokens[STREAMS][2];
    uint8_t recent[RECENT][2048]; /* honest datagrams, to be changed a little */
    uint32_t recent_bytes[RECENT], recent_to[RECENT], recent_count;
    uint64_t random;
} Field;

static uint32_t sizes(uint64_t sequence) { return sequence % 5 ? 100 : 30000; }

static bool remember(Wire *wire, int from, uint8_t *bytes, uint32_t size_bytes) {
    Field *field = wire->tap_argument;
    uint32_t at = field->recent_count++ % RECENT;
    memcpy(field->recent[at], bytes, size_bytes);
    field->recent_bytes[at] = size_bytes;
    field->recent_to[at] = (uint32_t)(1 - from);
    return true;
}

static void open_sender(Field *field, uint32_t i) {
    Sender *sender = &field->senders[i];
    *sender = (Sender){.size_of = sizes, .count = UINT64_MAX, .sequence = sender->sequence};
    pair_open_sender(&field->pair, sender, i, i % 2 == 0);
}

/* The checks of an honest host do not hold here: its peer may say anything. */
static bool take(void *context, const lunar_xdp_message *message) {
    Receiver *self = context;
    volatile uint8_t sum = 0;
    for (uint32_t i = 0; i < message->size_bytes; i++)
        sum ^= message->bytes[i];
    self->delivered++;
    return self->delivered % 11 != 0;
}

static bool take_over(void *context, const lunar_xdp_message *message) {
    if (!take(context, message))
        return false;
    pair_discard(context, message->hold);
    return true;
}

static uint8_t *begin(void *context, uint32_t size_bytes, void **hold) {
    Receiver *self = context;
    uint8_t *bytes = pair_begin(context, size_bytes, hold);
    CHECK(size_bytes <= MESSAGE_BYTES);
    CHECK(self->memory_bytes <= (self->reliable ? 2 * MESSAGE_BYTES + WINDOW * 65000 : 5 * MESSAGE_BYTES));
    return bytes;
}

static void started(void *context, uint64_t last_sequence, uint64_t newest_sequence) {
    (void)last_sequence;
    (void)newest_sequence;
    ((Receiver *)context)->running = true;
}

static void stopped(void *context, const char *reason) {
    CHECK(reason && ((Receiver *)context)->running);
    ((Receiver *)context)->running = false;
}

static void lost(void *context, uint64_t count) { CHECK(context && count); }

static const lunar_xdp_incoming_host wary_host = {started,      take,    begin, take_over,
                                                  pair_discard, stopped, lost,  pair_faulty};

static void open_receiver(Field *field, uint32_t i) {
    Receiver *receiver = &field->receivers[i];
    CHECK(receiver->blocks == 0);
    *receiver = (Receiver){.reliable = i % 2 == 0, .pair = &field->pair};
    lunar_xdp_stream stream = pair_stream(i, i % 2 == 0);
    receiver->end = lunar_xdp_engine_open_incoming(field->pair.engines[1], &stream, field->pair.keys[0],
                                                   &field->pair.to, &wary_host, receiver);
    CHECK(receiver->end);
}

static void make(Field *field, uint64_t seed) {
    memset(field, 0, sizeof *field);
    field->random = seed;
    lunar_xdp_limits limits = {.window = WINDOW, .message_bytes = MESSAGE_BYTES};
    pair_make(&field->pair, seed, &limits, 1500);
    field->pair.wire.tap = remember;
    field->pair.wire.tap_argument = field;
    for (uint32_t i = 0; i < STREAMS; i++) {
        lunar_xdp_stream stream = pair_stream(i, i % 2 == 0);
        for (int to = 0; to < 2; to++)
            field->tokens[i][to] = lunar_token_derive(field->pair.keys[0], stream.publisher, stream.subscriber,
                                                      stream.reliable, 1 - to);
        open_receiver(field, i);
        open_sender(field, i);
    }
}

/* Something that is nearly right: an honest datagram with a few numbers changed, cut off, or with more behind it. */
static void put_changed(Field *field) {
    uint8_t bytes[4096];
    if (!field->recent_count)
        return;
    uint32_t at = (uint32_t)fuzz_below(&field->random, field->recent_count < RECENT ? field->recent_count : RECENT);
    uint32_t size_bytes = field->recent_bytes[at];
    memcpy(bytes, field->recent[at], size_bytes);
    for (uint64_t changes = fuzz_below(&field->random, 4); changes; changes--) {
        uint32_t width = 1u << fuzz_below(&field->random, 4), place;
        /* Mostly within the first record. */
        place = (uint32_t)fuzz_below(&field->random, fuzz_below(&field->random, 8) ? 60 : size_bytes);
        if (place + width > size_bytes)
            continue;
        uint64_t value = 0;
        memcpy(&value, bytes + place, width);
        value = fuzz_lie(&field->random, value);
        memcpy(bytes + place, &value, width);
    }
    if (fuzz_below(&field->random, 8) == 0)
        size_bytes = (uint32_t)fuzz_below(&field->random, size_bytes + 1);
    memory_put(&field->pair.ports[field->recent_to[at]], bytes, size_bytes, field->pair.wire.now_ns);
}

/* Records of any kind with the right token and any content. */
static void put_random(Field *field) {
    static const uint8_t kinds[] = {1, 2, 3, 4, 5, 6, 7, 0x81, 0x82, 0x85, 0x86, 0, 0xff};
    static const uint16_t lengths[] = {12, 16, 20, 28, 40, 44, 52, 48, 108, 296, 304, 1400, 11};
    uint8_t bytes[4096];
    uint32_t size_bytes = LUNAR_WIRE_HEADER_BYTES, to = (uint32_t)fuzz_below(&field->random, 2);
    lunar_wire_put_header(bytes);
    for (uint64_t count = 1 + fuzz_below(&field->random, 2); count; count--) {
        uint8_t *record = bytes + size_bytes;
        uint16_t length = lengths[fuzz_below(&field->random, sizeof lengths / sizeof *lengths)];
        for (uint32_t i = 0; i < length; i += 4) {
            uint64_t base = fuzz_below(&field->random, 3) ? fuzz_below(&field->random, 100) : field->random;
            lunar_wire_put32(record + i, (uint32_t)fuzz_lie(&field->random, base));
        }
        lunar_wire_put_record(record, kinds[fuzz_below(&field->random, sizeof kinds)],
                              (uint32_t)fuzz_next(&field->random), length,
                              field->tokens[fuzz_below(&field->random, STREAMS)][to]);
        size_bytes += length;
    }
    memory_put(&field->pair.ports[to], bytes, size_bytes, field->pair.wire.now_ns);
}

static void go_on(Field *field, bool closes) {
    lunar_xdp_engine_set_time(field->pair.engines[0], field->pair.wire.now_ns);
    for (uint32_t i = 0; i < STREAMS; i++) {
        Sender *sender = &field->senders[i];
        for (uint64_t n = fuzz_below(&field->random, 4); n && sender->connected && sender->is_writable; n--)
            pair_send_one(sender);
        sender->is_writable = true;
        if (!field->receivers[i].end)
            open_receiver(field, i);
        else if (fuzz_below(&field->random, 4) == 0)
            lunar_xdp_incoming_resume(field->receivers[i].end);
        if (closes && fuzz_below(&field->random, 2000) == 0) {
            lunar_xdp_outgoing_close(sender->end);
            open_sender(field, i);
        }
    }
    pair_turn(&field->pair);
}

static uint64_t attack(uint64_t seed, uint64_t rounds) {
    Field *field = malloc(sizeof *field);
    CHECK(field);
    make(field, seed);
    for (uint32_t i = 0; i < STREAMS; i++)
        field->senders[i].count = 0; /* `writable` sends nothing by itself */
    for (uint64_t round = 0; round < rounds; round++) {
        for (uint64_t n = fuzz_below(&field->random, 3); n; n--)
            put_changed(field);
        if (fuzz_below(&field->random, 4) == 0)
            put_random(field);
        go_on(field, true);
        CHECK(lunar_xdp_engine_due(field->pair.engines[0]) && lunar_xdp_engine_due(field->pair.engines[1]));
    }
    const lunar_xdp_statistics *to_publisher = lunar_xdp_engine_statistics(field->pair.engines[0]);
    const lunar_xdp_statistics *to_subscriber = lunar_xdp_engine_statistics(field->pair.engines[1]);
    uint64_t delivered = to_subscriber->messages_delivered;
    printf("  faults %llu and %llu, malformed %llu and %llu, unknown %llu and %llu, delivered %llu\n",
           (unsigned long long)to_publisher->faults, (unsigned long long)to_subscriber->faults,
           (unsigned long long)to_publisher->malformed, (unsigned long long)to_subscriber->malformed,
           (unsigned long long)to_publisher->unknown_tokens, (unsigned long long)to_subscriber->unknown_tokens,
           (unsigned long long)delivered);
    CHECK(to_publisher->faults && to_subscriber->faults && delivered);
    /* Left alone and opened anew, everything works: who knows a token may have claimed numbers that are far ahead. */
    pair_run_for(&field->pair, 100000000); /* what is on its way arrives before that */
    for (uint32_t i = 0; i < STREAMS; i++) {
        lunar_xdp_outgoing_close(field->senders[i].end);
        if (field->receivers[i].end)
            lunar_xdp_incoming_close(field->receivers[i].end);
        open_sender(field, i);
        open_receiver(field, i);
    }
    for (int i = 0; i < 2000; i++)
        go_on(field, false);
    for (uint32_t i = 0; i < STREAMS; i++)
        CHECK(field->receivers[i].running && field->senders[i].connected);
    CHECK(to_subscriber->messages_delivered > delivered);
    pair_free(&field->pair);
    for (uint32_t i = 0; i < STREAMS; i++)
        CHECK(field->receivers[i].blocks == 0 && field->senders[i].held == 0);
    free(field);
    return delivered;
}

int main(void) {
    uint64_t seed = fuzz_seed(), rounds = fuzz_rounds(2);
    for (uint64_t i = 0; i < rounds; i++)
        attack(seed + i, 5000);
    printf("hostile datagrams: ok\n");
    return 0;
}
