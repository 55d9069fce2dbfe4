/* A publisher's and a subscriber's side of streams over memory, with hosts that check all that the engines promise:
 * content, order, exactly or at most once, who is asked for what and when, and that all memory comes back. */
#ifndef LUNAR_XDP_PAIR_H
#define LUNAR_XDP_PAIR_H

#include "../../transports/xdp/native/protocol/engine.h"
#include "../../transports/xdp/native/protocol/wire.h"
#include "xdp_memory.h"

#define PAIR_BEGINS_NS UINT64_C(5000000000)

typedef struct Pair Pair;

typedef struct {
    Pair *pair;
    lunar_xdp_outgoing *end;
    bool connected, is_writable;
    uint64_t sequence; /* the last that was sent */
    uint64_t count;    /* how many to send */
    uint32_t (*size_of)(uint64_t sequence);
    uint32_t dropped;
    uint64_t held, held_bytes; /* by the engine */
    uint64_t losses, connects, disconnects, refusals;
    bool closes_itself;
    const char *reason;
} Sender;

typedef struct {
    Pair *pair;
    lunar_xdp_incoming *end;
    bool running, reliable, refuses, is_waiting, is_faulty;
    uint64_t last, delivered, bytes;
    uint64_t starts, stops, lost;
    uint64_t memory_bytes, most_memory_bytes, blocks;
    uint64_t refuse_every, offers;
    uint64_t fail_begin_every, begins;
    uint64_t close_at;
    uint32_t (*size_of)(uint64_t sequence);
    const char *reason;
} Receiver;

struct Pair {
    Wire wire;
    MemoryPort ports[2];
    lunar_xdp_engine *engines[2]; /* of the publisher, of the subscriber */
    lunar_destination to;
    uint8_t keys[2][16];
    uint64_t turns;
};

typedef struct {
    uint32_t size_bytes;
    uint8_t *bytes;
} Block;

/* Content that any mistake of place shows in. */
static inline uint8_t content(uint64_t sequence, size_t at) {
    return (uint8_t)(sequence * 31 + at + (at >> 8) * 7 + (at >> 16) * 13);
}

static inline void fill(uint8_t *bytes, uint64_t sequence, size_t size_bytes) {
    for (size_t i = 0; i < size_bytes; i++)
        bytes[i] = content(sequence, i);
}

static inline bool is_filled(const uint8_t *bytes, uint64_t sequence, size_t size_bytes) {
    for (size_t i = 0; i < size_bytes; i++)
        if (bytes[i] != content(sequence, i))
            return false;
    return true;
}

static inline uint32_t always_64(uint64_t sequence) { return sequence ? 64 : 64; }

/* The publisher's host. */

static inline void pair_connected(void *context) {
    Sender *self = context;
    CHECK(!self->connected);
    self->connected = self->is_writable = true;
    self->connects++;
    lunar_xdp_outgoing_start(self->end, self->sequence, 0, self->dropped);
}

static inline void pair_disconnected(void *context, const char *reason) {
    Sender *self = context;
    CHECK(self->connected && reason);
    self->connected = false;
    self->disconnects++;
    self->reason = reason;
}

static inline void pair_release(void *context, void *hold) {
    Sender *self = context;
    Block *block = hold;
    CHECK(self->held);
    self->held--;
    self->held_bytes -= block->size_bytes;
    memset(block->bytes, 0xee, block->size_bytes); /* who reads it later is found out */
    free(block->bytes);
    free(block);
}

static inline bool pair_send_one(Sender *self) {
    uint64_t sequence = self->sequence + 1;
    uint32_t size_bytes = self->size_of(sequence);
    Block *block = malloc(sizeof *block);
    CHECK(block && (block->bytes = malloc(size_bytes ? size_bytes : 1)));
    block->size_bytes = size_bytes;
    fill(block->bytes, sequence, size_bytes);
    lunar_xdp_message message = {block->bytes, size_bytes, self->dropped, sequence, sequence * 1000, block, 0};
    self->held++;
    self->held_bytes += size_bytes;
    int sent = lunar_xdp_outgoing_send(self->end, &message);
    if (sent == 1) {
        self->sequence = sequence;
        return true;
    }
    CHECK(sent == 0);
    pair_release(self, block);
    self->is_writable = false;
    self->refusals++;
    return false;
}

static inline void pair_send_all(Sender *self) {
    while (self->end && self->connected && self->is_writable && self->sequence < self->count)
        pair_send_one(self);
}

static inline void pair_writable(void *context) {
    Sender *self = context;
    CHECK(self->connected);
    self->is_writable = true;
    if (self->closes_itself) {
        lunar_xdp_outgoing_close(self->end);
        self->end = NULL;
        return;
    }
    pair_send_all(self);
}

static inline void pair_losses(void *context, uint64_t total) {
    Sender *self = context;
    CHECK(total > self->losses);
    self->losses = total;
}

/* The subscriber's host. */

static inline void pair_started(void *context, uint64_t last_sequence, uint64_t newest_sequence) {
    Receiver *self = context;
    CHECK(!self->running && !self->is_waiting && newest_sequence == 0);
    self->running = true;
    self->starts++;
    if (self->starts == 1)
        self->last = last_sequence;
}

static inline void pair_check(Receiver *self, const lunar_xdp_message *message) {
    CHECK(message->size_bytes == self->size_of(message->sequence));
    CHECK(message->source_time_ns == message->sequence * 1000);
    CHECK(is_filled(message->bytes, message->sequence, message->size_bytes));
    if (self->reliable)
        CHECK(message->sequence == self->last + 1);
    else
        CHECK(message->sequence > self->last);
    self->last = message->sequence;
    self->delivered++;
    self->bytes += message->size_bytes;
    if (self->delivered == self->close_at) {
        lunar_xdp_incoming_close(self->end);
        self->end = NULL;
    }
}

static inline bool pair_refuses(Receiver *self) {
    CHECK((self->running || self->is_waiting) && !self->is_faulty);
    self->offers++;
    if (!self->refuses && (!self->refuse_every || self->offers % self->refuse_every))
        return false;
    CHECK(!self->is_waiting); /* nothing is offered until `resume` */
    self->is_waiting = true;
    return true;
}

static inline bool pair_deliver(void *context, const lunar_xdp_message *message) {
    Receiver *self = context;
    if (pair_refuses(self))
        return false;
    pair_check(self, message);
    return true;
}

static inline uint8_t *pair_begin(void *context, uint32_t size_bytes, void **hold) {
    Receiver *self = context;
    self->begins++;
    if (self->fail_begin_every && self->begins % self->fail_begin_every == 0)
        return NULL;
    Block *block = malloc(sizeof *block);
    CHECK(block && (block->bytes = malloc(size_bytes ? size_bytes : 1)));
    block->size_bytes = size_bytes;
    self->memory_bytes += size_bytes;
    self->blocks++;
    if (self->memory_bytes > self->most_memory_bytes)
        self->most_memory_bytes = self->memory_bytes;
    *hold = block;
    return block->bytes;
}

static inline void pair_discard(void *context, void *hold) {
    Receiver *self = context;
    Block *block = hold;
    self->memory_bytes -= block->size_bytes;
    self->blocks--;
    free(block->bytes);
    free(block);
}

static inline bool pair_commit(void *context, const lunar_xdp_message *message) {
    Receiver *self = context;
    if (pair_refuses(self))
        return false;
    CHECK(((Block *)message->hold)->bytes == message->bytes);
    pair_check(self, message);
    pair_discard(self, message->hold);
    return true;
}

static inline void pair_stopped(void *context, const char *reason) {
    Receiver *self = context;
    CHECK(self->running && reason);
    self->running = false;
    self->is_waiting = false;
    self->stops++;
    self->reason = reason;
}

static inline void pair_lost(void *context, uint64_t count) {
    Receiver *self = context;
    CHECK(!self->reliable && count);
    self->lost += count;
}

static inline void pair_faulty(void *context, const char *reason) {
    Receiver *self = context;
    CHECK(!self->is_faulty);
    self->is_faulty = true;
    self->running = false;
    self->end = NULL;
    self->reason = reason;
}

static const lunar_xdp_outgoing_host pair_outgoing_host = {pair_connected, pair_disconnected, pair_writable,
                                                           pair_losses, pair_release};
static const lunar_xdp_incoming_host pair_incoming_host = {pair_started, pair_deliver, pair_begin, pair_commit,
                                                           pair_discard, pair_stopped, pair_lost,  pair_faulty};

/* Both. */

static inline void pair_make_with(Pair *pair, uint64_t seed, const lunar_xdp_limits *limits, uint16_t mtu,
                                  const uint8_t key[16]) {
    memset(pair, 0, sizeof *pair);
    pair->wire.random = seed;
    pair->wire.now_ns = PAIR_BEGINS_NS;
    pair->wire.latency_ns = 20000;
    memory_join(pair->ports, &pair->wire);
    pair->to = (lunar_destination){.family = 4, .port = 4000, .mtu = mtu};
    for (int i = 0; i < 2; i++) {
        memcpy(pair->keys[i], key, 16);
        pair->engines[i] = lunar_xdp_engine_new(&pair->ports[i].port, pair->keys[i], limits, pair->wire.now_ns);
        CHECK(pair->engines[i]);
    }
}

static inline void pair_make(Pair *pair, uint64_t seed, const lunar_xdp_limits *limits, uint16_t mtu) {
    static const uint8_t key[16] = "a key of 16 byte";
    pair_make_with(pair, seed, limits, mtu, key);
}

static inline lunar_xdp_stream pair_stream(uint32_t number, bool reliable) {
    lunar_xdp_stream stream = {.reliable = reliable};
    memcpy(stream.publisher, &number, sizeof number);
    memset(stream.subscriber, 0x55, sizeof stream.subscriber);
    return stream;
}

static inline void pair_open_sender(Pair *pair, Sender *sender, uint32_t number, bool reliable) {
    lunar_xdp_stream stream = pair_stream(number, reliable);
    sender->pair = pair;
    sender->end =
        lunar_xdp_engine_open_outgoing(pair->engines[0], &stream, &pair->to, &pair_outgoing_host, sender);
    CHECK(sender->end);
}

static inline void pair_open_receiver(Pair *pair, Receiver *receiver, uint32_t number, bool reliable) {
    lunar_xdp_stream stream = pair_stream(number, reliable);
    receiver->pair = pair;
    receiver->reliable = reliable;
    receiver->end = lunar_xdp_engine_open_incoming(pair->engines[1], &stream, pair->keys[0], &pair->to,
                                                   &pair_incoming_host, receiver);
    CHECK(receiver->end);
}

/* One turn of both engines; the clock goes to where something happens next. */
static inline void pair_turn(Pair *pair) {
    uint64_t next_ns = UINT64_MAX;
    for (int i = 0; i < 2; i++) {
        uint64_t due_ns = lunar_xdp_engine_work(pair->engines[i], pair->wire.now_ns);
        next_ns = due_ns < next_ns ? due_ns : next_ns;
    }
    for (int i = 0; i < 2; i++)
        if (pair->ports[i].count && pair->ports[i].queue[0].due_ns < next_ns)
            next_ns = pair->ports[i].queue[0].due_ns;
    if (next_ns == UINT64_MAX || next_ns > pair->wire.now_ns + 10000000)
        next_ns = pair->wire.now_ns + 10000000;
    pair->wire.now_ns += 500; /* a turn takes its time */
    if (next_ns > pair->wire.now_ns)
        pair->wire.now_ns = next_ns;
    pair->turns++;
}

static inline void pair_run_for(Pair *pair, uint64_t ns) {
    uint64_t end_ns = pair->wire.now_ns + ns;
    while (pair->wire.now_ns < end_ns)
        pair_turn(pair);
}

static inline void pair_free(Pair *pair) {
    lunar_xdp_engine_free(pair->engines[0]);
    lunar_xdp_engine_free(pair->engines[1]);
    memory_part(pair->ports);
}

#define PAIR_UNTIL(pair, claim, seconds)                                                  \
    do {                                                                                  \
        uint64_t until_ns = (pair)->wire.now_ns + (uint64_t)((seconds) * 1e9);            \
        while (!(claim)) {                                                                \
            pair_turn(pair);                                                              \
            CHECK((pair)->wire.now_ns < until_ns);                                        \
        }                                                                                 \
    } while (0)

#endif
