#include "congestion.h"

static void begin_round(lunar_congestion *c, uint32_t acked, uint32_t sent) {
    c->round_end = sent;
    c->round_parts = sent - acked;
    c->lost = 0;
    c->halved = false;
}

void lunar_congestion_begin(lunar_congestion *c, uint32_t most, uint32_t sent) {
    *c = (lunar_congestion){.most = most, .used = most / 4};
    if (c->used < LUNAR_CONGESTION_LEAST)
        c->used = LUNAR_CONGESTION_LEAST < most ? LUNAR_CONGESTION_LEAST : most;
    begin_round(c, sent, sent);
}

bool lunar_congestion_lost(lunar_congestion *c, uint32_t count) {
    c->lost += count;
    if (c->halved || 8 * c->lost <= c->used || c->used <= LUNAR_CONGESTION_LEAST)
        return false;
    c->used /= 2;
    if (c->used < LUNAR_CONGESTION_LEAST)
        c->used = LUNAR_CONGESTION_LEAST;
    c->slow = c->halved = true;
    return true;
}

void lunar_congestion_acked(lunar_congestion *c, uint32_t acked, uint32_t sent) {
    if ((int32_t)(acked - c->round_end) < 0)
        return;
    /* A round that did not fill the window says nothing about a larger one. */
    if (!c->halved && 2 * c->round_parts >= c->used && c->used < c->most) {
        c->used += c->slow ? 4 + c->most / 512 : c->used;
        if (c->used > c->most)
            c->used = c->most;
    }
    begin_round(c, acked, sent);
}
