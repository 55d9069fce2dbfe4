/* Lets a stream through that promises nothing: what has come whole is given on at once, and what is older is given up.
 *
 * `next` is above all that was given on or given up.  A few messages may be in assembly at a time, as their parts may
 * have been mixed up on the way.  What is lost shows in the sequence numbers: a gap, less what the sender's side says
 * that it dropped itself. / */
#include <stdlib.h>

#include "incoming.h"

#define REPORT_NS (10 * LUNAR_MS)

static void give_up(lunar_xdp_incoming *in, uint32_t below) {
    if (!in->begun)
        return;
    for (int i = 0; i < LUNAR_BEST_EFFORT_ASSEMBLIES; i++)
        if (in->begun[i] && (int32_t)(in->begun[i]->first - below) < 0) {
            lunar_incoming_discard(in, in->begun[i]);
            in->begun[i] = NULL;
        }
}

void lunar_best_effort_clear(lunar_xdp_incoming *in) {
    if (in->begun)
        for (int i = 0; i < LUNAR_BEST_EFFORT_ASSEMBLIES; i++)
            if (in->begun[i]) {
                lunar_incoming_discard(in, in->begun[i]);
                in->begun[i] = NULL;
            }
    if (in->held)
        lunar_incoming_discard(in, in->held);
    in->held = NULL;
    in->held_end = &in->held;
}

static void report(lunar_xdp_incoming *in) {
    lunar_xdp_engine *engine = in->stream.engine;
    if (engine->now_ns - in->report_ns >= REPORT_NS) {
        in->report_ns = engine->now_ns;
        lunar_incoming_owe(in, true);
    } else {
        lunar_timers_by(&engine->timers, &in->stream.timer, in->report_ns + REPORT_NS);
    }
}

/* All up to `sequence` but for that one itself has come, was dropped by the sender's side, or is lost. */
static void count_lost(lunar_xdp_incoming *in, uint64_t gap, uint32_t dropped) {
    int32_t grown = (int32_t)(dropped - in->dropped);
    in->dropped = dropped;
    if (grown > 0)
        gap = gap > (uint64_t)grown ? gap - (uint64_t)grown : 0;
    if (!gap)
        return;
    in->lost += gap;
    in->stream.engine->statistics.best_effort_lost += gap;
    report(in);
    in->host->lost(in->context, gap);
}

/* A message is there as a whole, in the datagram or in memory of the host.  True: it was given on, or the stream is
 * closed. */
static bool give_on(lunar_xdp_incoming *in, const lunar_xdp_message *message, uint32_t end, lunar_assembly *assembly) {
    in->next = in->edge = end;
    give_up(in, end);
    uint64_t gap = message->sequence - in->sequence - 1;
    in->sequence = message->sequence;
    count_lost(in, gap, message->dropped);
    if (in->stream.closed)
        return !assembly;
    if (assembly)
        return lunar_incoming_offer(in, assembly);
    if (!in->host->deliver(in->context, message))
        return false;
    in->stream.engine->statistics.messages_delivered++;
    return true;
}

static void hold(lunar_xdp_incoming *in, lunar_assembly *assembly) {
    if (in->stream.closed) {
        lunar_incoming_discard(in, assembly);
        return;
    }
    assembly->next = NULL;
    in->held = assembly;
    in->held_end = &assembly->next;
}

static void take_whole(lunar_xdp_incoming *in, const lunar_wire_data *data) {
    lunar_xdp_message message = {.bytes = data->payload,
                                 .size_bytes = data->size_bytes,
                                 .dropped = data->dropped,
                                 .sequence = data->sequence,
                                 .source_time_ns = data->source_time_ns};
    if (give_on(in, &message, data->pn + 1, NULL) || in->stream.closed)
        return;
    lunar_assembly *assembly = lunar_incoming_begin(in, data, false);
    if (!assembly) {
        in->is_refused = !in->stream.closed;
        return;
    }
    if (data->payload_bytes)
        memcpy(assembly->memory, data->payload, data->payload_bytes);
    hold(in, assembly);
}

/* A place for a message: a free one, or that of the oldest if this one is newer. */
static lunar_assembly **place_for(lunar_xdp_incoming *in, uint32_t first) {
    lunar_assembly **oldest = &in->begun[0];
    for (int i = 0; i < LUNAR_BEST_EFFORT_ASSEMBLIES; i++) {
        if (!in->begun[i])
            return &in->begun[i];
        if ((int32_t)(in->begun[i]->first - (*oldest)->first) < 0)
            oldest = &in->begun[i];
    }
    if ((int32_t)((*oldest)->first - first) > 0)
        return NULL;
    lunar_incoming_discard(in, *oldest);
    *oldest = NULL;
    return oldest;
}

static lunar_assembly **begin(lunar_xdp_incoming *in, const lunar_wire_data *data) {
    lunar_assembly **place = place_for(in, data->pn - data->part);
    if (!place)
        return NULL;
    lunar_assembly *assembly = lunar_incoming_begin(in, data, false);
    if (!assembly)
        return NULL;
    assembly->seen = calloc((assembly->parts + 63) / 64, sizeof *assembly->seen);
    if (!assembly->seen) {
        lunar_incoming_discard(in, assembly);
        return NULL;
    }
    *place = assembly;
    return place;
}

static lunar_assembly **find(lunar_xdp_incoming *in, const lunar_wire_data *data) {
    if (!in->begun && !(in->begun = calloc(LUNAR_BEST_EFFORT_ASSEMBLIES, sizeof(lunar_assembly *))))
        return NULL;
    for (int i = 0; i < LUNAR_BEST_EFFORT_ASSEMBLIES; i++) {
        lunar_assembly *assembly = in->begun[i];
        if (!assembly || assembly->first != data->pn - data->part)
            continue;
        if (lunar_assembly_agrees(assembly, data))
            return &in->begun[i];
        lunar_incoming_fault(in, "a message changes");
        return NULL;
    }
    return begin(in, data);
}

static void take_part(lunar_xdp_incoming *in, const lunar_wire_data *data) {
    lunar_assembly **place = find(in, data), *assembly;
    if (!place)
        return;
    assembly = *place;
    uint64_t bit = UINT64_C(1) << (data->part % 64), *word = &assembly->seen[data->part / 64];
    if (*word & bit) {
        in->stream.engine->statistics.duplicates++;
        return;
    }
    *word |= bit;
    memcpy(assembly->memory + (size_t)data->part * in->part_bytes, data->payload, data->payload_bytes);
    if (++assembly->got < assembly->parts)
        return;
    *place = NULL;
    free(assembly->seen);
    assembly->seen = NULL;
    if (!give_on(in, &assembly->message, assembly->first + assembly->parts, assembly))
        hold(in, assembly);
}

void lunar_best_effort_take(lunar_xdp_incoming *in, const lunar_wire_data *data) {
    lunar_xdp_engine *engine = in->stream.engine;
    if (data->size_bytes > engine->limits.message_bytes || !lunar_assembly_is_part(data, in->part_bytes)) {
        lunar_incoming_fault(in, "a part that its message cannot have");
        return;
    }
    if ((int32_t)(data->pn - data->part - in->next) < 0) {
        engine->statistics.duplicates++; /* or too late */
        return;
    }
    if (data->sequence <= in->sequence) {
        lunar_incoming_fault(in, "sequence numbers do not grow");
        return;
    }
    in->arrived_ns = engine->now_ns;
    if (in->held)
        return; /* no room: a gap in the sequence once there is some */
    if (data->size_bytes <= in->part_bytes)
        take_whole(in, data);
    else
        take_part(in, data);
}

void lunar_best_effort_tally(lunar_xdp_incoming *in, const lunar_wire_tally *tally) {
    if (in->lost)
        report(in); /* an earlier report may be lost itself */
    if ((int32_t)(tally->end - in->next) < 0 || tally->last_sequence < in->sequence || in->held)
        return; /* overtaken */
    in->next = in->edge = tally->end;
    give_up(in, tally->end);
    uint64_t gap = tally->last_sequence - in->sequence;
    in->sequence = tally->last_sequence;
    count_lost(in, gap, tally->dropped);
}
