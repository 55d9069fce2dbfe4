/* What an outgoing stream keeps, sends, and sends again. */
#include <stdlib.h>

#include "outgoing.h"

enum { FIRST_KEPT = 16 };

static bool grow(lunar_xdp_outgoing *out) {
    uint32_t room = out->kept ? 2 * (out->kept_mask + 1) : FIRST_KEPT;
    lunar_kept *kept = malloc(room * sizeof *kept);
    if (!kept)
        return false;
    for (uint32_t i = out->oldest; i != out->end; i++)
        kept[i & (room - 1)] = *lunar_outgoing_kept(out, i);
    free(out->kept);
    out->kept = kept;
    out->kept_mask = room - 1;
    return true;
}

bool lunar_sending_keep(lunar_xdp_outgoing *out, const lunar_xdp_message *message) {
    if ((!out->kept || out->end - out->oldest > out->kept_mask) && !grow(out))
        return false;
    lunar_kept *kept = lunar_outgoing_kept(out, out->end++);
    kept->message = *message;
    kept->first = out->end_pn;
    kept->parts = lunar_assembly_parts(message->size_bytes, out->part_bytes);
    out->end_pn += kept->parts;
    return true;
}

static void release_oldest(lunar_xdp_outgoing *out) {
    void *hold = lunar_outgoing_kept(out, out->oldest++)->message.hold;
    out->host->release(out->context, hold);
}

void lunar_sending_release(lunar_xdp_outgoing *out) {
    while (out->oldest != out->end)
        release_oldest(out);
    out->sent = out->end;
    out->part = 0;
}

/* All that is kept is sent anew, behind everything that ever was. */
void lunar_sending_renumber(lunar_xdp_outgoing *out) {
    out->sent = out->oldest;
    out->part = 0;
    out->first_pn = out->next_pn = out->acked = out->taken = out->end_pn;
    for (uint32_t i = out->oldest; i != out->end; i++) {
        lunar_kept *kept = lunar_outgoing_kept(out, i);
        kept->first = out->end_pn;
        kept->parts = lunar_assembly_parts(kept->message.size_bytes, out->part_bytes);
        out->end_pn += kept->parts;
    }
    out->is_timing = false;
    free(out->resent);
    out->resent = NULL;
}

void lunar_sending_queue(lunar_xdp_outgoing *out) {
    if (out->ready)
        return;
    out->ready = true;
    TAILQ_INSERT_TAIL(&out->stream.engine->ready, out, in_ready);
}

static uint32_t room_parts(const lunar_xdp_outgoing *out) {
    uint32_t limit = out->acked + out->congestion.used;
    if ((int32_t)(out->limit - limit) < 0)
        limit = out->limit;
    return (int32_t)(limit - out->next_pn) > 0 ? limit - out->next_pn : 0;
}

bool lunar_sending_has_room(const lunar_xdp_outgoing *out) {
    return out->sent == out->end && (!out->stream.reliable || room_parts(out));
}

static bool write_part(lunar_xdp_outgoing *out, const lunar_kept *kept, uint32_t part, uint64_t transmit_ns) {
    const lunar_xdp_message *message = &kept->message;
    size_t from = (size_t)part * out->part_bytes;
    uint32_t rest = (uint32_t)(message->size_bytes - from);
    lunar_wire_data data = {.pn = kept->first + part,
                            .part = part,
                            .size_bytes = message->size_bytes,
                            .dropped = message->dropped,
                            .sequence = message->sequence,
                            .source_time_ns = message->source_time_ns,
                            .payload_bytes = rest < out->part_bytes ? rest : out->part_bytes};
    uint8_t *at = lunar_outbox_reserve(out->stream.engine, out->stream.peer,
                                       LUNAR_WIRE_DATA_BYTES + data.payload_bytes, transmit_ns);
    if (!at)
        return false;
    lunar_wire_put_data(at, out->stream.other_token, out->epoch, &data);
    if (data.payload_bytes)
        memcpy(at + LUNAR_WIRE_DATA_BYTES, message->bytes + from, data.payload_bytes);
    return true;
}

/* The message that is being sent has left as a whole. */
static void message_left(lunar_xdp_outgoing *out) {
    out->stream.engine->statistics.messages_sent++;
    out->part = 0;
    out->sent++;
    if (!out->stream.reliable)
        release_oldest(out);
}

void lunar_sending_go_on(lunar_xdp_outgoing *out, uint32_t most) {
    lunar_xdp_engine *engine = out->stream.engine;
    if (out->state != LUNAR_OUTGOING_RUNNING)
        return;
    if (out->stream.reliable) {
        uint32_t room = room_parts(out);
        most = most < room ? most : room;
        if (most && out->sent != out->end && out->next_pn == out->taken)
            lunar_outgoing_wait_for_answer(out);
    }
    for (; most && out->sent != out->end; most--) {
        const lunar_kept *kept = lunar_outgoing_kept(out, out->sent);
        if (!write_part(out, kept, out->part, kept->message.transmit_ns)) {
            lunar_sending_queue(out);
            return;
        }
        out->next_pn = kept->first + ++out->part;
        if (!out->is_timing) {
            out->is_timing = true;
            out->timed_pn = out->next_pn;
            out->timed_ns = engine->now_ns;
        }
        if (out->part < kept->parts)
            continue;
        out->written_sequence = kept->message.sequence;
        out->written_dropped = kept->message.dropped;
        message_left(out);
    }
    if (out->sent != out->end && (!out->stream.reliable || room_parts(out)))
        lunar_sending_queue(out);
}

/* Sending again. */

static uint32_t index_of(const lunar_xdp_outgoing *out, uint32_t pn) {
    uint32_t low = 0, high = out->end - out->oldest; /* the last that begins at or before it */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if ((int32_t)(pn - lunar_outgoing_kept(out, out->oldest + middle)->first) >= 0)
            low = middle;
        else
            high = middle;
    }
    return out->oldest + low;
}

/* Whether it may be sent again now; `*first`: it never was before. */
static bool may_resend(const lunar_xdp_outgoing *out, uint32_t pn, bool *first) {
    const lunar_resent *resent = &out->resent[pn & (out->window - 1)];
    uint32_t now_us = (uint32_t)(out->stream.engine->now_ns / 1000);
    uint64_t rtt_us = out->rtt_ns / 1000;
    *first = !resent->is_set || resent->pn != pn;
    return *first || now_us - resent->at_us >= (rtt_us > 1000 ? rtt_us : 1000);
}

/* False: the port has no room. */
static bool resend(lunar_xdp_outgoing *out, lunar_wire_range range, uint32_t *lost) {
    uint32_t index = index_of(out, range.from);
    for (uint32_t pn = range.from; pn != range.from + range.count; pn++) {
        const lunar_kept *kept = lunar_outgoing_kept(out, index);
        while (pn - kept->first >= kept->parts)
            kept = lunar_outgoing_kept(out, ++index);
        bool first;
        if (!may_resend(out, pn, &first))
            continue;
        if (!write_part(out, kept, pn - kept->first, 0))
            return false;
        out->resent[pn & (out->window - 1)] =
            (lunar_resent){pn, (uint32_t)(out->stream.engine->now_ns / 1000), true};
        out->stream.engine->statistics.resent++;
        *lost += first;
        if ((int32_t)(pn - out->timed_pn) < 0)
            out->is_timing = false; /* its answer would not tell which one it answers */
    }
    return true;
}

static void resend_all(lunar_xdp_outgoing *out, const lunar_wire_ack *ack) {
    uint32_t lost = 0;
    if (!out->resent && !(out->resent = calloc(out->window, sizeof *out->resent)))
        return;
    for (uint32_t i = 0; i < ack->count; i++)
        if (!resend(out, ack->range[i], &lost))
            break; /* the other end asks again */
    if (lunar_congestion_lost(&out->congestion, lost))
        out->stream.engine->statistics.halvings++;
}

/* Acknowledgements. */

static bool ack_is_sound(const lunar_xdp_outgoing *out, const lunar_wire_ack *ack) {
    uint32_t sent = out->next_pn - out->first_pn, next = ack->next - out->first_pn;
    if (next > sent || ack->taken - out->first_pn > next || (int32_t)(ack->limit - ack->next) < 0 ||
        ack->limit - ack->next > out->window)
        return false;
    uint32_t from = next;
    for (uint32_t i = 0; i < ack->count; i++) {
        uint32_t begins = ack->range[i].from - out->first_pn;
        if (begins < from || begins > sent || ack->range[i].count > sent - begins)
            return false;
        from = begins + ack->range[i].count;
    }
    return true;
}

static void measure(lunar_xdp_outgoing *out, const lunar_wire_ack *ack) {
    if (!out->is_timing || (int32_t)(ack->next - out->timed_pn) < 0)
        return;
    out->is_timing = false;
    uint64_t took_ns = out->stream.engine->now_ns - out->timed_ns, delay_ns = (uint64_t)ack->delay_us * 1000;
    took_ns = took_ns > delay_ns ? took_ns - delay_ns : 0;
    if (took_ns > 1000 * LUNAR_MS)
        took_ns = 1000 * LUNAR_MS;
    out->rtt_ns = out->rtt_ns ? out->rtt_ns - out->rtt_ns / 8 + took_ns / 8 : took_ns;
}

void lunar_sending_acknowledged(lunar_xdp_outgoing *out, const lunar_wire_ack *ack) {
    if (!ack_is_sound(out, ack)) {
        lunar_outgoing_broke_rules(out, "the other end acknowledges what was never sent");
        return;
    }
    if ((int32_t)(ack->next - out->acked) < 0 || (int32_t)(ack->taken - out->taken) < 0)
        return; /* overtaken by a later one */
    out->acked = ack->next;
    out->taken = ack->taken;
    if ((int32_t)(ack->limit - out->limit) > 0)
        out->limit = ack->limit;
    while (out->oldest != out->sent) {
        const lunar_kept *kept = lunar_outgoing_kept(out, out->oldest);
        if ((int32_t)(kept->first + kept->parts - out->taken) > 0)
            break;
        release_oldest(out);
    }
    measure(out, ack);
    if (ack->count && out->state == LUNAR_OUTGOING_RUNNING)
        resend_all(out, ack);
    lunar_congestion_acked(&out->congestion, out->acked, out->next_pn);
}
