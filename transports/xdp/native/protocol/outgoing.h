/* The sending end of a stream.
 *
 *             OPEN              start                   silence
 *   WAITING -------> OFFERED --------> RUNNING -------------------------> CUT_OFF
 *      ^                ^  ^---- OPEN of a newer life ----' |                |
 *      |                `------------- an answer -----------|----------------'
 *      |<------------------ LEAVE, or broken rules ---------'
 *
 *   any of them, close: CLOSING: CLOSE, repeated until it is answered, at most five times
 *
 * Messages are kept in a ring from when they are taken until the other end's host has them (best effort: until they are
 * written).  `sent` is the one that is being sent.  Each has consecutive part numbers, given when it is taken, and
 * others when a new epoch begins.
 */
#ifndef LUNAR_XDP_OUTGOING_H
#define LUNAR_XDP_OUTGOING_H

#include "congestion.h"
#include "core.h"

enum {
    LUNAR_OUTGOING_WAITING,
    LUNAR_OUTGOING_OFFERED,
    LUNAR_OUTGOING_RUNNING,
    LUNAR_OUTGOING_CUT_OFF,
    LUNAR_OUTGOING_CLOSING,
};

typedef struct {
    lunar_xdp_message message;
    uint32_t first, parts;
} lunar_kept;

/* When a part was last sent again. */
typedef struct {
    uint32_t pn, at_us;
    bool is_set;
} lunar_resent;

struct lunar_xdp_outgoing {
    lunar_stream stream;
    const lunar_xdp_outgoing_host *host;
    void *context;
    uint8_t state;
    bool start_heard, wanted, ready, was_told, is_timing;
    bool calls;      /* the other end may not know that this sender is there */
    uint8_t tallies; /* sent in a row */
    TAILQ_ENTRY(lunar_xdp_outgoing) in_ready;
    uint32_t life, origin, epoch;
    uint32_t kept_life; /* that what is kept was meant for */
    uint32_t window, message_bytes, offered_datagram, part_bytes;
    lunar_kept *kept;
    uint32_t kept_mask, oldest, sent, end; /* indices that only grow */
    uint32_t part;                         /* of the message that is being sent */
    /* Part numbers: of START, the next to be sent for the first time, the next to be given, what was acknowledged. */
    uint32_t first_pn, next_pn, end_pn, acked, taken, limit;
    lunar_congestion congestion;
    lunar_resent *resent; /* by part number, once something was lost */
    uint64_t quiet_since_ns, ask_ns, interval_ns; /* nothing heard since; when to ask; and how long after that again */
    uint64_t rtt_ns, timed_ns;
    uint32_t timed_pn;
    uint64_t written_ns; /* best effort */
    uint64_t lost, lost_before, lost_told; /* in this life, before it, in all */
    uint64_t last_sequence, newest_sequence, written_sequence;
    uint32_t dropped, written_dropped;
};

static inline lunar_kept *lunar_outgoing_kept(const lunar_xdp_outgoing *outgoing, uint32_t index) {
    return &outgoing->kept[index & outgoing->kept_mask];
}

/* outgoing.c */
void lunar_outgoing_wait_for_answer(lunar_xdp_outgoing *outgoing);
void lunar_outgoing_reset_interval(lunar_xdp_outgoing *outgoing);
void lunar_outgoing_broke_rules(lunar_xdp_outgoing *outgoing, const char *reason);
void lunar_outgoing_other_end_lives(lunar_xdp_outgoing *outgoing);

/* sending.c */
bool lunar_sending_keep(lunar_xdp_outgoing *outgoing, const lunar_xdp_message *message);
void lunar_sending_release(lunar_xdp_outgoing *outgoing);
void lunar_sending_renumber(lunar_xdp_outgoing *outgoing);
/* Sends what may be sent, at most so many parts; what is left is served later. */
void lunar_sending_go_on(lunar_xdp_outgoing *outgoing, uint32_t most);
bool lunar_sending_has_room(const lunar_xdp_outgoing *outgoing);
void lunar_sending_queue(lunar_xdp_outgoing *outgoing);
void lunar_sending_acknowledged(lunar_xdp_outgoing *outgoing, const lunar_wire_ack *ack);

#endif
