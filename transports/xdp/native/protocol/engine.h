/* The protocol engine: one process's end of all of its streams, over one port.
 *
 * Without I/O of its own: datagrams come and go through the port (port.h), and the time is told by the caller.  One
 * thread at a time.  A *stream* is all that one publisher sends to one process.  The rules are in docs/xdp-protocol.md.
 *
 * Calls of the host (the callbacks) are made within `lunar_xdp_engine_work` and, of an outgoing stream, `release` also
 * within start, send and close.  They may call start, send and close of any stream, and resume; nothing else.
 * After `close` a stream's host hears nothing more, and the pointer is no longer the caller's.
 */
#ifndef LUNAR_XDP_ENGINE_H
#define LUNAR_XDP_ENGINE_H

#include <stdbool.h>
#include <stdint.h>

#include "../net/port.h"

typedef struct lunar_xdp_engine lunar_xdp_engine;
typedef struct lunar_xdp_outgoing lunar_xdp_outgoing;
typedef struct lunar_xdp_incoming lunar_xdp_incoming;

/* What 0 stands for is in brackets. */
typedef struct {
    uint32_t window;         /* parts on their way to here, a power of two, 64 to 32768 [2048] */
    uint32_t message_bytes;  /* the largest message, either way [64 MiB] */
    uint32_t datagram_bytes; /* the largest that can be received here [65000]; the path's MTU bounds it too */
    uint32_t turn_datagrams; /* taken in by one `work` [256] */
    uint64_t silence_ns;     /* so long nothing is heard until the other end counts as cut off [500 ms] */
} lunar_xdp_limits;

typedef struct {
    uint8_t publisher[16];
    uint8_t subscriber[16]; /* the participant */
    bool reliable;
} lunar_xdp_stream;

typedef struct {
    const uint8_t *bytes;
    uint32_t size_bytes;
    uint32_t dropped; /* how many of the stream were dropped before they came to the engine, so far; may wrap */
    uint64_t sequence;
    uint64_t source_time_ns;
    void *hold;           /* outgoing: given back by `release` */
    uint64_t transmit_ns; /* outgoing: passed on to the port, 0: now */
} lunar_xdp_message;

/* Reasons are English sentences that live forever. */
typedef struct {
    void (*connected)(void *context); /* `start` is next */
    void (*disconnected)(void *context, const char *reason);
    void (*writable)(void *context);
    void (*losses)(void *context, uint64_t total);
    /* The bytes are no longer needed.  Calls nothing of the engine. */
    void (*release)(void *context, void *hold);
} lunar_xdp_outgoing_host;

typedef struct {
    void (*started)(void *context, uint64_t last_sequence, uint64_t newest_sequence);
    /* Takes a whole message, whose bytes are the engine's again afterwards.  False: no room.  The engine keeps it,
     * offers nothing else of the stream until `resume`, then this one again, by `commit`. */
    bool (*deliver)(void *context, const lunar_xdp_message *message);
    /* Memory to put a message together in; NULL: none now, and what came is treated as lost.  `*hold` names it. */
    uint8_t *(*begin)(void *context, uint32_t size_bytes, void **hold);
    /* The memory of `message->hold` is filled: takes it over.  False: as for `deliver`; the memory stays the
     * engine's. */
    bool (*commit)(void *context, const lunar_xdp_message *message);
    void (*discard)(void *context, void *hold);
    void (*stopped)(void *context, const char *reason);
    void (*lost)(void *context, uint64_t count); /* so many more; best effort */
    void (*faulty)(void *context, const char *reason); /* the stream is closed; nothing follows */
} lunar_xdp_incoming_host;

/* All since the engine was made. */
typedef struct {
    uint64_t datagrams_received, datagrams_sent;
    uint64_t records_received, records_sent;
    uint64_t messages_sent, messages_delivered;
    uint64_t resent;         /* parts sent again */
    uint64_t duplicates;     /* parts that had arrived before */
    uint64_t out_of_order;   /* parts that came before one with a lower number */
    uint64_t stale;          /* records of an earlier life or epoch of their stream */
    uint64_t unknown_tokens; /* records for no stream of this process */
    uint64_t malformed;      /* datagrams or records that are none */
    uint64_t faults;         /* streams closed because the other end broke the rules */
    uint64_t acks_sent, acks_received;
    uint64_t polls_sent, polls_received;
    uint64_t halvings;      /* of a window in use, because much was lost */
    uint64_t port_full;     /* times that the port had no room */
    uint64_t undeliverable;  /* datagrams that the port will never take */
    uint64_t memory_refused; /* parts dropped because `begin` gave nothing */
    uint64_t best_effort_lost; /* messages, seen here as receiver */
} lunar_xdp_statistics;

/* `key`: 128 random bits, told by discovery to who may receive from here.  NULL: no memory, or limits out of range. */
lunar_xdp_engine *lunar_xdp_engine_new(lunar_port *port, const uint8_t key[16], const lunar_xdp_limits *limits,
                                       uint64_t now_ns);
/* Sends nothing more; releases and discards what is held.  The port is the caller's. */
void lunar_xdp_engine_free(lunar_xdp_engine *engine);

/* Call it before anything that is not called from a callback.  Time that goes back is ignored. */
void lunar_xdp_engine_set_time(lunar_xdp_engine *engine, uint64_t now_ns);
/* Takes in what has come and sends what can be sent, a bounded amount.  When to call it again at the latest: 0 at once,
 * UINT64_MAX when something comes. */
uint64_t lunar_xdp_engine_work(lunar_xdp_engine *engine, uint64_t now_ns);
/* What `work` would return now. */
uint64_t lunar_xdp_engine_due(const lunar_xdp_engine *engine);
/* Whether `work` has something to do: cheap enough to spin on. */
bool lunar_xdp_engine_has_work(lunar_xdp_engine *engine, uint64_t now_ns);
/* Hands over what was sent.  0, or what the port says. */
int lunar_xdp_engine_flush(lunar_xdp_engine *engine);
/* The last error of the port that concerns it as a whole, as a negative errno; 0 after it worked again. */
int lunar_xdp_engine_error(const lunar_xdp_engine *engine);
const lunar_xdp_statistics *lunar_xdp_engine_statistics(const lunar_xdp_engine *engine);

/* `to` with an MTU of 0: the way there is not known yet, nothing is sent until `redirect`.
 * NULL with errno: EEXIST there is one, ENOMEM, EINVAL an MTU too small. */
lunar_xdp_outgoing *lunar_xdp_engine_open_outgoing(lunar_xdp_engine *engine, const lunar_xdp_stream *stream,
                                                   const lunar_destination *to, const lunar_xdp_outgoing_host *host,
                                                   void *context);
/* `key`: of the publisher's engine. */
lunar_xdp_incoming *lunar_xdp_engine_open_incoming(lunar_xdp_engine *engine, const lunar_xdp_stream *stream,
                                                   const uint8_t key[16], const lunar_destination *to,
                                                   const lunar_xdp_incoming_host *host, void *context);

/* Streams that were opened to `from` go to `to` from now on, and try at once what they had grown slow at; what was under
 * way is sent again, in smaller parts if it has to.  The same twice: they only try.  0, or -EINVAL: an MTU too small. */
int lunar_xdp_engine_redirect(lunar_xdp_engine *engine, const lunar_destination *from, const lunar_destination *to);

/* After each `connected`.  `dropped` is what `lunar_xdp_message.dropped` counts from. */
void lunar_xdp_outgoing_start(lunar_xdp_outgoing *outgoing, uint64_t last_sequence, uint64_t newest_sequence,
                              uint32_t dropped);
/* 1: taken, 0: no room (`writable` follows), -EMSGSIZE: larger than the other end takes.  Written into a datagram,
 * which leaves with the next `flush` or `work` at the latest. */
int lunar_xdp_outgoing_send(lunar_xdp_outgoing *outgoing, const lunar_xdp_message *message);
/* Whether it would take a message now; if not `writable` follows. */
bool lunar_xdp_outgoing_has_room(lunar_xdp_outgoing *outgoing);
uint32_t lunar_xdp_outgoing_unacknowledged(const lunar_xdp_outgoing *outgoing);
/* Closes, and hands over each message of a reliable stream that may not have been taken, oldest first; what is held for
 * it is the caller's. */
void lunar_xdp_outgoing_recall(lunar_xdp_outgoing *outgoing,
                               void (*each)(void *argument, const lunar_xdp_message *message), void *argument);
void lunar_xdp_outgoing_close(lunar_xdp_outgoing *outgoing);
/* Whether nothing was heard for so long that `disconnected` was told. */
bool lunar_xdp_outgoing_is_cut_off(const lunar_xdp_outgoing *outgoing);

void lunar_xdp_incoming_resume(lunar_xdp_incoming *incoming);
void lunar_xdp_incoming_close(lunar_xdp_incoming *incoming);

#endif
