/* Puts a reliable stream back in order, in memory of the host, and gives each message on once.
 *
 * Messages follow each other without holes in the numbering of parts: one that begins with part number f and has n
 * parts is followed by one that begins with f + n.  So the message that a part belongs to is known by where it begins,
 * which is at `next` or above, except for the one that `next` is in.  Whoever numbers them otherwise is found out at
 * the latest when `next` comes by.  All comparisons are of differences, as numbers wrap. / */
#include <stdlib.h>

#include "incoming.h"

static bool has(const lunar_xdp_incoming *in, uint32_t pn) {
    uint32_t at = pn & (in->window - 1);
    return in->seen[at / 64] >> (at % 64) & 1;
}

static void flip(lunar_xdp_incoming *in, uint32_t pn) {
    uint32_t at = pn & (in->window - 1);
    in->seen[at / 64] ^= UINT64_C(1) << (at % 64);
}

static lunar_assembly **slot(lunar_xdp_incoming *in, uint32_t pn) { return &in->begun[pn & (in->window - 1)]; }

static bool make_tables(lunar_xdp_incoming *in) {
    if (!in->seen)
        in->seen = calloc(in->window / 64, sizeof *in->seen);
    if (!in->begun)
        in->begun = calloc(in->window, sizeof(lunar_assembly *));
    return in->seen && in->begun;
}

void lunar_window_clear(lunar_xdp_incoming *in) {
    if (in->head)
        lunar_incoming_discard(in, in->head);
    in->head = NULL;
    for (lunar_assembly *assembly; (assembly = in->held);) {
        in->held = assembly->next;
        lunar_incoming_discard(in, assembly);
    }
    in->held_end = &in->held;
    if (in->begun)
        for (uint32_t i = 0; i < in->window; i++)
            if (in->begun[i]) {
                lunar_incoming_discard(in, in->begun[i]);
                in->begun[i] = NULL;
            }
    if (in->seen)
        memset(in->seen, 0, in->window / 8);
    in->edge = in->next;
}

uint32_t lunar_window_missing(const lunar_xdp_incoming *in, lunar_wire_range *ranges, uint32_t most) {
    uint32_t count = 0;
    for (uint32_t pn = in->next; pn != in->edge;) {
        if (in->seen && has(in, pn)) {
            pn++;
            continue;
        }
        if (count == most)
            break;
        ranges[count].from = pn;
        do
            pn++;
        while (pn != in->edge && !(in->seen && has(in, pn)));
        ranges[count].count = pn - ranges[count].from;
        count++;
    }
    return count;
}

static void hold(lunar_xdp_incoming *in, lunar_assembly *assembly) {
    assembly->next = NULL;
    *in->held_end = assembly;
    in->held_end = &assembly->next;
}

/* A message that is complete, in its turn. */
static void finish(lunar_xdp_incoming *in, lunar_assembly *assembly) {
    uint32_t end = assembly->first + assembly->parts;
    if (assembly->message.sequence <= in->sequence) {
        lunar_incoming_discard(in, assembly);
        if (in->held)
            lunar_incoming_fault(in, "sequence numbers do not grow");
        else
            in->taken = end; /* it was taken in an earlier epoch */
        return;
    }
    in->sequence = assembly->message.sequence;
    if (in->held || !lunar_incoming_offer(in, assembly)) {
        if (in->stream.closed)
            lunar_incoming_discard(in, assembly);
        else
            hold(in, assembly);
    } else {
        in->taken = end;
    }
}

void lunar_window_offer_held(lunar_xdp_incoming *in) {
    while (in->held) {
        lunar_assembly *assembly = in->held;
        uint32_t end = assembly->first + assembly->parts;
        /* Off the list before the host is asked: it may close the stream. */
        in->held = assembly->next;
        in->is_offering = true;
        bool taken = lunar_incoming_offer(in, assembly);
        in->is_offering = false;
        if (in->stream.closed) {
            if (!taken)
                lunar_incoming_discard(in, assembly);
            return;
        }
        if (!taken) {
            assembly->next = in->held;
            in->held = assembly;
            if (!assembly->next)
                in->held_end = &assembly->next;
            return;
        }
        in->taken = end;
        if (!in->held)
            in->held_end = &in->held;
    }
}

/* Something is missing: it is asked for again soon, and ever more seldom while nothing comes of it. */
static void watch_gap(lunar_xdp_incoming *in) {
    lunar_xdp_engine *engine = in->stream.engine;
    in->interval_ns = LUNAR_MS;
    lunar_timers_by(&engine->timers, &in->stream.timer, engine->now_ns + in->interval_ns);
}

/* Moves `next` on over all that has come. */
static void advance(lunar_xdp_incoming *in) {
    watch_gap(in);
    while (in->edge != in->next && has(in, in->next)) {
        lunar_assembly **begun = slot(in, in->next);
        if (!in->head) {
            in->head = *begun;
            *begun = NULL;
        }
        if (!in->head || *begun) {
            lunar_incoming_fault(in, "messages overlap");
            return;
        }
        flip(in, in->next++);
        lunar_assembly *head = in->head;
        if (in->next != head->first + head->parts)
            continue;
        in->head = NULL;
        if (head->got != head->parts) {
            lunar_incoming_discard(in, head);
            lunar_incoming_fault(in, "messages overlap");
            return;
        }
        finish(in, head);
        if (in->stream.closed)
            return;
    }
}

/* The message that a part belongs to, begun if it was not; NULL: the part is dropped, or the stream is closed. */
static lunar_assembly *find(lunar_xdp_incoming *in, const lunar_wire_data *data) {
    uint32_t first = data->pn - data->part;
    lunar_assembly *found = in->head && in->head->first == first ? in->head : NULL;
    if (!found && ((int32_t)(first - in->next) < 0 ||
                   (in->head && (int32_t)(first - in->head->first - in->head->parts) < 0))) {
        lunar_incoming_fault(in, "messages overlap");
        return NULL;
    }
    bool at_next = first == in->next;
    if (!found && in->begun)
        found = *slot(in, first);
    if (found && (found->first != first || !lunar_assembly_agrees(found, data))) {
        lunar_incoming_fault(in, "a message changes");
        return NULL;
    }
    if (found)
        return found;
    if (!at_next && !make_tables(in))
        return NULL;
    found = lunar_incoming_begin(in, data, data->sequence <= in->sequence);
    if (found && at_next)
        in->head = found;
    else if (found)
        *slot(in, first) = found;
    return found;
}

static void copy(lunar_assembly *assembly, const lunar_wire_data *data, uint32_t part_bytes) {
    if (assembly->memory && data->payload_bytes)
        memcpy(assembly->memory + (size_t)data->part * part_bytes, data->payload, data->payload_bytes);
    assembly->got++;
}

/* The next part of a message, with nothing behind it. */
static void take_next(lunar_xdp_incoming *in, const lunar_wire_data *data) {
    lunar_assembly *assembly = find(in, data);
    if (!assembly)
        return;
    copy(assembly, data, in->part_bytes);
    in->next = in->edge = data->pn + 1;
    if (in->next != assembly->first + assembly->parts)
        return;
    in->head = NULL;
    if (assembly->got == assembly->parts) {
        finish(in, assembly);
    } else {
        lunar_incoming_discard(in, assembly);
        lunar_incoming_fault(in, "messages overlap");
    }
}

/* A whole message that the host has no room for. */
static void keep(lunar_xdp_incoming *in, const lunar_wire_data *data) {
    lunar_assembly *assembly = lunar_incoming_begin(in, data, false);
    if (!assembly) {
        in->is_refused = !in->stream.closed; /* it is sent again */
        return;
    }
    copy(assembly, data, in->part_bytes);
    hold(in, assembly);
    in->sequence = data->sequence;
    in->next = in->edge = data->pn + 1;
}

/* A whole message, the next one, with nothing before or behind it: no copy. */
static void take_whole(lunar_xdp_incoming *in, const lunar_wire_data *data) {
    uint32_t end = data->pn + 1;
    if (in->head) {
        lunar_incoming_fault(in, "messages overlap");
        return;
    }
    if (data->sequence > in->sequence) {
        lunar_xdp_message message = {.bytes = data->payload,
                                     .size_bytes = data->size_bytes,
                                     .dropped = data->dropped,
                                     .sequence = data->sequence,
                                     .source_time_ns = data->source_time_ns};
        if (!in->host->deliver(in->context, &message)) {
            if (!in->stream.closed)
                keep(in, data);
            return;
        }
        in->stream.engine->statistics.messages_delivered++;
        in->sequence = in->taken_sequence = data->sequence;
    }
    in->next = in->edge = in->taken = end;
}

static void take_out_of_order(lunar_xdp_incoming *in, const lunar_wire_data *data) {
    lunar_xdp_engine *engine = in->stream.engine;
    if (!make_tables(in))
        return;
    if (in->edge - in->next > data->pn - in->next && has(in, data->pn)) {
        engine->statistics.duplicates++;
        return;
    }
    lunar_assembly *assembly = find(in, data);
    if (!assembly)
        return;
    copy(assembly, data, in->part_bytes);
    flip(in, data->pn);
    engine->statistics.out_of_order += data->pn != in->next;
    if ((int32_t)(data->pn - in->edge) >= 0) {
        if (data->pn != in->edge) {
            watch_gap(in);
            lunar_incoming_owe(in, true);
        }
        in->edge = data->pn + 1;
    }
    if (data->pn == in->next)
        advance(in);
}

void lunar_window_take(lunar_xdp_incoming *in, const lunar_wire_data *data) {
    lunar_xdp_engine *engine = in->stream.engine;
    uint32_t ahead = data->pn - in->next;
    if ((int32_t)ahead < 0) {
        engine->statistics.duplicates++;
        lunar_incoming_owe(in, false);
        return;
    }
    if (ahead >= in->limit - in->next) {
        lunar_incoming_fault(in, "more was sent than was granted");
        return;
    }
    if (data->size_bytes > engine->limits.message_bytes || !lunar_assembly_is_part(data, in->part_bytes)) {
        lunar_incoming_fault(in, "a part that its message cannot have");
        return;
    }
    in->arrived_ns = engine->now_ns;
    if (ahead || in->edge != in->next)
        take_out_of_order(in, data);
    else if (data->size_bytes <= in->part_bytes && !in->held)
        take_whole(in, data);
    else
        take_next(in, data);
    lunar_incoming_owe(in, in->next - in->told >= in->window / 8);
}

void lunar_window_poll(lunar_xdp_incoming *in, uint32_t end) {
    if ((int32_t)(end - in->next) > (int32_t)(in->limit - in->next)) {
        lunar_incoming_fault(in, "more was sent than was granted");
        return;
    }
    if ((int32_t)(end - in->edge) > 0 && !in->is_refused) {
        in->edge = end;
        watch_gap(in);
    }
    lunar_incoming_owe(in, true);
}
