#include "outgoing.h"

#include <errno.h>
#include <stdlib.h>

#define ASK_LAST_NS (100 * LUNAR_MS)
#define CALL_FIRST_NS (10 * LUNAR_MS)
#define CALL_LAST_NS (5000 * LUNAR_MS)
#define TALLY_FIRST_NS (10 * LUNAR_MS)

enum { TALLIES = 3, BURST_PARTS = 128 };

static void arm_by(lunar_xdp_outgoing *out, uint64_t due_ns) {
    lunar_timers_by(&out->stream.engine->timers, &out->stream.timer, due_ns);
}

/* Waiting for an answer: asking again, ever more seldom. */

void lunar_outgoing_reset_interval(lunar_xdp_outgoing *out) {
    uint64_t now_ns = out->stream.engine->now_ns;
    uint64_t rtts_ns = 3 * out->rtt_ns;
    out->interval_ns = LUNAR_ACK_WITHIN_NS + (rtts_ns > LUNAR_MS ? rtts_ns : LUNAR_MS);
    if (out->interval_ns > ASK_LAST_NS)
        out->interval_ns = ASK_LAST_NS;
    out->quiet_since_ns = now_ns;
    out->ask_ns = now_ns + out->interval_ns;
}

void lunar_outgoing_wait_for_answer(lunar_xdp_outgoing *out) {
    lunar_outgoing_reset_interval(out);
    arm_by(out, out->ask_ns);
}

static bool waits_for_answer(const lunar_xdp_outgoing *out) {
    return !out->start_heard || (out->stream.reliable && out->next_pn != out->taken);
}

static void put_start(lunar_xdp_outgoing *out) {
    uint8_t *at = lunar_outbox_reserve(out->stream.engine, out->stream.peer, LUNAR_WIRE_START_BYTES, 0);
    lunar_wire_start start = {.epoch = out->epoch,
                              .life = out->life,
                              .origin = out->origin,
                              .pn = out->first_pn,
                              .last_sequence = out->last_sequence,
                              .newest_sequence = out->newest_sequence,
                              .dropped = out->dropped,
                              .part_bytes = out->part_bytes};
    if (at)
        lunar_wire_put_start(at, out->stream.other_token, &start);
}

static void ask(lunar_xdp_outgoing *out) {
    lunar_xdp_engine *engine = out->stream.engine;
    if (!out->start_heard)
        put_start(out);
    if (out->stream.reliable && out->next_pn != out->taken) {
        uint8_t *at = lunar_outbox_reserve(engine, out->stream.peer, LUNAR_WIRE_POLL_BYTES, 0);
        if (at)
            lunar_wire_put_poll(at, out->stream.other_token, out->epoch, out->next_pn);
        engine->statistics.polls_sent++;
    }
    out->interval_ns = 2 * out->interval_ns < ASK_LAST_NS ? 2 * out->interval_ns : ASK_LAST_NS;
    out->ask_ns = engine->now_ns + out->interval_ns;
}

/* The other end. */

static void offer(lunar_xdp_outgoing *out) {
    out->state = LUNAR_OUTGOING_OFFERED;
    out->was_told = true;
    out->wanted = false;
    out->host->connected(out->context);
}

static void leave_other_end(lunar_xdp_outgoing *out, const char *reason) {
    bool told = out->was_told && out->state != LUNAR_OUTGOING_CUT_OFF;
    out->state = LUNAR_OUTGOING_WAITING;
    out->was_told = out->wanted = false;
    if (told)
        out->host->disconnected(out->context, reason);
}

static void put_close(lunar_xdp_outgoing *out, uint32_t reason) {
    uint8_t *at = lunar_outbox_reserve(out->stream.engine, out->stream.peer, LUNAR_WIRE_CLOSE_BYTES, 0);
    if (at)
        lunar_wire_put_close(at, LUNAR_WIRE_CLOSE, out->stream.other_token, out->origin, reason);
}

void lunar_outgoing_broke_rules(lunar_xdp_outgoing *out, const char *reason) {
    if (out->state == LUNAR_OUTGOING_WAITING || out->state == LUNAR_OUTGOING_CLOSING)
        return;
    out->stream.engine->statistics.faults++;
    put_close(out, LUNAR_WIRE_REASON_FAULT);
    /* Another origin, so that a call is heard although the CLOSE may not be. */
    out->origin = lunar_engine_number(out->stream.engine);
    out->calls = true;
    out->interval_ns = 0;
    arm_by(out, out->stream.engine->now_ns + CALL_FIRST_NS);
    leave_other_end(out, reason);
}

/* An answer after `disconnected`: the host may go on, with what is kept. */
void lunar_outgoing_other_end_lives(lunar_xdp_outgoing *out) {
    if (out->state == LUNAR_OUTGOING_CUT_OFF)
        offer(out);
}

/* A life that ended or broke the rules is not taken up again. */
static bool is_newer_life(const lunar_xdp_outgoing *out, uint32_t life) {
    return !out->life || (int32_t)(life - out->life) > 0;
}

static void take_open(lunar_xdp_outgoing *out, const lunar_wire_open *open) {
    if (out->state == LUNAR_OUTGOING_CLOSING || !out->stream.peer->to.mtu)
        return; /* the latter: there is no way to answer; once there is, a call has it repeated */
    if (open->window < LUNAR_XDP_LEAST_WINDOW || open->window > LUNAR_XDP_MOST_WINDOW ||
        (open->window & (open->window - 1)) || open->datagram_bytes < LUNAR_XDP_LEAST_DATAGRAM ||
        !open->message_bytes || !open->life) {
        lunar_outgoing_broke_rules(out, "the other end opens the stream with impossible limits");
        return;
    }
    if (!is_newer_life(out, open->life)) {
        if (open->life == out->life)
            lunar_outgoing_other_end_lives(out);
        else
            out->stream.engine->statistics.stale++;
        return;
    }
    if (out->state != LUNAR_OUTGOING_WAITING)
        leave_other_end(out, "the other end opened the stream anew");
    if (out->stream.closed)
        return;
    out->calls = false;
    out->lost_before = out->lost_told;
    out->lost = 0;
    out->life = open->life;
    out->window = open->window;
    free(out->resent); /* has the size of a window */
    out->resent = NULL;
    out->message_bytes = open->message_bytes;
    out->offered_datagram = open->datagram_bytes;
    offer(out);
}

/* The other end counts anew in each of its lives. */
static void count_losses(lunar_xdp_outgoing *out) {
    uint64_t total = out->lost_before + out->lost;
    if (total < out->lost)
        total = UINT64_MAX; /* it lies */
    if (total <= out->lost_told)
        return;
    out->lost_told = total;
    out->host->losses(out->context, total);
}

static void take_ack(lunar_xdp_outgoing *out, const lunar_wire_ack *ack) {
    lunar_xdp_engine *engine = out->stream.engine;
    if (out->state == LUNAR_OUTGOING_WAITING || out->state == LUNAR_OUTGOING_CLOSING || !out->epoch ||
        ack->epoch != out->epoch) {
        engine->statistics.stale++;
        return;
    }
    engine->statistics.acks_received++;
    out->start_heard = true;
    lunar_outgoing_reset_interval(out);
    if (out->stream.reliable) {
        lunar_sending_acknowledged(out, ack);
    } else if (ack->lost > out->lost) {
        out->lost = ack->lost;
        count_losses(out);
    }
    if (out->stream.closed)
        return;
    lunar_outgoing_other_end_lives(out);
    lunar_outgoing_serve(out);
}

static void take_leave(lunar_xdp_outgoing *out, uint32_t life, uint32_t reason) {
    lunar_xdp_engine *engine = out->stream.engine;
    uint8_t *at = lunar_outbox_reserve(engine, out->stream.peer, LUNAR_WIRE_HEARD_BYTES, 0);
    if (at)
        lunar_wire_put_heard(at, LUNAR_WIRE_LEAVE_HEARD, out->stream.other_token, life);
    if (life != out->life || out->state == LUNAR_OUTGOING_WAITING)
        return;
    if (out->state == LUNAR_OUTGOING_CLOSING)
        lunar_stream_bury(&out->stream);
    else
        leave_other_end(out, reason == LUNAR_WIRE_REASON_FAULT ? "the subscriber's side says that the rules were broken"
                                                               : "the subscriber's side closed the stream");
}

void lunar_outgoing_take(lunar_xdp_outgoing *out, const lunar_wire_record *record) {
    lunar_wire_open open;
    lunar_wire_ack ack;
    uint32_t number, reason;
    if (record->kind == LUNAR_WIRE_ACK && lunar_wire_get_ack(record, &ack)) {
        take_ack(out, &ack);
    } else if (record->kind == LUNAR_WIRE_OPEN && lunar_wire_get_open(record, &open)) {
        take_open(out, &open);
    } else if (record->kind == LUNAR_WIRE_LEAVE && lunar_wire_get_close(record, &number, &reason)) {
        take_leave(out, number, reason);
    } else if (record->kind == LUNAR_WIRE_CLOSE_HEARD && lunar_wire_get_heard(record, &number)) {
        if (out->state == LUNAR_OUTGOING_CLOSING && number == out->origin)
            lunar_stream_bury(&out->stream);
    } else {
        out->stream.engine->statistics.malformed++;
        lunar_outgoing_broke_rules(out, "the other end sent a record that the stream cannot have");
    }
}

/* What is due. */

static void tally(lunar_xdp_outgoing *out) {
    lunar_xdp_engine *engine = out->stream.engine;
    lunar_wire_tally tally = {out->written_sequence, out->written_dropped, out->next_pn};
    uint64_t after_ns = TALLY_FIRST_NS;
    for (uint8_t i = 0; i < out->tallies; i++)
        after_ns *= 10;
    if (out->tallies == TALLIES || out->written_sequence <= out->last_sequence)
        return;
    if (out->sent != out->end) { /* in the middle of a message, which it would cut off */
        arm_by(out, engine->now_ns + TALLY_FIRST_NS);
        return;
    }
    if (out->written_ns + after_ns <= engine->now_ns) {
        uint8_t *at = lunar_outbox_reserve(engine, out->stream.peer, LUNAR_WIRE_TALLY_BYTES, 0);
        if (at)
            lunar_wire_put_tally(at, out->stream.other_token, out->epoch, &tally);
        if (++out->tallies == TALLIES)
            return;
        after_ns *= 10;
    }
    arm_by(out, out->written_ns + after_ns);
}

static void look_at_answers(lunar_xdp_outgoing *out) {
    lunar_xdp_engine *engine = out->stream.engine;
    if (!waits_for_answer(out))
        return;
    if (out->state == LUNAR_OUTGOING_RUNNING && engine->now_ns - out->quiet_since_ns >= engine->limits.silence_ns) {
        out->state = LUNAR_OUTGOING_CUT_OFF;
        out->wanted = false;
        out->interval_ns = ASK_LAST_NS;
        ask(out);
        arm_by(out, out->ask_ns);
        out->host->disconnected(out->context, "nothing is heard from the other end");
        return;
    }
    if (out->ask_ns <= engine->now_ns)
        ask(out);
    uint64_t silent_ns = out->quiet_since_ns + engine->limits.silence_ns;
    bool silence_first = out->state == LUNAR_OUTGOING_RUNNING && silent_ns < out->ask_ns;
    arm_by(out, silence_first ? silent_ns : out->ask_ns);
}

static void close_again(lunar_xdp_outgoing *out) {
    if (out->stream.closes == LUNAR_XDP_CLOSE_TIMES) {
        lunar_stream_bury(&out->stream);
        return;
    }
    put_close(out, LUNAR_WIRE_REASON_CLOSED);
    arm_by(out, out->stream.engine->now_ns + (LUNAR_CLOSE_NS << out->stream.closes++));
}

/* The other end opens the stream by itself, but may have grown slow at it, or take an earlier sender's for this one. */
static void call(lunar_xdp_outgoing *out) {
    lunar_xdp_engine *engine = out->stream.engine;
    if (!out->calls)
        return;
    uint8_t *at = lunar_outbox_reserve(engine, out->stream.peer, LUNAR_WIRE_HEARD_BYTES, 0);
    if (at)
        lunar_wire_put_heard(at, LUNAR_WIRE_CALL, out->stream.other_token, out->origin);
    out->interval_ns = out->interval_ns ? 10 * out->interval_ns : CALL_FIRST_NS;
    if (out->interval_ns > CALL_LAST_NS)
        out->interval_ns = CALL_LAST_NS;
    arm_by(out, engine->now_ns + out->interval_ns);
}

void lunar_outgoing_on_timer(lunar_xdp_outgoing *out) {
    switch (out->state) {
    case LUNAR_OUTGOING_WAITING:
        call(out);
        break;
    case LUNAR_OUTGOING_RUNNING:
    case LUNAR_OUTGOING_CUT_OFF:
        if (!out->stream.reliable)
            tally(out);
        look_at_answers(out);
        break;
    case LUNAR_OUTGOING_CLOSING:
        close_again(out);
        break;
    }
}

static uint32_t longest_part(const lunar_xdp_outgoing *out) {
    uint32_t most_bytes = out->stream.peer->datagram_bytes;
    if (out->offered_datagram < most_bytes)
        most_bytes = out->offered_datagram;
    return most_bytes - LUNAR_WIRE_HEADER_BYTES - LUNAR_WIRE_DATA_BYTES;
}

static void begin_epoch(lunar_xdp_outgoing *out, uint64_t last_sequence) {
    if (!out->stream.reliable)
        lunar_sending_release(out); /* half of it is lost */
    out->part_bytes = longest_part(out);
    lunar_sending_renumber(out);
    out->limit = out->first_pn + out->window;
    lunar_congestion_begin(&out->congestion, out->window, out->first_pn);
    if (out->oldest != out->end && lunar_outgoing_kept(out, out->oldest)->message.sequence <= last_sequence)
        last_sequence = lunar_outgoing_kept(out, out->oldest)->message.sequence - 1;
    out->last_sequence = out->written_sequence = last_sequence;
    out->dropped = out->written_dropped;
    out->epoch = lunar_engine_number(out->stream.engine);
    out->state = LUNAR_OUTGOING_RUNNING;
    out->start_heard = false;
    lunar_outgoing_wait_for_answer(out);
    put_start(out);
    lunar_sending_go_on(out, BURST_PARTS);
}

/* Whether parts are to have another size: at once if the path's MTU has become smaller, when nothing is kept if larger. */
static bool outgrew(const lunar_xdp_outgoing *out) {
    uint32_t longest = longest_part(out);
    return out->part_bytes > longest || (out->part_bytes < longest && out->oldest == out->end);
}

/* The other end may be reached again, or by another way. */
void lunar_outgoing_try_now(lunar_xdp_outgoing *out) {
    uint64_t now_ns = out->stream.engine->now_ns;
    if (out->state == LUNAR_OUTGOING_WAITING) {
        out->interval_ns = 0;
        arm_by(out, now_ns);
    } else if (out->state == LUNAR_OUTGOING_RUNNING && outgrew(out)) {
        begin_epoch(out, out->written_sequence);
    } else if (out->state == LUNAR_OUTGOING_RUNNING || out->state == LUNAR_OUTGOING_CUT_OFF) {
        out->ask_ns = now_ns;
        out->interval_ns = LUNAR_MS;
        arm_by(out, now_ns);
    }
}

/* Room, or an acknowledgement: goes on, and lets the host go on. */
void lunar_outgoing_serve(lunar_xdp_outgoing *out) {
    if (out->state == LUNAR_OUTGOING_RUNNING && outgrew(out))
        begin_epoch(out, out->written_sequence);
    lunar_sending_go_on(out, BURST_PARTS);
    if (out->wanted && out->state == LUNAR_OUTGOING_RUNNING && !out->ready && lunar_sending_has_room(out)) {
        out->wanted = false;
        out->host->writable(out->context);
    }
}

/* What the host calls. */

void lunar_xdp_outgoing_start(lunar_xdp_outgoing *out, uint64_t last_sequence, uint64_t newest_sequence,
                              uint32_t dropped) {
    if (out->stream.closed || out->state != LUNAR_OUTGOING_OFFERED)
        return;
    if (out->kept_life != out->life)
        lunar_sending_release(out); /* it was meant for another */
    out->kept_life = out->life;
    out->newest_sequence = newest_sequence;
    out->written_dropped = dropped;
    begin_epoch(out, last_sequence);
}

int lunar_xdp_outgoing_send(lunar_xdp_outgoing *out, const lunar_xdp_message *message) {
    if (out->state != LUNAR_OUTGOING_RUNNING || !lunar_sending_has_room(out)) {
        out->wanted = true;
        return 0;
    }
    if (out->part_bytes > longest_part(out))
        lunar_sending_queue(out); /* in smaller parts */
    if (message->size_bytes > out->message_bytes || message->size_bytes > out->stream.engine->limits.message_bytes)
        return -EMSGSIZE;
    if (!lunar_sending_keep(out, message))
        return -ENOMEM;
    lunar_sending_go_on(out, BURST_PARTS);
    if (out->stream.reliable)
        return 1;
    if (out->sent != out->end && !out->part) {
        out->end--; /* nothing of it has left: the host may have something newer by then */
        out->end_pn = lunar_outgoing_kept(out, out->end)->first;
        out->wanted = true;
        return 0;
    }
    out->written_ns = out->stream.engine->now_ns;
    out->tallies = 0;
    arm_by(out, out->written_ns + TALLY_FIRST_NS);
    return 1;
}

bool lunar_xdp_outgoing_has_room(lunar_xdp_outgoing *out) {
    bool has_room = out->state == LUNAR_OUTGOING_RUNNING && lunar_sending_has_room(out);
    out->wanted |= !has_room;
    return has_room;
}

uint32_t lunar_xdp_outgoing_unacknowledged(const lunar_xdp_outgoing *out) {
    return out->stream.reliable ? out->end - out->oldest : 0;
}

bool lunar_xdp_outgoing_is_cut_off(const lunar_xdp_outgoing *out) { return out->state == LUNAR_OUTGOING_CUT_OFF; }

void lunar_xdp_outgoing_close(lunar_xdp_outgoing *out) {
    if (out->stream.closed)
        return;
    bool began = out->epoch && out->state >= LUNAR_OUTGOING_OFFERED;
    out->stream.closed = true;
    lunar_sending_release(out);
    out->state = LUNAR_OUTGOING_CLOSING;
    if (began)
        close_again(out);
    else
        lunar_stream_bury(&out->stream);
}

void lunar_xdp_outgoing_recall(lunar_xdp_outgoing *out,
                               void (*each)(void *argument, const lunar_xdp_message *message), void *argument) {
    if (out->stream.closed)
        return;
    if (out->stream.reliable) {
        for (uint32_t i = out->oldest; i != out->end; i++)
            each(argument, &lunar_outgoing_kept(out, i)->message);
        out->oldest = out->sent = out->end;
        out->part = 0;
    }
    lunar_xdp_outgoing_close(out);
}

void lunar_outgoing_free(lunar_xdp_outgoing *out) {
    lunar_sending_release(out);
    free(out->kept);
    free(out->resent);
    free(out);
}
