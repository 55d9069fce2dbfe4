#include "incoming.h"

#include <stdlib.h>

#define OPEN_FIRST_NS (10 * LUNAR_MS)
#define OPEN_LAST_NS (1000 * LUNAR_MS)
#define GAP_LAST_NS (32 * LUNAR_MS)
#define REPORT_NS (10 * LUNAR_MS)

static void arm(lunar_xdp_incoming *in, uint64_t after_ns) {
    lunar_xdp_engine *engine = in->stream.engine;
    lunar_timers_arm(&engine->timers, &in->stream.timer, engine->now_ns + after_ns);
}

/* What is put together. */

uint64_t lunar_incoming_most_memory(const lunar_xdp_incoming *in) {
    uint64_t message_bytes = in->stream.engine->limits.message_bytes;
    if (!in->stream.reliable)
        return (LUNAR_BEST_EFFORT_ASSEMBLIES + 1) * message_bytes;
    /* Messages within the window, one that begins before it and one that ends behind it. */
    return 2 * message_bytes + (uint64_t)in->window * in->part_bytes;
}

lunar_assembly *lunar_incoming_begin(lunar_xdp_incoming *in, const lunar_wire_data *data, bool skip) {
    lunar_xdp_engine *engine = in->stream.engine;
    if (!skip && in->memory_bytes + data->size_bytes > lunar_incoming_most_memory(in)) {
        lunar_incoming_fault(in, "more was sent than was granted");
        return NULL;
    }
    uint32_t parts = lunar_assembly_parts(data->size_bytes, in->part_bytes);
    lunar_assembly *assembly = lunar_assembly_new(engine, data, parts);
    if (!assembly || skip)
        return assembly;
    assembly->memory = in->host->begin(in->context, data->size_bytes, &assembly->message.hold);
    assembly->message.bytes = assembly->memory;
    if (!assembly->memory) {
        lunar_assembly_recycle(engine, assembly);
        engine->statistics.memory_refused++;
        return NULL;
    }
    in->memory_bytes += data->size_bytes;
    return assembly;
}

void lunar_incoming_discard(lunar_xdp_incoming *in, lunar_assembly *assembly) {
    if (assembly->memory) {
        in->memory_bytes -= assembly->message.size_bytes;
        in->host->discard(in->context, assembly->message.hold);
    }
    lunar_assembly_recycle(in->stream.engine, assembly);
}

bool lunar_incoming_offer(lunar_xdp_incoming *in, lunar_assembly *assembly) {
    lunar_xdp_engine *engine = in->stream.engine;
    if (!in->host->commit(in->context, &assembly->message))
        return false;
    engine->statistics.messages_delivered++;
    in->memory_bytes -= assembly->message.size_bytes;
    in->taken_sequence = assembly->message.sequence;
    lunar_assembly_recycle(engine, assembly);
    return true;
}

static void clear(lunar_xdp_incoming *in) {
    /* Room that there was for what is given up is none for what comes. */
    if (in->is_resumed)
        TAILQ_REMOVE(&in->stream.engine->resumed, in, resumed);
    in->is_resumed = in->is_refused = false;
    if (in->stream.reliable)
        lunar_window_clear(in);
    else
        lunar_best_effort_clear(in);
}

/* Opening and closing. */

static void begin_anew(lunar_xdp_incoming *in) {
    clear(in);
    in->state = LUNAR_INCOMING_OPENING;
    in->life = lunar_engine_number(in->stream.engine);
    in->origin = in->epoch = 0;
    in->lost = 0;
    in->sequence = in->taken_sequence = 0;
    in->interval_ns = OPEN_FIRST_NS;
    arm(in, 0);
}

static void owe_no_more(lunar_xdp_incoming *in) {
    if (in->owes)
        TAILQ_REMOVE(&in->stream.peer->owed, in, owed);
    in->owes = in->at_once = false;
}

static void stop(lunar_xdp_incoming *in, const char *reason) {
    owe_no_more(in);
    begin_anew(in);
    if (!in->stream.closed)
        in->host->stopped(in->context, reason);
}

static void other_end_closed(lunar_xdp_incoming *in, const char *reason) {
    if (!in->held) {
        stop(in, reason);
        return;
    }
    owe_no_more(in);
    in->state = LUNAR_INCOMING_DRAINING;
    in->reason = reason;
}

static void leave(lunar_xdp_incoming *in, uint32_t reason) {
    lunar_xdp_engine *engine = in->stream.engine;
    uint8_t *at = lunar_outbox_reserve(engine, in->stream.peer, LUNAR_WIRE_CLOSE_BYTES, 0);
    if (at)
        lunar_wire_put_close(at, LUNAR_WIRE_LEAVE, in->stream.other_token, in->life, reason);
    in->stream.closes++;
    arm(in, in->interval_ns);
    in->interval_ns *= 2;
}

static void close_for(lunar_xdp_incoming *in, uint32_t reason) {
    in->stream.closed = true;
    owe_no_more(in);
    clear(in);
    in->state = LUNAR_INCOMING_CLOSING;
    in->interval_ns = LUNAR_CLOSE_NS;
    leave(in, reason);
}

void lunar_xdp_incoming_close(lunar_xdp_incoming *in) {
    if (!in->stream.closed)
        close_for(in, LUNAR_WIRE_REASON_CLOSED);
}

void lunar_incoming_fault(lunar_xdp_incoming *in, const char *reason) {
    if (in->stream.closed)
        return;
    in->stream.engine->statistics.faults++;
    close_for(in, LUNAR_WIRE_REASON_FAULT);
    in->host->faulty(in->context, reason);
}

void lunar_incoming_free(lunar_xdp_incoming *in) {
    clear(in);
    free(in->seen);
    free(in->begun);
    free(in);
}

/* Acknowledging. */

void lunar_incoming_owe(lunar_xdp_incoming *in, bool at_once) {
    if (!in->stream.closed && in->state == LUNAR_INCOMING_RUNNING && (!in->owes || (at_once && !in->at_once)))
        lunar_outbox_owe_slowly(in, at_once);
}

uint32_t lunar_incoming_ack_bytes(const lunar_xdp_incoming *in, uint32_t room_bytes, lunar_wire_ack *ack) {
    if (room_bytes < LUNAR_WIRE_ACK_BYTES)
        return LUNAR_WIRE_ACK_BYTES;
    ack->epoch = in->epoch;
    ack->next = in->next;
    ack->taken = in->stream.reliable ? in->taken : in->next;
    ack->limit = in->held || in->is_offering || in->is_refused ? in->limit : in->next + in->window;
    uint64_t delay_us = (in->stream.engine->now_ns - in->arrived_ns) / 1000;
    ack->delay_us = delay_us < UINT32_MAX ? (uint32_t)delay_us : UINT32_MAX;
    ack->lost = in->lost;
    ack->count = 0;
    if (in->stream.reliable && in->edge != in->next) {
        uint32_t most = (room_bytes - LUNAR_WIRE_ACK_BYTES) / LUNAR_WIRE_RANGE_BYTES;
        most = most < LUNAR_WIRE_MOST_RANGES ? most : LUNAR_WIRE_MOST_RANGES;
        ack->count = lunar_window_missing(in, ack->range, most);
    }
    return LUNAR_WIRE_ACK_BYTES + ack->count * LUNAR_WIRE_RANGE_BYTES;
}

/* What comes. */

static void begin_epoch(lunar_xdp_incoming *in, const lunar_wire_start *start) {
    bool goes_on = in->origin == start->origin && in->epoch;
    in->state = LUNAR_INCOMING_RUNNING;
    in->origin = start->origin;
    in->epoch = start->epoch;
    in->part_bytes = start->part_bytes;
    in->next = in->edge = in->taken = in->told = start->pn;
    in->limit = start->pn + in->window;
    /* What was taken in an earlier epoch of the same sender is not taken again. */
    if (!goes_on || in->taken_sequence < start->last_sequence)
        in->taken_sequence = start->last_sequence;
    in->sequence = in->taken_sequence;
    in->dropped = start->dropped;
    in->arrived_ns = in->stream.engine->now_ns;
    lunar_incoming_owe(in, true);
    in->host->started(in->context, start->last_sequence, start->newest_sequence);
}

static void take_start(lunar_xdp_incoming *in, const lunar_wire_start *start) {
    if (start->life != in->life || in->state > LUNAR_INCOMING_RUNNING) {
        in->stream.engine->statistics.stale++;
        return;
    }
    if (in->state == LUNAR_INCOMING_RUNNING && (int32_t)(start->epoch - in->epoch) <= 0) {
        if (start->epoch == in->epoch)
            lunar_incoming_owe(in, true); /* the acknowledgement was lost */
        return;
    }
    if (start->part_bytes < LUNAR_XDP_LEAST_DATAGRAM - LUNAR_WIRE_HEADER_BYTES - LUNAR_WIRE_DATA_BYTES ||
        start->part_bytes > LUNAR_XDP_MOST_DATAGRAM) {
        lunar_incoming_fault(in, "a stream begins with parts of an impossible size");
        return;
    }
    if (in->state == LUNAR_INCOMING_RUNNING) {
        if (start->origin != in->origin) {
            other_end_closed(in, "the publisher's side opened the stream anew");
            return; /* the START for this life is void: an OPEN for another follows */
        }
        clear(in);
        owe_no_more(in);
        in->host->stopped(in->context, "the connection was lost");
        if (in->stream.closed)
            return;
    }
    begin_epoch(in, start);
}

static void take_close(lunar_xdp_incoming *in, uint32_t origin, uint32_t reason) {
    lunar_xdp_engine *engine = in->stream.engine;
    uint8_t *at = lunar_outbox_reserve(engine, in->stream.peer, LUNAR_WIRE_HEARD_BYTES, 0);
    if (at)
        lunar_wire_put_heard(at, LUNAR_WIRE_CLOSE_HEARD, in->stream.other_token, origin);
    if (in->state == LUNAR_INCOMING_RUNNING && origin == in->origin)
        other_end_closed(in, reason == LUNAR_WIRE_REASON_FAULT ? "the publisher's side says that the rules were broken"
                                                               : "the publisher's side closed the stream");
}

static void take_heard(lunar_xdp_incoming *in, uint32_t life) {
    if (in->state == LUNAR_INCOMING_CLOSING && life == in->life)
        lunar_stream_bury(&in->stream);
}

static void take_call(lunar_xdp_incoming *in, uint32_t origin) {
    if (in->state == LUNAR_INCOMING_OPENING) {
        in->interval_ns = OPEN_FIRST_NS;
        arm(in, 0);
    } else if (in->state == LUNAR_INCOMING_RUNNING && (int32_t)(origin - in->origin) > 0) {
        other_end_closed(in, "the publisher's side opened the stream anew");
    }
}

static void take_data(lunar_xdp_incoming *in, const lunar_wire_record *record, const lunar_wire_data *data) {
    if (in->state != LUNAR_INCOMING_RUNNING || record->epoch != (uint8_t)in->epoch)
        in->stream.engine->statistics.stale++;
    else if (in->is_refused)
        in->stream.engine->statistics.memory_refused++;
    else if (in->stream.reliable)
        lunar_window_take(in, data);
    else
        lunar_best_effort_take(in, data);
}

static void take_question(lunar_xdp_incoming *in, const lunar_wire_record *record) {
    lunar_xdp_engine *engine = in->stream.engine;
    lunar_wire_tally tally;
    uint32_t end;
    if (in->state != LUNAR_INCOMING_RUNNING || record->epoch != (uint8_t)in->epoch) {
        engine->statistics.stale++;
    } else if (record->kind == LUNAR_WIRE_POLL && in->stream.reliable && lunar_wire_get_poll(record, &end)) {
        engine->statistics.polls_received++;
        lunar_window_poll(in, end);
    } else if (record->kind == LUNAR_WIRE_TALLY && !in->stream.reliable && lunar_wire_get_tally(record, &tally)) {
        lunar_best_effort_tally(in, &tally);
    } else {
        engine->statistics.malformed++;
        lunar_incoming_fault(in, "a record that the stream cannot have");
    }
}

void lunar_incoming_take(lunar_xdp_incoming *in, const lunar_wire_record *record) {
    lunar_wire_data data;
    lunar_wire_start start;
    uint32_t number, reason;
    if (record->kind == LUNAR_WIRE_DATA && lunar_wire_get_data(record, &data)) {
        take_data(in, record, &data);
    } else if (record->kind == LUNAR_WIRE_POLL || record->kind == LUNAR_WIRE_TALLY) {
        take_question(in, record);
    } else if (record->kind == LUNAR_WIRE_START && lunar_wire_get_start(record, &start)) {
        take_start(in, &start);
    } else if (record->kind == LUNAR_WIRE_CLOSE && lunar_wire_get_close(record, &number, &reason)) {
        take_close(in, number, reason);
    } else if (record->kind == LUNAR_WIRE_LEAVE_HEARD && lunar_wire_get_heard(record, &number)) {
        take_heard(in, number);
    } else if (record->kind == LUNAR_WIRE_CALL && lunar_wire_get_heard(record, &number)) {
        take_call(in, number);
    } else {
        in->stream.engine->statistics.malformed++;
        lunar_incoming_fault(in, "a record that the stream cannot have");
    }
}

/* What is due. */

static void open_again(lunar_xdp_incoming *in) {
    lunar_xdp_engine *engine = in->stream.engine;
    lunar_wire_open open = {.life = in->life,
                            .window = in->window,
                            .datagram_bytes = engine->limits.datagram_bytes,
                            .message_bytes = engine->limits.message_bytes};
    uint8_t *at = lunar_outbox_reserve(engine, in->stream.peer, LUNAR_WIRE_OPEN_BYTES, 0);
    if (at)
        lunar_wire_put_open(at, in->stream.other_token, &open);
    arm(in, in->interval_ns);
    in->interval_ns = 2 * in->interval_ns < OPEN_LAST_NS ? 2 * in->interval_ns : OPEN_LAST_NS;
}

static void look_at_gap(lunar_xdp_incoming *in) {
    if (in->edge == in->next)
        return;
    lunar_incoming_owe(in, true);
    arm(in, in->interval_ns);
    in->interval_ns = 2 * in->interval_ns < GAP_LAST_NS ? 2 * in->interval_ns : GAP_LAST_NS;
}

void lunar_incoming_on_timer(lunar_xdp_incoming *in) {
    switch (in->state) {
    case LUNAR_INCOMING_OPENING:
        open_again(in);
        break;
    case LUNAR_INCOMING_RUNNING:
        if (in->stream.reliable)
            look_at_gap(in);
        else
            lunar_incoming_owe(in, true); /* the report of losses that waited */
        break;
    case LUNAR_INCOMING_CLOSING:
        if (in->stream.closes < LUNAR_XDP_CLOSE_TIMES)
            leave(in, LUNAR_WIRE_REASON_CLOSED);
        else
            lunar_stream_bury(&in->stream);
        break;
    }
}

void lunar_incoming_try_now(lunar_xdp_incoming *in) {
    if (in->state == LUNAR_INCOMING_OPENING) {
        in->interval_ns = OPEN_FIRST_NS;
        arm(in, 0);
    } else {
        lunar_incoming_owe(in, true);
    }
}

void lunar_xdp_incoming_resume(lunar_xdp_incoming *in) {
    if (in->stream.closed || in->is_resumed)
        return;
    in->is_resumed = true;
    TAILQ_INSERT_TAIL(&in->stream.engine->resumed, in, resumed);
}

void lunar_incoming_serve(lunar_xdp_incoming *in) {
    in->is_refused = false;
    if (in->held)
        lunar_window_offer_held(in);
    if (in->stream.closed || in->held)
        return;
    if (in->state == LUNAR_INCOMING_DRAINING)
        stop(in, in->reason);
    else
        lunar_incoming_owe(in, true);
}
