/* Two engines' ports in memory, joined by a network that loses, repeats, delays and mixes up, on a clock of its own.
 *
 * Each datagram is received in a block of exactly its size, freed with `release`: ASan sees who reads past its end or
 * later.
 */
#ifndef LUNAR_XDP_MEMORY_H
#define LUNAR_XDP_MEMORY_H

#include <stdlib.h>
#include <string.h>

#include "../../transports/xdp/native/net/port.h"
#include "check.h"
#include "fuzz.h"

typedef struct {
    uint8_t *bytes;
    uint32_t size_bytes;
    uint64_t due_ns, number;
} Flight;

typedef struct Wire {
    uint64_t now_ns, random;
    uint32_t lose_ppm, repeat_ppm, delay_ppm; /* of a million */
    uint64_t latency_ns, extra_ns;            /* at most so much more for who is delayed */
    bool cut;
    uint64_t lost, carried;
    /* Called with each datagram that enters; false: it is not carried. */
    bool (*tap)(struct Wire *wire, int from, uint8_t *bytes, uint32_t size_bytes);
    void *tap_argument;
    uint64_t transmit_ns; /* of the last datagram */
} Wire;

typedef struct MemoryPort {
    lunar_port port; /* first */
    Wire *wire;
    struct MemoryPort *other;
    int side;
    uint8_t *open;
    uint32_t room_bytes;
    Flight *queue; /* to here, a heap by due time */
    uint32_t count, room;
    uint32_t largest; /* that it takes now, whatever the MTU of the path is; 0: no such limit */
    bool refuses;     /* it will never take any */
    uint32_t most;  /* datagrams on their way from here; what is more finds no room */
    uint32_t depth; /* that the other side can hold at a time; what is more is lost */
    uint64_t number;
    Flight given[64];
    uint32_t given_count;
} MemoryPort;

static inline bool flight_before(const Flight *a, const Flight *b) {
    return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->number < b->number;
}

static inline void memory_put(MemoryPort *to, const uint8_t *bytes, uint32_t size_bytes, uint64_t due_ns) {
    if (to->count == to->room) {
        to->room = to->room ? 2 * to->room : 64;
        CHECK((to->queue = realloc(to->queue, to->room * sizeof *to->queue)));
    }
    Flight flight = {malloc(size_bytes ? size_bytes : 1), size_bytes, due_ns, to->number++};
    CHECK(flight.bytes);
    memcpy(flight.bytes, bytes, size_bytes);
    uint32_t at = to->count++;
    for (; at && flight_before(&flight, &to->queue[(at - 1) / 2]); at = (at - 1) / 2)
        to->queue[at] = to->queue[(at - 1) / 2];
    to->queue[at] = flight;
}

static inline Flight memory_take(MemoryPort *port) {
    Flight first = port->queue[0], last = port->queue[--port->count];
    uint32_t at = 0;
    for (uint32_t child; (child = 2 * at + 1) < port->count; at = child) {
        if (child + 1 < port->count && flight_before(&port->queue[child + 1], &port->queue[child]))
            child++;
        if (!flight_before(&port->queue[child], &last))
            break;
        port->queue[at] = port->queue[child];
    }
    port->queue[at] = last;
    return first;
}

static inline int memory_receive(lunar_port *port, lunar_datagram *datagrams, int most) {
    MemoryPort *self = (MemoryPort *)port;
    int count = 0;
    while (count < most && count < 64 && self->count && self->queue[0].due_ns <= self->wire->now_ns) {
        Flight flight = memory_take(self);
        self->given[self->given_count++] = flight;
        datagrams[count++] = (lunar_datagram){.bytes = flight.bytes, .size_bytes = flight.size_bytes, .family = 4};
    }
    return count;
}

static inline void memory_release(lunar_port *port) {
    MemoryPort *self = (MemoryPort *)port;
    while (self->given_count)
        free(self->given[--self->given_count].bytes);
}

static inline bool memory_has_input(lunar_port *port) {
    MemoryPort *self = (MemoryPort *)port;
    return self->count && self->queue[0].due_ns <= self->wire->now_ns;
}

static inline uint8_t *memory_begin(lunar_port *port, const lunar_destination *to, uint32_t *room_bytes) {
    MemoryPort *self = (MemoryPort *)port;
    CHECK(!self->open);
    if (self->most && self->other->count >= self->most)
        return NULL;
    self->room_bytes = to->mtu - 28u;
    if (self->largest && self->largest < self->room_bytes)
        self->room_bytes = self->largest;
    *room_bytes = self->refuses ? 0 : self->room_bytes;
    if (self->refuses)
        return NULL;
    CHECK((self->open = malloc(self->room_bytes)));
    return self->open;
}

static inline void memory_cancel(lunar_port *port) {
    MemoryPort *self = (MemoryPort *)port;
    CHECK(self->open);
    free(self->open);
    self->open = NULL;
}

static inline bool wire_chance(Wire *wire, uint32_t ppm) { return ppm && fuzz_below(&wire->random, 1000000) < ppm; }

static inline void memory_commit(lunar_port *port, uint32_t size_bytes, uint64_t transmit_ns) {
    MemoryPort *self = (MemoryPort *)port;
    Wire *wire = self->wire;
    CHECK(self->open && size_bytes <= self->room_bytes);
    wire->transmit_ns = transmit_ns;
    wire->carried++;
    bool carried = !wire->tap || wire->tap(wire, self->side, self->open, size_bytes);
    bool is_full = self->depth && self->other->count >= self->depth;
    if (!carried || is_full || wire->cut || wire_chance(wire, wire->lose_ppm)) {
        wire->lost++;
    } else {
        for (int copies = 1 + wire_chance(wire, wire->repeat_ppm); copies; copies--) {
            uint64_t extra_ns = wire_chance(wire, wire->delay_ppm) ? fuzz_below(&wire->random, wire->extra_ns + 1) : 0;
            memory_put(self->other, self->open, size_bytes, wire->now_ns + wire->latency_ns + extra_ns);
        }
    }
    memory_cancel(port);
}

static inline int memory_flush(lunar_port *port) {
    CHECK(!((MemoryPort *)port)->open);
    return 0;
}

static inline bool memory_prepare_sleep(lunar_port *port) { return !memory_has_input(port); }
static inline void memory_close(lunar_port *port) { (void)port; }

static const lunar_port_kind memory_kind = {
    memory_receive, memory_release, memory_has_input,     memory_begin, memory_commit,
    memory_cancel,  memory_flush,   memory_prepare_sleep, memory_close,
};

static inline void memory_join(MemoryPort ports[2], Wire *wire) {
    memset(ports, 0, 2 * sizeof *ports);
    for (int i = 0; i < 2; i++) {
        ports[i].port.kind = &memory_kind;
        ports[i].port.fd = -1;
        ports[i].wire = wire;
        ports[i].other = &ports[1 - i];
        ports[i].side = i;
    }
}

static inline void memory_drop_all(MemoryPort *port) {
    while (port->count)
        free(port->queue[--port->count].bytes);
}

static inline void memory_part(MemoryPort ports[2]) {
    for (int i = 0; i < 2; i++) {
        memory_drop_all(&ports[i]);
        free(ports[i].queue);
    }
}

#endif
