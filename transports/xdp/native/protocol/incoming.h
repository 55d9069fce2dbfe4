/* The receiving end of a stream.
 *
 *                START                        CLOSE, nothing held
 *   OPENING ---------------> RUNNING -----------------------------> OPENING, a new life
 *      | OPEN, repeated         |  `-- CLOSE, something held -> DRAINING -- all taken ---^
 *      |                        |
 *      `------- close ----------'---> CLOSING: LEAVE, repeated until it is answered, at most five times
 *
 * A *life* is a number that the sender quotes in its START: what was meant for an earlier opening is told apart.  An
 * *epoch* is one connected and started of the sender's host.  Both only grow.
 */
#ifndef LUNAR_XDP_INCOMING_H
#define LUNAR_XDP_INCOMING_H

#include "core.h"

enum { LUNAR_INCOMING_OPENING, LUNAR_INCOMING_RUNNING, LUNAR_INCOMING_DRAINING, LUNAR_INCOMING_CLOSING };
enum { LUNAR_BEST_EFFORT_ASSEMBLIES = 4 };

struct lunar_xdp_incoming {
    lunar_stream stream;
    const lunar_xdp_incoming_host *host;
    void *context;
    uint8_t state;
    bool owes, at_once; /* an acknowledgement, linked in `owed` of its peer; and not in a while */
    bool is_resumed, is_offering;
    bool is_refused; /* by the host, and there was no memory to hold it in: nothing is taken in until `resume` */
    TAILQ_ENTRY(lunar_xdp_incoming) owed;
    TAILQ_ENTRY(lunar_xdp_incoming) resumed;
    const char *reason; /* while draining */
    uint32_t life, origin, epoch, part_bytes, window;
    /* Part numbers.  Below `next` all have arrived; `edge` is above all that have, or were heard of; below `limit` they
     * were granted; below `taken` the host has them; at `told` the last acknowledgement was sent. */
    uint32_t next, edge, limit, taken, told;
    uint32_t dropped;        /* what the sender's host said last */
    uint64_t sequence;       /* of the last message that was complete in its turn */
    uint64_t taken_sequence; /* of the last that the host took */
    uint64_t lost;
    uint64_t arrived_ns;  /* the last part */
    uint64_t interval_ns; /* until the next OPEN, LEAVE, or acknowledgement of the same gap */
    uint64_t report_ns;   /* best effort: losses were last reported */
    uint64_t memory_bytes;
    lunar_assembly *head;                /* the message that `next` is in, if some of it has arrived */
    lunar_assembly *held, **held_end;    /* complete, refused by the host or behind one that was */
    /* Once something came out of order: */
    uint64_t *seen;          /* window bits; best effort: unused */
    lunar_assembly **begun;  /* by first part number; best effort: LUNAR_BEST_EFFORT_ASSEMBLIES of them */
};

/* incoming.c */
void lunar_incoming_fault(lunar_xdp_incoming *incoming, const char *reason);
void lunar_incoming_owe(lunar_xdp_incoming *incoming, bool at_once);
uint32_t lunar_incoming_ack_bytes(const lunar_xdp_incoming *incoming, uint32_t room_bytes, lunar_wire_ack *ack);
/* Gives the host memory back, or over. */
void lunar_incoming_discard(lunar_xdp_incoming *incoming, lunar_assembly *assembly);
/* Begins a message: NULL if it may not (the stream is closed then) or cannot be begun now. */
lunar_assembly *lunar_incoming_begin(lunar_xdp_incoming *incoming, const lunar_wire_data *data, bool skip);
/* Offers a complete message in memory of the host; true: taken, or the stream is closed. */
bool lunar_incoming_offer(lunar_xdp_incoming *incoming, lunar_assembly *assembly);
/* As much memory as a sender that keeps to the rules can make use of. */
uint64_t lunar_incoming_most_memory(const lunar_xdp_incoming *incoming);

/* window.c */
void lunar_window_take(lunar_xdp_incoming *incoming, const lunar_wire_data *data);
void lunar_window_poll(lunar_xdp_incoming *incoming, uint32_t end);
void lunar_window_offer_held(lunar_xdp_incoming *incoming);
void lunar_window_clear(lunar_xdp_incoming *incoming);
uint32_t lunar_window_missing(const lunar_xdp_incoming *incoming, lunar_wire_range *ranges, uint32_t most);

/* best_effort.c */
void lunar_best_effort_take(lunar_xdp_incoming *incoming, const lunar_wire_data *data);
void lunar_best_effort_tally(lunar_xdp_incoming *incoming, const lunar_wire_tally *tally);
void lunar_best_effort_clear(lunar_xdp_incoming *incoming);

#endif
