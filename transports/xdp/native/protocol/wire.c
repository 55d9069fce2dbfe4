#include "wire.h"

bool lunar_wire_begin(lunar_wire_cursor *cursor, const uint8_t *bytes, uint32_t size_bytes) {
    if (size_bytes < LUNAR_WIRE_HEADER_BYTES || lunar_wire_get16(bytes) != LUNAR_WIRE_MAGIC ||
        bytes[2] != LUNAR_WIRE_VERSION || bytes[3])
        return false;
    cursor->bytes = bytes + LUNAR_WIRE_HEADER_BYTES;
    cursor->left_bytes = size_bytes - LUNAR_WIRE_HEADER_BYTES;
    return true;
}

void lunar_wire_put_header(uint8_t *at) {
    lunar_wire_put16(at, LUNAR_WIRE_MAGIC);
    at[2] = LUNAR_WIRE_VERSION;
    at[3] = 0;
}

bool lunar_wire_get_start(const lunar_wire_record *record, lunar_wire_start *start) {
    const uint8_t *at = record->bytes + LUNAR_WIRE_RECORD_BYTES;
    if (record->size_bytes != LUNAR_WIRE_START_BYTES)
        return false;
    start->epoch = lunar_wire_get32(at);
    start->life = lunar_wire_get32(at + 4);
    start->origin = lunar_wire_get32(at + 8);
    start->pn = lunar_wire_get32(at + 12);
    start->last_sequence = lunar_wire_get64(at + 16);
    start->newest_sequence = lunar_wire_get64(at + 24);
    start->dropped = lunar_wire_get32(at + 32);
    start->part_bytes = lunar_wire_get32(at + 36);
    return true;
}

uint32_t lunar_wire_put_start(uint8_t *at, uint64_t token, const lunar_wire_start *start) {
    lunar_wire_put_record(at, LUNAR_WIRE_START, start->epoch, LUNAR_WIRE_START_BYTES, token);
    at += LUNAR_WIRE_RECORD_BYTES;
    lunar_wire_put32(at, start->epoch);
    lunar_wire_put32(at + 4, start->life);
    lunar_wire_put32(at + 8, start->origin);
    lunar_wire_put32(at + 12, start->pn);
    lunar_wire_put64(at + 16, start->last_sequence);
    lunar_wire_put64(at + 24, start->newest_sequence);
    lunar_wire_put32(at + 32, start->dropped);
    lunar_wire_put32(at + 36, start->part_bytes);
    return LUNAR_WIRE_START_BYTES;
}

bool lunar_wire_get_poll(const lunar_wire_record *record, uint32_t *end) {
    if (record->size_bytes != LUNAR_WIRE_POLL_BYTES)
        return false;
    *end = lunar_wire_get32(record->bytes + LUNAR_WIRE_RECORD_BYTES);
    return true;
}

uint32_t lunar_wire_put_poll(uint8_t *at, uint64_t token, uint32_t epoch, uint32_t end) {
    lunar_wire_put_record(at, LUNAR_WIRE_POLL, epoch, LUNAR_WIRE_POLL_BYTES, token);
    lunar_wire_put32(at + LUNAR_WIRE_RECORD_BYTES, end);
    return LUNAR_WIRE_POLL_BYTES;
}

bool lunar_wire_get_tally(const lunar_wire_record *record, lunar_wire_tally *tally) {
    const uint8_t *at = record->bytes + LUNAR_WIRE_RECORD_BYTES;
    if (record->size_bytes != LUNAR_WIRE_TALLY_BYTES)
        return false;
    tally->last_sequence = lunar_wire_get64(at);
    tally->dropped = lunar_wire_get32(at + 8);
    tally->end = lunar_wire_get32(at + 12);
    return true;
}

uint32_t lunar_wire_put_tally(uint8_t *at, uint64_t token, uint32_t epoch, const lunar_wire_tally *tally) {
    lunar_wire_put_record(at, LUNAR_WIRE_TALLY, epoch, LUNAR_WIRE_TALLY_BYTES, token);
    at += LUNAR_WIRE_RECORD_BYTES;
    lunar_wire_put64(at, tally->last_sequence);
    lunar_wire_put32(at + 8, tally->dropped);
    lunar_wire_put32(at + 12, tally->end);
    return LUNAR_WIRE_TALLY_BYTES;
}

bool lunar_wire_get_close(const lunar_wire_record *record, uint32_t *number, uint32_t *reason) {
    if (record->size_bytes != LUNAR_WIRE_CLOSE_BYTES)
        return false;
    *number = lunar_wire_get32(record->bytes + LUNAR_WIRE_RECORD_BYTES);
    *reason = lunar_wire_get32(record->bytes + LUNAR_WIRE_RECORD_BYTES + 4);
    return true;
}

uint32_t lunar_wire_put_close(uint8_t *at, uint8_t kind, uint64_t token, uint32_t number, uint32_t reason) {
    lunar_wire_put_record(at, kind, 0, LUNAR_WIRE_CLOSE_BYTES, token);
    lunar_wire_put32(at + LUNAR_WIRE_RECORD_BYTES, number);
    lunar_wire_put32(at + LUNAR_WIRE_RECORD_BYTES + 4, reason);
    return LUNAR_WIRE_CLOSE_BYTES;
}

bool lunar_wire_get_heard(const lunar_wire_record *record, uint32_t *number) {
    if (record->size_bytes != LUNAR_WIRE_HEARD_BYTES)
        return false;
    *number = lunar_wire_get32(record->bytes + LUNAR_WIRE_RECORD_BYTES);
    return true;
}

uint32_t lunar_wire_put_heard(uint8_t *at, uint8_t kind, uint64_t token, uint32_t number) {
    lunar_wire_put_record(at, kind, 0, LUNAR_WIRE_HEARD_BYTES, token);
    lunar_wire_put32(at + LUNAR_WIRE_RECORD_BYTES, number);
    return LUNAR_WIRE_HEARD_BYTES;
}

bool lunar_wire_get_open(const lunar_wire_record *record, lunar_wire_open *open) {
    const uint8_t *at = record->bytes + LUNAR_WIRE_RECORD_BYTES;
    if (record->size_bytes != LUNAR_WIRE_OPEN_BYTES)
        return false;
    open->life = lunar_wire_get32(at);
    open->window = lunar_wire_get32(at + 4);
    open->datagram_bytes = lunar_wire_get32(at + 8);
    open->message_bytes = lunar_wire_get32(at + 12);
    return true;
}

uint32_t lunar_wire_put_open(uint8_t *at, uint64_t token, const lunar_wire_open *open) {
    lunar_wire_put_record(at, LUNAR_WIRE_OPEN, 0, LUNAR_WIRE_OPEN_BYTES, token);
    at += LUNAR_WIRE_RECORD_BYTES;
    lunar_wire_put32(at, open->life);
    lunar_wire_put32(at + 4, open->window);
    lunar_wire_put32(at + 8, open->datagram_bytes);
    lunar_wire_put32(at + 12, open->message_bytes);
    return LUNAR_WIRE_OPEN_BYTES;
}

bool lunar_wire_get_ack(const lunar_wire_record *record, lunar_wire_ack *ack) {
    const uint8_t *at = record->bytes + LUNAR_WIRE_RECORD_BYTES;
    if (record->size_bytes < LUNAR_WIRE_ACK_BYTES)
        return false;
    uint32_t ranges_bytes = record->size_bytes - LUNAR_WIRE_ACK_BYTES;
    if (ranges_bytes % LUNAR_WIRE_RANGE_BYTES || ranges_bytes > LUNAR_WIRE_MOST_RANGES * LUNAR_WIRE_RANGE_BYTES)
        return false;
    ack->epoch = lunar_wire_get32(at);
    ack->next = lunar_wire_get32(at + 4);
    ack->taken = lunar_wire_get32(at + 8);
    ack->limit = lunar_wire_get32(at + 12);
    ack->delay_us = lunar_wire_get32(at + 16);
    ack->lost = lunar_wire_get64(at + 20);
    ack->count = ranges_bytes / LUNAR_WIRE_RANGE_BYTES;
    at += 28;
    for (uint32_t i = 0; i < ack->count; i++, at += LUNAR_WIRE_RANGE_BYTES) {
        ack->range[i].from = lunar_wire_get32(at);
        ack->range[i].count = lunar_wire_get32(at + 4);
    }
    return true;
}

uint32_t lunar_wire_put_ack(uint8_t *at, uint64_t token, const lunar_wire_ack *ack) {
    uint32_t size_bytes = LUNAR_WIRE_ACK_BYTES + ack->count * LUNAR_WIRE_RANGE_BYTES;
    lunar_wire_put_record(at, LUNAR_WIRE_ACK, ack->epoch, size_bytes, token);
    at += LUNAR_WIRE_RECORD_BYTES;
    lunar_wire_put32(at, ack->epoch);
    lunar_wire_put32(at + 4, ack->next);
    lunar_wire_put32(at + 8, ack->taken);
    lunar_wire_put32(at + 12, ack->limit);
    lunar_wire_put32(at + 16, ack->delay_us);
    lunar_wire_put64(at + 20, ack->lost);
    at += 28;
    for (uint32_t i = 0; i < ack->count; i++, at += LUNAR_WIRE_RANGE_BYTES) {
        lunar_wire_put32(at, ack->range[i].from);
        lunar_wire_put32(at + 4, ack->range[i].count);
    }
    return size_bytes;
}
