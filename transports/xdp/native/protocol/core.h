/* The engine's inside, as its parts see it.
 *
 *   engine     takes datagrams in, calls what is due, keeps streams and peers
 *   outgoing   the sending end of a stream: what is kept, what may be sent, what is sent again
 *   incoming   the receiving end: opening, closing, acknowledging
 *     window       puts a reliable stream back in order
 *     best_effort  lets a stream through that promises nothing, and counts what is lost
 *   outbox     the datagram that is being written, and the acknowledgements that each peer is owed
 *
 * Callbacks may close any stream.  Its memory stays until the end of the turn (`graves`), so a part looks at `closed`
 * after each callback and needs to know nothing else.
 */
#ifndef LUNAR_XDP_CORE_H
#define LUNAR_XDP_CORE_H

#include <sys/queue.h>

#include "assembly.h"
#include "engine.h"
#include "table.h"
#include "timers.h"
#include "wire.h"

enum {
    LUNAR_XDP_LEAST_DATAGRAM = 256,
    LUNAR_XDP_MOST_DATAGRAM = 65000, /* a record's length has 16 bits */
    LUNAR_XDP_LEAST_WINDOW = 64,
    LUNAR_XDP_MOST_WINDOW = 32768,
    LUNAR_XDP_CLOSE_TIMES = 5,
};

#define LUNAR_MS UINT64_C(1000000)
#define LUNAR_ACK_WITHIN_NS LUNAR_MS
#define LUNAR_CLOSE_NS (2 * LUNAR_MS)

enum { LUNAR_TIMER_OUTGOING, LUNAR_TIMER_INCOMING, LUNAR_TIMER_PEER };

TAILQ_HEAD(lunar_owed, lunar_xdp_incoming);
TAILQ_HEAD(lunar_ready, lunar_xdp_outgoing);

/* Another process, by where it receives. */
typedef struct lunar_peer {
    lunar_destination to;
    uint32_t datagram_bytes; /* that reach it */
    uint32_t streams;
    struct lunar_owed owed; /* incoming streams that should acknowledge */
    bool urgent;
    lunar_timer timer;
    LIST_ENTRY(lunar_peer) all;
    TAILQ_ENTRY(lunar_peer) pressing; /* while urgent */
} lunar_peer;

/* What both ends of a stream have; the first member of each. */
typedef struct lunar_stream {
    lunar_xdp_engine *engine;
    lunar_peer *peer;
    uint64_t token;       /* that its records come under */
    uint64_t other_token; /* that its answers go under */
    lunar_timer timer;
    bool incoming, reliable;
    bool closed; /* the host hears nothing more */
    bool dead;
    uint8_t closes; /* CLOSE records sent */
    SLIST_ENTRY(lunar_stream) grave;
    LIST_ENTRY(lunar_stream) all;
} lunar_stream;

typedef struct {
    lunar_peer *peer; /* NULL: none is open */
    uint8_t *bytes;
    uint32_t used_bytes, room_bytes;
    uint64_t transmit_ns;
    bool blocked; /* the port had no room in this turn */
    bool is_void; /* it goes nowhere */
} lunar_outbox;

struct lunar_xdp_engine {
    lunar_port *port;
    lunar_outbox outbox;
    uint64_t now_ns;
    lunar_table table;
    uint64_t last_token; /* a burst is of one stream: spares the look-up */
    lunar_stream *last_stream;
    lunar_timers timers;
    struct lunar_ready ready;
    TAILQ_HEAD(, lunar_peer) pressing;
    struct lunar_owed resumed;
    bool more; /* input may be left */
    int error;
    uint8_t key[16];
    lunar_xdp_limits limits;
    lunar_xdp_statistics statistics;
    uint32_t number; /* of lives, origins and epochs: grows over the process's engines, as it begins at the time */
    uint32_t timed;  /* streams and peers, each of which has a timer */
    LIST_HEAD(, lunar_peer) peers;
    LIST_HEAD(, lunar_stream) streams;
    SLIST_HEAD(, lunar_stream) graves;
    lunar_assembly *spare;
    uint8_t *nowhere;
};

/* engine.c */
void lunar_stream_bury(lunar_stream *stream);
static inline uint32_t lunar_engine_number(lunar_xdp_engine *engine) {
    if (!++engine->number)
        ++engine->number; /* 0 is none */
    return engine->number;
}

/* outbox.c.  Where to write a record of so many bytes for a peer, which counts as written; NULL: no room. */
uint8_t *lunar_outbox_reserve_slowly(lunar_xdp_engine *engine, lunar_peer *peer, uint32_t size_bytes,
                                     uint64_t transmit_ns);
void lunar_outbox_finish(lunar_xdp_engine *engine);
void lunar_outbox_owe_slowly(lunar_xdp_incoming *incoming, bool at_once);
void lunar_outbox_pay_pressing(lunar_xdp_engine *engine);
void lunar_outbox_press(lunar_peer *peer);

static inline uint8_t *lunar_outbox_reserve(lunar_xdp_engine *engine, lunar_peer *peer, uint32_t size_bytes,
                                            uint64_t transmit_ns) {
    lunar_outbox *outbox = &engine->outbox;
    if (outbox->peer != peer || outbox->transmit_ns != transmit_ns ||
        size_bytes > outbox->room_bytes - outbox->used_bytes)
        return lunar_outbox_reserve_slowly(engine, peer, size_bytes, transmit_ns);
    uint8_t *at = outbox->bytes + outbox->used_bytes;
    outbox->used_bytes += size_bytes;
    engine->statistics.records_sent++;
    return at;
}

/* outgoing.c */
void lunar_outgoing_take(lunar_xdp_outgoing *outgoing, const lunar_wire_record *record);
void lunar_outgoing_on_timer(lunar_xdp_outgoing *outgoing);
void lunar_outgoing_serve(lunar_xdp_outgoing *outgoing);
void lunar_outgoing_try_now(lunar_xdp_outgoing *outgoing);
void lunar_outgoing_free(lunar_xdp_outgoing *outgoing);

/* incoming.c */
void lunar_incoming_take(lunar_xdp_incoming *incoming, const lunar_wire_record *record);
void lunar_incoming_on_timer(lunar_xdp_incoming *incoming);
void lunar_incoming_serve(lunar_xdp_incoming *incoming);
void lunar_incoming_try_now(lunar_xdp_incoming *incoming);
void lunar_incoming_free(lunar_xdp_incoming *incoming);

#endif
