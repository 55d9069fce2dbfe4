#include <errno.h>
#include <stdlib.h>

#include "incoming.h"
#include "outgoing.h"
#include "token.h"

#define AGAIN_NS (LUNAR_MS / 20) /* a port that is full is asked again */

enum { BATCH = 32, TURN_TIMERS = 256, TURN_STREAMS = 8, TURN_RESUMED = 256 };

/* Made and freed. */

static bool complete_limits(lunar_xdp_limits *limits) {
    if (!limits->window)
        limits->window = 2048;
    if (!limits->message_bytes)
        limits->message_bytes = 64 << 20;
    if (!limits->datagram_bytes)
        limits->datagram_bytes = LUNAR_XDP_MOST_DATAGRAM;
    if (!limits->turn_datagrams)
        limits->turn_datagrams = 256;
    if (!limits->silence_ns)
        limits->silence_ns = 500 * LUNAR_MS;
    return limits->window >= LUNAR_XDP_LEAST_WINDOW && limits->window <= LUNAR_XDP_MOST_WINDOW &&
           !(limits->window & (limits->window - 1)) && limits->datagram_bytes >= LUNAR_XDP_LEAST_DATAGRAM &&
           limits->datagram_bytes <= LUNAR_XDP_MOST_DATAGRAM;
}

lunar_xdp_engine *lunar_xdp_engine_new(lunar_port *port, const uint8_t key[16], const lunar_xdp_limits *limits,
                                       uint64_t now_ns) {
    lunar_xdp_engine *engine = calloc(1, sizeof *engine);
    if (!engine)
        return NULL;
    engine->port = port;
    memcpy(engine->key, key, sizeof engine->key);
    if (limits)
        engine->limits = *limits;
    engine->now_ns = now_ns;
    /* A later engine of the same process goes on above: none has as many streams as there were milliseconds. */
    engine->number = (uint32_t)(now_ns >> 20);
    TAILQ_INIT(&engine->ready);
    TAILQ_INIT(&engine->pressing);
    TAILQ_INIT(&engine->resumed);
    if (!complete_limits(&engine->limits) || !lunar_table_init(&engine->table)) {
        free(engine);
        return NULL;
    }
    return engine;
}

static void free_stream(lunar_stream *stream) {
    if (stream->incoming)
        lunar_incoming_free((lunar_xdp_incoming *)stream);
    else
        lunar_outgoing_free((lunar_xdp_outgoing *)stream);
}

static void free_graves(lunar_xdp_engine *engine) {
    for (lunar_stream *stream; (stream = SLIST_FIRST(&engine->graves));) {
        SLIST_REMOVE_HEAD(&engine->graves, grave);
        free_stream(stream);
    }
}

void lunar_xdp_engine_free(lunar_xdp_engine *engine) {
    if (!engine)
        return;
    if (engine->outbox.peer && !engine->outbox.is_void)
        engine->port->kind->cancel(engine->port);
    free_graves(engine);
    for (lunar_stream *stream; (stream = LIST_FIRST(&engine->streams));) {
        LIST_REMOVE(stream, all);
        free_stream(stream);
    }
    for (lunar_peer *peer; (peer = LIST_FIRST(&engine->peers));) {
        LIST_REMOVE(peer, all);
        free(peer);
    }
    lunar_assembly_free_spare(engine);
    free(engine->nowhere);
    lunar_table_free(&engine->table);
    lunar_timers_free(&engine->timers);
    free(engine);
}

/* Peers and streams. */

static uint32_t longest_datagram(const lunar_destination *to) {
    uint32_t headers_bytes = to->family == 6 ? 48 : 28;
    uint32_t bytes = to->mtu > headers_bytes ? to->mtu - headers_bytes : 0;
    if (!to->mtu) /* no way yet: nothing is sent, so any size will do */
        return LUNAR_XDP_LEAST_DATAGRAM;
    return bytes < LUNAR_XDP_MOST_DATAGRAM ? bytes : LUNAR_XDP_MOST_DATAGRAM;
}

static lunar_peer *join_peer(lunar_xdp_engine *engine, const lunar_destination *to) {
    lunar_peer *peer;
    LIST_FOREACH(peer, &engine->peers, all) {
        if (!memcmp(&peer->to, to, sizeof *to))
            break;
    }
    if (!peer) {
        peer = calloc(1, sizeof *peer);
        if (!peer)
            return NULL;
        peer->to = *to;
        peer->datagram_bytes = longest_datagram(to);
        peer->timer = (lunar_timer){.kind = LUNAR_TIMER_PEER, .owner = peer};
        TAILQ_INIT(&peer->owed);
        LIST_INSERT_HEAD(&engine->peers, peer, all);
        engine->timed++;
    }
    peer->streams++;
    return peer;
}

static void leave_peer(lunar_xdp_engine *engine, lunar_peer *peer) {
    if (--peer->streams)
        return;
    if (engine->outbox.peer == peer)
        lunar_outbox_finish(engine);
    if (peer->urgent)
        TAILQ_REMOVE(&engine->pressing, peer, pressing);
    lunar_timers_disarm(&engine->timers, &peer->timer);
    LIST_REMOVE(peer, all);
    engine->timed--;
    free(peer);
}

void lunar_stream_bury(lunar_stream *stream) {
    lunar_xdp_engine *engine = stream->engine;
    if (stream->dead)
        return;
    stream->dead = true;
    lunar_table_remove(&engine->table, stream->token);
    engine->last_stream = NULL;
    lunar_timers_disarm(&engine->timers, &stream->timer);
    engine->timed--;
    lunar_xdp_outgoing *outgoing = (lunar_xdp_outgoing *)stream;
    if (!stream->incoming && outgoing->ready) {
        outgoing->ready = false;
        TAILQ_REMOVE(&engine->ready, outgoing, in_ready);
    }
    LIST_REMOVE(stream, all);
    SLIST_INSERT_HEAD(&engine->graves, stream, grave);
    leave_peer(engine, stream->peer);
}

/* Puts a stream under its token; false with errno. */
static bool enter(lunar_xdp_engine *engine, lunar_stream *stream, const lunar_destination *to) {
    lunar_stream *found = lunar_table_get(&engine->table, stream->token);
    if (found && !found->closed) {
        errno = EEXIST;
        return false;
    }
    if (longest_datagram(to) < LUNAR_XDP_LEAST_DATAGRAM) {
        errno = EINVAL;
        return false;
    }
    if (found)
        lunar_stream_bury(found); /* it was only waiting for the answer to its CLOSE, which the new one implies */
    errno = ENOMEM;
    stream->engine = engine;
    stream->peer = join_peer(engine, to);
    if (!stream->peer)
        return false;
    if (!lunar_timers_reserve(&engine->timers, engine->timed + 1) ||
        !lunar_table_put(&engine->table, stream->token, stream)) {
        leave_peer(engine, stream->peer);
        return false;
    }
    engine->timed++;
    LIST_INSERT_HEAD(&engine->streams, stream, all);
    lunar_timers_arm(&engine->timers, &stream->timer, engine->now_ns);
    return true;
}

lunar_xdp_outgoing *lunar_xdp_engine_open_outgoing(lunar_xdp_engine *engine, const lunar_xdp_stream *stream,
                                                   const lunar_destination *to, const lunar_xdp_outgoing_host *host,
                                                   void *context) {
    lunar_xdp_outgoing *outgoing = calloc(1, sizeof *outgoing);
    if (!outgoing)
        return NULL;
    lunar_stream *base = &outgoing->stream;
    base->reliable = stream->reliable;
    base->token = lunar_token_derive(engine->key, stream->publisher, stream->subscriber, stream->reliable,
                                     LUNAR_TOKEN_TO_PUBLISHER);
    base->other_token = lunar_token_derive(engine->key, stream->publisher, stream->subscriber, stream->reliable,
                                           LUNAR_TOKEN_TO_SUBSCRIBER);
    base->timer = (lunar_timer){.kind = LUNAR_TIMER_OUTGOING, .owner = outgoing};
    outgoing->host = host;
    outgoing->context = context;
    outgoing->calls = true;
    outgoing->origin = lunar_engine_number(engine);
    /* Somewhere: what is left of an earlier stream between the same two is unlikely to be near. */
    outgoing->end_pn = (uint32_t)lunar_token_siphash(engine->key, (const uint8_t *)&outgoing->origin, 4);
    if (!enter(engine, base, to)) {
        free(outgoing);
        return NULL;
    }
    return outgoing;
}

lunar_xdp_incoming *lunar_xdp_engine_open_incoming(lunar_xdp_engine *engine, const lunar_xdp_stream *stream,
                                                   const uint8_t key[16], const lunar_destination *to,
                                                   const lunar_xdp_incoming_host *host, void *context) {
    lunar_xdp_incoming *incoming = calloc(1, sizeof *incoming);
    if (!incoming)
        return NULL;
    lunar_stream *base = &incoming->stream;
    base->incoming = true;
    base->reliable = stream->reliable;
    base->token =
        lunar_token_derive(key, stream->publisher, stream->subscriber, stream->reliable, LUNAR_TOKEN_TO_SUBSCRIBER);
    base->other_token =
        lunar_token_derive(key, stream->publisher, stream->subscriber, stream->reliable, LUNAR_TOKEN_TO_PUBLISHER);
    base->timer = (lunar_timer){.kind = LUNAR_TIMER_INCOMING, .owner = incoming};
    incoming->host = host;
    incoming->context = context;
    incoming->window = engine->limits.window;
    incoming->held_end = &incoming->held;
    incoming->life = lunar_engine_number(engine);
    incoming->interval_ns = 10 * LUNAR_MS;
    if (!enter(engine, base, to)) {
        free(incoming);
        return NULL;
    }
    return incoming;
}

int lunar_xdp_engine_redirect(lunar_xdp_engine *engine, const lunar_destination *from, const lunar_destination *to) {
    lunar_peer *peer;
    lunar_stream *stream;
    if (longest_datagram(to) < LUNAR_XDP_LEAST_DATAGRAM)
        return -EINVAL;
    /* Peers may become equal by that.  They stay two, for as long as each has streams. */
    LIST_FOREACH(peer, &engine->peers, all) {
        if (memcmp(&peer->to, from, sizeof *from))
            continue;
        if (engine->outbox.peer == peer)
            lunar_outbox_finish(engine);
        peer->to = *to;
        peer->datagram_bytes = longest_datagram(to);
    }
    LIST_FOREACH(stream, &engine->streams, all) {
        if (memcmp(&stream->peer->to, to, sizeof *to))
            continue;
        if (stream->incoming)
            lunar_incoming_try_now((lunar_xdp_incoming *)stream);
        else
            lunar_outgoing_try_now((lunar_xdp_outgoing *)stream);
    }
    return 0;
}

/* Turns. */

void lunar_xdp_engine_set_time(lunar_xdp_engine *engine, uint64_t now_ns) {
    if (now_ns > engine->now_ns)
        engine->now_ns = now_ns;
}

static void take_datagram(lunar_xdp_engine *engine, const lunar_datagram *datagram) {
    lunar_xdp_statistics *statistics = &engine->statistics;
    lunar_wire_cursor cursor;
    lunar_wire_record record;
    int found = -1;
    statistics->datagrams_received++;
    if (lunar_wire_begin(&cursor, datagram->bytes, datagram->size_bytes))
        while ((found = lunar_wire_next(&cursor, &record)) > 0) {
            lunar_stream *stream = engine->last_stream;
            statistics->records_received++;
            if (!stream || record.token != engine->last_token) {
                stream = lunar_table_get(&engine->table, record.token);
                engine->last_token = record.token;
                engine->last_stream = stream;
            }
            if (!stream)
                statistics->unknown_tokens++;
            else if (stream->incoming)
                lunar_incoming_take((lunar_xdp_incoming *)stream, &record);
            else
                lunar_outgoing_take((lunar_xdp_outgoing *)stream, &record);
        }
    statistics->malformed += found < 0;
}

static void receive(lunar_xdp_engine *engine) {
    lunar_port *port = engine->port;
    lunar_datagram datagrams[BATCH];
    engine->more = false;
    for (uint32_t taken = 0; taken < engine->limits.turn_datagrams;) {
        int count = port->kind->receive(port, datagrams, BATCH);
        if (count < 0)
            engine->error = count;
        if (count <= 0)
            return;
        for (int i = 0; i < count; i++)
            take_datagram(engine, &datagrams[i]);
        port->kind->release(port);
        taken += (uint32_t)count;
        if (count < BATCH)
            return;
    }
    engine->more = true;
}

static void call_timers(lunar_xdp_engine *engine) {
    for (int i = 0; i < TURN_TIMERS; i++) {
        lunar_timer *timer = lunar_timers_take(&engine->timers, engine->now_ns);
        if (!timer)
            return;
        if (timer->kind == LUNAR_TIMER_OUTGOING)
            lunar_outgoing_on_timer(timer->owner);
        else if (timer->kind == LUNAR_TIMER_INCOMING)
            lunar_incoming_on_timer(timer->owner);
        else
            lunar_outbox_press(timer->owner);
    }
}

static void serve_resumed(lunar_xdp_engine *engine) {
    for (int i = 0; i < TURN_RESUMED; i++) {
        lunar_xdp_incoming *incoming = TAILQ_FIRST(&engine->resumed);
        if (!incoming)
            return;
        TAILQ_REMOVE(&engine->resumed, incoming, resumed);
        incoming->is_resumed = false;
        lunar_incoming_serve(incoming);
    }
}

static void serve_ready(lunar_xdp_engine *engine) {
    for (int i = 0; i < TURN_STREAMS && !engine->outbox.blocked; i++) {
        lunar_xdp_outgoing *outgoing = TAILQ_FIRST(&engine->ready);
        if (!outgoing)
            return;
        TAILQ_REMOVE(&engine->ready, outgoing, in_ready);
        outgoing->ready = false;
        lunar_outgoing_serve(outgoing);
    }
}

uint64_t lunar_xdp_engine_work(lunar_xdp_engine *engine, uint64_t now_ns) {
    lunar_xdp_engine_set_time(engine, now_ns);
    free_graves(engine);
    engine->outbox.blocked = false;
    receive(engine);
    serve_resumed(engine);
    call_timers(engine);
    lunar_outbox_pay_pressing(engine);
    serve_ready(engine);
    lunar_xdp_engine_flush(engine);
    return lunar_xdp_engine_due(engine);
}

uint64_t lunar_xdp_engine_due(const lunar_xdp_engine *engine) {
    uint64_t due_ns = lunar_timers_due(&engine->timers);
    if (engine->more || !TAILQ_EMPTY(&engine->resumed))
        return 0;
    if (!TAILQ_EMPTY(&engine->ready) || !TAILQ_EMPTY(&engine->pressing)) {
        if (!engine->outbox.blocked)
            return 0;
        if (due_ns > engine->now_ns + AGAIN_NS)
            due_ns = engine->now_ns + AGAIN_NS;
    }
    return due_ns;
}

bool lunar_xdp_engine_has_work(lunar_xdp_engine *engine, uint64_t now_ns) {
    return lunar_xdp_engine_due(engine) <= now_ns || engine->port->kind->has_input(engine->port);
}

int lunar_xdp_engine_flush(lunar_xdp_engine *engine) {
    lunar_outbox_finish(engine);
    engine->error = engine->port->kind->flush(engine->port);
    return engine->error;
}

int lunar_xdp_engine_error(const lunar_xdp_engine *engine) { return engine->error; }

const lunar_xdp_statistics *lunar_xdp_engine_statistics(const lunar_xdp_engine *engine) {
    return &engine->statistics;
}
