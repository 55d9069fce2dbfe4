/* One datagram is open at a time, as the port has it.  It ends when the next record does not fit, is for somebody else
 * or for another time, or with the flush; before it ends, the acknowledgements that its peer is owed fill the room. */
#include <stdlib.h>

#include "incoming.h"

static void pay(lunar_xdp_engine *engine, lunar_peer *peer) {
    lunar_outbox *outbox = &engine->outbox;
    lunar_wire_ack ack;
    for (lunar_xdp_incoming *incoming; (incoming = TAILQ_FIRST(&peer->owed));) {
        uint32_t room_bytes = outbox->room_bytes - outbox->used_bytes;
        uint32_t size_bytes = lunar_incoming_ack_bytes(incoming, room_bytes, &ack);
        if (size_bytes > room_bytes)
            return;
        TAILQ_REMOVE(&peer->owed, incoming, owed);
        incoming->owes = incoming->at_once = false;
        /* What is told from now on is a promise: the window may be used as far. */
        incoming->told = ack.next;
        incoming->limit = ack.limit;
        outbox->used_bytes +=
            lunar_wire_put_ack(outbox->bytes + outbox->used_bytes, incoming->stream.other_token, &ack);
        engine->statistics.acks_sent++;
        engine->statistics.records_sent++;
    }
    if (peer->urgent) {
        peer->urgent = false;
        TAILQ_REMOVE(&engine->pressing, peer, pressing);
    }
}

void lunar_outbox_finish(lunar_xdp_engine *engine) {
    lunar_outbox *outbox = &engine->outbox;
    if (!outbox->peer)
        return;
    if (!TAILQ_EMPTY(&outbox->peer->owed))
        pay(engine, outbox->peer);
    outbox->peer = NULL;
    if (outbox->is_void)
        return;
    if (outbox->used_bytes == LUNAR_WIRE_HEADER_BYTES) {
        engine->port->kind->cancel(engine->port);
        return;
    }
    engine->port->kind->commit(engine->port, outbox->used_bytes, outbox->transmit_ns);
    engine->statistics.datagrams_sent++;
}

/* A record that can never be sent is written to nowhere and lost, as it would be by a network: who waits for an answer
 * notices.  What follows is tried anew. */
static uint8_t *nowhere(lunar_xdp_engine *engine) {
    if (!engine->nowhere)
        engine->nowhere = malloc(LUNAR_XDP_MOST_DATAGRAM);
    engine->statistics.undeliverable++;
    return engine->nowhere;
}

static bool begin(lunar_xdp_engine *engine, lunar_peer *peer, uint32_t size_bytes, uint64_t transmit_ns) {
    lunar_outbox *outbox = &engine->outbox;
    uint32_t room_bytes = UINT32_MAX;
    bool is_void = false;
    lunar_outbox_finish(engine);
    uint8_t *bytes = NULL;
    if (peer->to.mtu)
        bytes = engine->port->kind->begin(engine->port, &peer->to, &room_bytes);
    else
        room_bytes = 0; /* there is no way yet */
    if (bytes && room_bytes < peer->datagram_bytes && room_bytes >= LUNAR_XDP_LEAST_DATAGRAM)
        peer->datagram_bytes = room_bytes; /* the MTU is smaller than we were told: streams adapt, see outgoing.c */
    if (bytes && room_bytes < LUNAR_WIRE_HEADER_BYTES + size_bytes) {
        engine->port->kind->cancel(engine->port);
        is_void = true;
    }
    if (is_void || (!bytes && !room_bytes)) {
        is_void = true;
        bytes = nowhere(engine);
        room_bytes = LUNAR_WIRE_HEADER_BYTES + size_bytes;
    } else if (room_bytes > peer->datagram_bytes) {
        room_bytes = peer->datagram_bytes;
    }
    if (!bytes) {
        outbox->blocked = true;
        engine->statistics.port_full++;
        return false;
    }
    *outbox = (lunar_outbox){peer, bytes, LUNAR_WIRE_HEADER_BYTES, room_bytes, transmit_ns, outbox->blocked, is_void};
    lunar_wire_put_header(bytes);
    return true;
}

uint8_t *lunar_outbox_reserve_slowly(lunar_xdp_engine *engine, lunar_peer *peer, uint32_t size_bytes,
                                     uint64_t transmit_ns) {
    if (!begin(engine, peer, size_bytes, transmit_ns))
        return NULL;
    lunar_outbox *outbox = &engine->outbox;
    uint8_t *at = outbox->bytes + outbox->used_bytes;
    outbox->used_bytes += size_bytes;
    engine->statistics.records_sent++;
    return at;
}

void lunar_outbox_press(lunar_peer *peer) {
    if (!TAILQ_EMPTY(&peer->owed) && !peer->urgent) {
        lunar_xdp_engine *engine = TAILQ_FIRST(&peer->owed)->stream.engine;
        peer->urgent = true;
        TAILQ_INSERT_TAIL(&engine->pressing, peer, pressing);
    }
}

void lunar_outbox_owe_slowly(lunar_xdp_incoming *incoming, bool at_once) {
    lunar_xdp_engine *engine = incoming->stream.engine;
    lunar_peer *peer = incoming->stream.peer;
    if (!incoming->owes) {
        incoming->owes = true;
        TAILQ_INSERT_TAIL(&peer->owed, incoming, owed);
        lunar_timers_by(&engine->timers, &peer->timer, engine->now_ns + LUNAR_ACK_WITHIN_NS);
    }
    if (at_once) {
        incoming->at_once = true;
        lunar_outbox_press(peer);
    }
}

void lunar_outbox_pay_pressing(lunar_xdp_engine *engine) {
    lunar_outbox *outbox = &engine->outbox;
    for (lunar_peer *peer; (peer = TAILQ_FIRST(&engine->pressing));) {
        if (outbox->peer == peer)
            pay(engine, peer);
        while (peer->urgent) {
            if (!begin(engine, peer, LUNAR_WIRE_ACK_BYTES, 0))
                return; /* they stay urgent */
            pay(engine, peer);
        }
    }
}
