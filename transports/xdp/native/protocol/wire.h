/* The format of datagrams: docs/xdp-protocol.md, in C.
 *
 * A datagram is a header and records until its end.  All numbers are little-endian and stand at any address, so each is
 * read and written by memcpy.  What is read here is checked for length and nothing else: what a value may be is for
 * whoever knows the stream.
 */
#ifndef LUNAR_XDP_WIRE_H
#define LUNAR_XDP_WIRE_H

#include <endian.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define LUNAR_WIRE_MAGIC 0x584c /* "LX" */
#define LUNAR_WIRE_VERSION 1

enum {
    LUNAR_WIRE_HEADER_BYTES = 4,
    LUNAR_WIRE_RECORD_BYTES = 12,
    LUNAR_WIRE_DATA_BYTES = 44, /* of the record, without the payload */
    LUNAR_WIRE_START_BYTES = 52,
    LUNAR_WIRE_POLL_BYTES = 16,
    LUNAR_WIRE_TALLY_BYTES = 28,
    LUNAR_WIRE_CLOSE_BYTES = 20,
    LUNAR_WIRE_HEARD_BYTES = 16, /* CALL too */
    LUNAR_WIRE_OPEN_BYTES = 28,
    LUNAR_WIRE_ACK_BYTES = 40, /* without ranges */
    LUNAR_WIRE_RANGE_BYTES = 8,
    LUNAR_WIRE_MOST_RANGES = 32,
};

/* The high bit says which way: to the publisher. */
enum {
    LUNAR_WIRE_DATA = 0x01,
    LUNAR_WIRE_START = 0x02,
    LUNAR_WIRE_POLL = 0x03,
    LUNAR_WIRE_TALLY = 0x04,
    LUNAR_WIRE_CLOSE = 0x05,       /* the publisher's side closes */
    LUNAR_WIRE_LEAVE_HEARD = 0x06, /* answers LEAVE */
    LUNAR_WIRE_CALL = 0x07,        /* asks for an OPEN */
    LUNAR_WIRE_OPEN = 0x81,
    LUNAR_WIRE_ACK = 0x82,
    LUNAR_WIRE_LEAVE = 0x85,       /* the subscriber's side closes */
    LUNAR_WIRE_CLOSE_HEARD = 0x86, /* answers CLOSE */
};

enum { LUNAR_WIRE_REASON_CLOSED = 0, LUNAR_WIRE_REASON_FAULT = 1 };

typedef struct {
    const uint8_t *bytes;
    uint32_t left_bytes;
} lunar_wire_cursor;

typedef struct {
    uint8_t kind;
    uint8_t epoch; /* the low byte of the epoch, where the kind has one */
    uint16_t size_bytes;
    uint64_t token;
    const uint8_t *bytes; /* all of it */
} lunar_wire_record;

typedef struct {
    uint32_t pn, part, size_bytes, dropped;
    uint64_t sequence, source_time_ns;
    const uint8_t *payload;
    uint32_t payload_bytes;
} lunar_wire_data;

typedef struct {
    uint32_t epoch, life, origin, pn;
    uint64_t last_sequence, newest_sequence;
    uint32_t dropped, part_bytes;
} lunar_wire_start;

typedef struct {
    uint64_t last_sequence;
    uint32_t dropped, end;
} lunar_wire_tally;

typedef struct {
    uint32_t life, window, datagram_bytes, message_bytes;
} lunar_wire_open;

typedef struct {
    uint32_t from, count;
} lunar_wire_range;

typedef struct {
    uint32_t epoch, next, taken, limit, delay_us;
    uint64_t lost;
    uint32_t count;
    lunar_wire_range range[LUNAR_WIRE_MOST_RANGES];
} lunar_wire_ack;

static inline uint16_t lunar_wire_get16(const uint8_t *at) {
    uint16_t value;
    memcpy(&value, at, sizeof value);
    return le16toh(value);
}

static inline uint32_t lunar_wire_get32(const uint8_t *at) {
    uint32_t value;
    memcpy(&value, at, sizeof value);
    return le32toh(value);
}

static inline uint64_t lunar_wire_get64(const uint8_t *at) {
    uint64_t value;
    memcpy(&value, at, sizeof value);
    return le64toh(value);
}

static inline void lunar_wire_put16(uint8_t *at, uint16_t value) {
    value = htole16(value);
    memcpy(at, &value, sizeof value);
}

static inline void lunar_wire_put32(uint8_t *at, uint32_t value) {
    value = htole32(value);
    memcpy(at, &value, sizeof value);
}

static inline void lunar_wire_put64(uint8_t *at, uint64_t value) {
    value = htole64(value);
    memcpy(at, &value, sizeof value);
}

/* False: it is not of this protocol, or of a version that is not known. */
bool lunar_wire_begin(lunar_wire_cursor *cursor, const uint8_t *bytes, uint32_t size_bytes);
void lunar_wire_put_header(uint8_t *at);

/* 1 and the next record, 0 at the end, -1 if what follows is no record. */
static inline int lunar_wire_next(lunar_wire_cursor *cursor, lunar_wire_record *record) {
    if (cursor->left_bytes < LUNAR_WIRE_RECORD_BYTES)
        return cursor->left_bytes ? -1 : 0;
    const uint8_t *at = cursor->bytes;
    record->kind = at[0];
    record->epoch = at[1];
    record->size_bytes = lunar_wire_get16(at + 2);
    record->token = lunar_wire_get64(at + 4);
    record->bytes = at;
    if (record->size_bytes < LUNAR_WIRE_RECORD_BYTES || record->size_bytes > cursor->left_bytes)
        return -1;
    cursor->bytes += record->size_bytes;
    cursor->left_bytes -= record->size_bytes;
    return 1;
}

static inline void lunar_wire_put_record(uint8_t *at, uint8_t kind, uint32_t epoch, uint32_t size_bytes,
                                         uint64_t token) {
    at[0] = kind;
    at[1] = (uint8_t)epoch;
    lunar_wire_put16(at + 2, (uint16_t)size_bytes);
    lunar_wire_put64(at + 4, token);
}

/* Each `get` is false if the record has not the length of its kind. */
static inline bool lunar_wire_get_data(const lunar_wire_record *record, lunar_wire_data *data) {
    if (record->size_bytes < LUNAR_WIRE_DATA_BYTES)
        return false;
    const uint8_t *at = record->bytes + LUNAR_WIRE_RECORD_BYTES;
    data->pn = lunar_wire_get32(at);
    data->part = lunar_wire_get32(at + 4);
    data->size_bytes = lunar_wire_get32(at + 8);
    data->dropped = lunar_wire_get32(at + 12);
    data->sequence = lunar_wire_get64(at + 16);
    data->source_time_ns = lunar_wire_get64(at + 24);
    data->payload = at + 32;
    data->payload_bytes = record->size_bytes - LUNAR_WIRE_DATA_BYTES;
    return true;
}

/* Everything but the payload, which the caller writes behind it. */
static inline void lunar_wire_put_data(uint8_t *at, uint64_t token, uint32_t epoch, const lunar_wire_data *data) {
    lunar_wire_put_record(at, LUNAR_WIRE_DATA, epoch, LUNAR_WIRE_DATA_BYTES + data->payload_bytes, token);
    at += LUNAR_WIRE_RECORD_BYTES;
    lunar_wire_put32(at, data->pn);
    lunar_wire_put32(at + 4, data->part);
    lunar_wire_put32(at + 8, data->size_bytes);
    lunar_wire_put32(at + 12, data->dropped);
    lunar_wire_put64(at + 16, data->sequence);
    lunar_wire_put64(at + 24, data->source_time_ns);
}

bool lunar_wire_get_start(const lunar_wire_record *record, lunar_wire_start *start);
bool lunar_wire_get_poll(const lunar_wire_record *record, uint32_t *end);
bool lunar_wire_get_tally(const lunar_wire_record *record, lunar_wire_tally *tally);
bool lunar_wire_get_close(const lunar_wire_record *record, uint32_t *number, uint32_t *reason);
bool lunar_wire_get_heard(const lunar_wire_record *record, uint32_t *number);
bool lunar_wire_get_open(const lunar_wire_record *record, lunar_wire_open *open);
bool lunar_wire_get_ack(const lunar_wire_record *record, lunar_wire_ack *ack);

/* Each `put` writes as many bytes as its kind has, and returns them. */
uint32_t lunar_wire_put_start(uint8_t *at, uint64_t token, const lunar_wire_start *start);
uint32_t lunar_wire_put_poll(uint8_t *at, uint64_t token, uint32_t epoch, uint32_t end);
uint32_t lunar_wire_put_tally(uint8_t *at, uint64_t token, uint32_t epoch, const lunar_wire_tally *tally);
uint32_t lunar_wire_put_close(uint8_t *at, uint8_t kind, uint64_t token, uint32_t number, uint32_t reason);
uint32_t lunar_wire_put_heard(uint8_t *at, uint8_t kind, uint64_t token, uint32_t number);
uint32_t lunar_wire_put_open(uint8_t *at, uint64_t token, const lunar_wire_open *open);
uint32_t lunar_wire_put_ack(uint8_t *at, uint64_t token, const lunar_wire_ack *ack);

#endif
