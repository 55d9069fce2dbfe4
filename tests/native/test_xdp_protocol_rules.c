/* The accelerated path's formats, tokens, and what becomes of who breaks its rules. */
#include "../../transports/xdp/native/protocol/assembly.h"
#include "../../transports/xdp/native/protocol/table.h"
#include "../../transports/xdp/native/protocol/timers.h"
#include "../../transports/xdp/native/protocol/token.h"
#include "xdp_pair.h"

static void siphash_is_siphash(void) {
    uint8_t key[16], text[15];
    for (uint8_t i = 0; i < 16; i++)
        key[i] = i;
    for (uint8_t i = 0; i < 15; i++)
        text[i] = i;
    /* From the appendix of the paper. */
    CHECK(lunar_token_siphash(key, text, sizeof text) == UINT64_C(0xa129ca6149be45e5));
    CHECK(lunar_token_siphash(key, text, 0) == UINT64_C(0x726fdb47dd0e0e31));
    uint8_t other[16] = {1};
    uint64_t tokens[] = {lunar_token_derive(key, key, other, true, 0), lunar_token_derive(key, key, other, true, 1),
                         lunar_token_derive(key, key, other, false, 0), lunar_token_derive(key, other, key, true, 0),
                         lunar_token_derive(other, key, other, true, 0)};
    for (int i = 0; i < 5; i++)
        for (int j = 0; j < i; j++)
            CHECK(tokens[i] != tokens[j]);
}

static lunar_wire_record only_record(const uint8_t *bytes, uint32_t size_bytes) {
    lunar_wire_cursor cursor = {bytes, size_bytes};
    lunar_wire_record record;
    CHECK(lunar_wire_next(&cursor, &record) == 1 && record.size_bytes == size_bytes && !cursor.left_bytes);
    for (uint32_t less = 1; less < size_bytes; less++) {
        lunar_wire_record none;
        cursor = (lunar_wire_cursor){bytes, less};
        CHECK(lunar_wire_next(&cursor, &none) == -1);
    }
    return record;
}

static void formats(void) {
    uint8_t at[512];
    lunar_wire_start start = {1, 2, 3, 4, 5, 6, 7, 1424}, start_got;
    lunar_wire_record record = only_record(at, lunar_wire_put_start(at, 99, &start));
    CHECK(record.kind == LUNAR_WIRE_START && record.token == 99 && lunar_wire_get_start(&record, &start_got));
    CHECK(!memcmp(&start, &start_got, sizeof start));
    lunar_wire_open open = {1, 2, 3, 4}, open_got;
    record = only_record(at, lunar_wire_put_open(at, 98, &open));
    CHECK(record.kind == LUNAR_WIRE_OPEN && lunar_wire_get_open(&record, &open_got));
    CHECK(!memcmp(&open, &open_got, sizeof open) && !lunar_wire_get_start(&record, &start_got));
    lunar_wire_tally tally = {UINT64_MAX, 2, 3}, tally_got;
    record = only_record(at, lunar_wire_put_tally(at, 97, 0x1ff, &tally));
    CHECK(record.kind == LUNAR_WIRE_TALLY && record.epoch == 0xff && lunar_wire_get_tally(&record, &tally_got));
    CHECK(tally_got.last_sequence == UINT64_MAX && tally_got.dropped == 2 && tally_got.end == 3);
    for (uint32_t count = 0; count <= LUNAR_WIRE_MOST_RANGES; count++) {
        lunar_wire_ack ack = {1, 2, 3, 4, 5, 6, count, {{0, 0}}}, ack_got;
        for (uint32_t i = 0; i < count; i++)
            ack.range[i] = (lunar_wire_range){10 * i, 20 * i};
        record = only_record(at, lunar_wire_put_ack(at, 96, &ack));
        CHECK(record.kind == LUNAR_WIRE_ACK && lunar_wire_get_ack(&record, &ack_got));
        CHECK(ack_got.lost == 6 && ack_got.count == count && ack_got.limit == 4 && ack_got.delay_us == 5);
        CHECK(!memcmp(ack.range, ack_got.range, count * sizeof *ack.range));
        record.size_bytes++;
        CHECK(!lunar_wire_get_ack(&record, &ack_got));
    }
    uint32_t number, reason;
    record = only_record(at, lunar_wire_put_close(at, LUNAR_WIRE_LEAVE, 95, 7, 1));
    CHECK(lunar_wire_get_close(&record, &number, &reason) && number == 7 && reason == 1);
    record = only_record(at, lunar_wire_put_heard(at, LUNAR_WIRE_CLOSE_HEARD, 94, 8));
    CHECK(lunar_wire_get_heard(&record, &number) && number == 8);
    record = only_record(at, lunar_wire_put_poll(at, 93, 2, 9));
    CHECK(lunar_wire_get_poll(&record, &number) && number == 9);
}

static void parts_fit(void) {
    lunar_wire_data data = {.size_bytes = 3000, .part = 2, .payload_bytes = 1000};
    CHECK(lunar_assembly_parts(3000, 1000) == 3 && lunar_assembly_parts(3001, 1000) == 4);
    CHECK(lunar_assembly_parts(0, 1000) == 1 && lunar_assembly_parts(UINT32_MAX, 1000) == 4294968);
    CHECK(lunar_assembly_is_part(&data, 1000));
    data.part = 3;
    CHECK(!lunar_assembly_is_part(&data, 1000));
    data.part = UINT32_MAX;
    CHECK(!lunar_assembly_is_part(&data, 1000));
    data = (lunar_wire_data){.size_bytes = 2999, .part = 2, .payload_bytes = 1000};
    CHECK(!lunar_assembly_is_part(&data, 1000));
    data = (lunar_wire_data){.size_bytes = 10, .part = 0, .payload_bytes = 11};
    CHECK(!lunar_assembly_is_part(&data, 1000));
}

/* Against a plain array. */
static void tables_and_timers(void) {
    enum { COUNT = 2000 };
    static lunar_timer timers_of[COUNT];
    static bool in_table[COUNT];
    lunar_table table;
    lunar_timers timers = {NULL, 0, 0};
    uint64_t state = 5;
    CHECK(lunar_table_init(&table) && lunar_timers_reserve(&timers, COUNT));
    for (int i = 0; i < 50000; i++) {
        uint32_t one = (uint32_t)fuzz_below(&state, COUNT);
        uint64_t token = (uint64_t)one % 64 << 32 | one; /* many share a place */
        CHECK(lunar_table_get(&table, token) == (in_table[one] ? &timers_of[one] : NULL));
        if (in_table[one])
            lunar_table_remove(&table, token);
        else
            CHECK(lunar_table_put(&table, token, &timers_of[one]));
        in_table[one] = !in_table[one];
        uint32_t other = (uint32_t)fuzz_below(&state, COUNT);
        if (fuzz_below(&state, 3))
            lunar_timers_arm(&timers, &timers_of[other], fuzz_below(&state, 1000));
        else
            lunar_timers_disarm(&timers, &timers_of[other]);
        uint64_t first = UINT64_MAX;
        if (i % 100 == 0) {
            for (int j = 0; j < COUNT; j++)
                if (timers_of[j].place && timers_of[j].due_ns < first)
                    first = timers_of[j].due_ns;
            CHECK(lunar_timers_due(&timers) == first);
        }
    }
    uint64_t last = 0;
    for (lunar_timer *timer; (timer = lunar_timers_take(&timers, UINT64_MAX)); last = timer->due_ns)
        CHECK(timer->due_ns >= last);
    lunar_table_free(&table);
    lunar_timers_free(&timers);
}

/* A stream that runs, into which a test puts records of its own. */
typedef struct {
    Pair pair;
    Sender sender;
    Receiver receiver;
    uint64_t tokens[2]; /* to the publisher, to the subscriber */
    uint32_t next, epoch, life, origin;
    bool is_mute; /* the publisher does not hear what the subscriber's side says of records that it never sent */
} Line;

static bool watch(Wire *wire, int from, uint8_t *bytes, uint32_t size_bytes) {
    Line *line = wire->tap_argument;
    lunar_wire_cursor cursor;
    lunar_wire_record record;
    lunar_wire_start start;
    CHECK(lunar_wire_begin(&cursor, bytes, size_bytes));
    while (lunar_wire_next(&cursor, &record) > 0) {
        CHECK(record.token == line->tokens[1 - from] && !(record.kind & 0x80) == !from);
        if (record.kind == LUNAR_WIRE_START && lunar_wire_get_start(&record, &start)) {
            line->next = start.pn;
            line->epoch = start.epoch;
            line->life = start.life;
            line->origin = start.origin;
        }
    }
    CHECK(!cursor.left_bytes);
    return !(line->is_mute && from == 1);
}

static void make(Line *line, bool reliable) {
    memset(line, 0, sizeof *line);
    lunar_xdp_limits limits = {.window = 64, .message_bytes = 1 << 20};
    pair_make(&line->pair, 7, &limits, 1500);
    line->sender = (Sender){.size_of = always_64};
    line->receiver = (Receiver){.size_of = always_64};
    lunar_xdp_stream stream = pair_stream(1, reliable);
    for (int i = 0; i < 2; i++)
        line->tokens[i] =
            lunar_token_derive(line->pair.keys[0], stream.publisher, stream.subscriber, reliable, 1 - i);
    line->pair.wire.tap = watch;
    line->pair.wire.tap_argument = line;
    pair_open_receiver(&line->pair, &line->receiver, 1, reliable);
    pair_open_sender(&line->pair, &line->sender, 1, reliable);
    PAIR_UNTIL(&line->pair, line->receiver.running && line->sender.connected, 1);
    pair_run_for(&line->pair, 10000000);
    line->is_mute = true;
}

static void put(Line *line, int to, const uint8_t *record, uint32_t size_bytes) {
    uint8_t bytes[2048];
    lunar_wire_put_header(bytes);
    memcpy(bytes + LUNAR_WIRE_HEADER_BYTES, record, size_bytes);
    memory_put(&line->pair.ports[to], bytes, LUNAR_WIRE_HEADER_BYTES + size_bytes, line->pair.wire.now_ns);
    pair_turn(&line->pair);
}

static void put_data(Line *line, lunar_wire_data data) {
    uint8_t record[2048] = {0};
    lunar_wire_put_data(record, line->tokens[1], line->epoch, &data);
    if (data.part == 0 && data.size_bytes == 64)
        fill(record + LUNAR_WIRE_DATA_BYTES, data.sequence, 64);
    put(line, 1, record, LUNAR_WIRE_DATA_BYTES + data.payload_bytes);
}

static lunar_wire_data whole(const Line *line, uint32_t ahead, uint64_t sequence) {
    return (lunar_wire_data){.pn = line->next + ahead,
                             .size_bytes = 64,
                             .sequence = sequence,
                             .source_time_ns = sequence * 1000,
                             .payload_bytes = 64};
}

static lunar_wire_data part_of(const Line *line, uint32_t first, uint32_t part, uint32_t size_bytes) {
    uint32_t rest = size_bytes - part * 1424;
    return (lunar_wire_data){.pn = line->next + first + part,
                             .part = part,
                             .size_bytes = size_bytes,
                             .sequence = 1,
                             .payload_bytes = rest < 1424 ? rest : 1424};
}

/* The stream is closed at both ends; memory comes back. */
static void is_faulty(Line *line) {
    CHECK(line->receiver.is_faulty && line->receiver.reason && line->receiver.blocks == 0);
    CHECK(lunar_xdp_engine_statistics(line->pair.engines[1])->faults == 1);
    line->is_mute = false;
    PAIR_UNTIL(&line->pair, line->sender.disconnects == 1, 0.01);
    pair_free(&line->pair);
}

static void is_fine(Line *line) {
    CHECK(!line->receiver.is_faulty && line->receiver.running && line->sender.connected);
    pair_free(&line->pair);
    CHECK(line->receiver.blocks == 0);
}

static void broken_by_a_publisher(bool reliable) {
    Line line;
    make(&line, reliable);
    put_data(&line, whole(&line, 0, 1));
    put_data(&line, whole(&line, 0, 1)); /* twice is no fault */
    CHECK(line.receiver.delivered == 1);
    is_fine(&line);

    make(&line, reliable);
    lunar_wire_data data = whole(&line, 0, 1);
    data.payload_bytes = 63;
    put_data(&line, data);
    is_faulty(&line);

    make(&line, reliable);
    put_data(&line, part_of(&line, 0, 0, (1 << 20) + 1)); /* larger than the limit */
    is_faulty(&line);

    make(&line, reliable);
    data = part_of(&line, 0, 0, 5000);
    data.part = 4;
    data.pn += 4;
    put_data(&line, data); /* a part that it has not */
    is_faulty(&line);

    make(&line, reliable);
    put_data(&line, part_of(&line, 0, 0, 5000));
    put_data(&line, part_of(&line, 0, 1, 5001)); /* a size that changes */
    is_faulty(&line);

    make(&line, reliable);
    data = part_of(&line, 0, 0, 5000);
    data.payload_bytes = 100; /* parts of another size */
    put_data(&line, data);
    is_faulty(&line);
}

static void broken_windows(void) {
    Line line;
    make(&line, true);
    put_data(&line, whole(&line, 63, 64));
    CHECK(!line.receiver.is_faulty && line.receiver.blocks == 1);
    put_data(&line, whole(&line, 64, 65)); /* beyond the window */
    is_faulty(&line);

    make(&line, true);
    put_data(&line, part_of(&line, 2, 0, 5000)); /* takes 2 to 5 */
    put_data(&line, whole(&line, 3, 9));         /* within it */
    put_data(&line, part_of(&line, 2, 2, 5000));
    put_data(&line, part_of(&line, 2, 3, 5000));
    CHECK(!line.receiver.is_faulty); /* found out when the window comes by */
    put_data(&line, whole(&line, 0, 1));
    put_data(&line, whole(&line, 1, 2));
    is_faulty(&line);

    make(&line, true);
    put_data(&line, part_of(&line, 0, 0, 5000));
    put_data(&line, whole(&line, 1, 9));
    is_faulty(&line);

    make(&line, true);
    uint8_t record[64];
    put(&line, 1, record, lunar_wire_put_poll(record, line.tokens[1], line.epoch, line.next + 65));
    is_faulty(&line);

    make(&line, true);
    put(&line, 1, record, lunar_wire_put_poll(record, line.tokens[1], line.epoch, line.next + 64));
    put(&line, 1, record, lunar_wire_put_poll(record, line.tokens[1], line.epoch, line.next - 1));
    is_fine(&line);
}

/* No more memory than a sender that keeps to the rules could use, however it tries. */
static void memory_is_bounded(void) {
    Line line;
    make(&line, true);
    uint64_t most = 2 * (UINT64_C(1) << 20) + 64 * 1424;
    for (uint32_t i = 1; i < 64 && !line.receiver.is_faulty; i++) {
        lunar_wire_data data = part_of(&line, i, 0, 1 << 20);
        put_data(&line, data);
        CHECK(line.receiver.most_memory_bytes <= most);
    }
    is_faulty(&line);
}

static void put_ack(Line *line, lunar_wire_ack ack) {
    uint8_t record[512];
    ack.epoch = ack.epoch ? ack.epoch : line->epoch;
    put(line, 0, record, lunar_wire_put_ack(record, line->tokens[0], &ack));
}

static void broken_by_a_subscriber(void) {
    Line line;
    for (int i = 0; i < 7; i++) {
        make(&line, true);
        line.is_mute = false;
        uint32_t pn = line.next;
        lunar_wire_ack ack = {.next = pn, .taken = pn, .limit = pn + 64};
        ack.next += i == 0; /* never sent */
        ack.taken += i == 1;
        ack.taken -= i == 2;
        ack.limit += i == 3 ? 1000000 : 0;
        ack.limit = i == 4 ? pn - 1 : ack.limit;
        if (i == 5) {
            ack.count = 1;
            ack.range[0] = (lunar_wire_range){pn, 1};
        }
        ack.epoch = i == 6 ? line.epoch + 1 : line.epoch; /* no fault: of another epoch */
        put_ack(&line, ack);
        CHECK(line.sender.disconnects == (i < 6));
        if (i == 5)
            memory_drop_all(&line.pair.ports[1]); /* the CLOSE is lost: the honest end hears of it all the same */
        CHECK(lunar_xdp_engine_statistics(line.pair.engines[0])->stale == (i == 6));
        if (i < 6) /* the honest end opens the stream again */
            PAIR_UNTIL(&line.pair, line.sender.connects == 2 && line.receiver.starts == 2, 1);
        pair_free(&line.pair);
    }
}

static void strangers_are_ignored(void) {
    Line line;
    uint8_t record[64];
    make(&line, true);
    uint64_t carried = line.pair.wire.carried;
    line.tokens[1]++;
    put_data(&line, whole(&line, 0, 1));
    put(&line, 1, record, lunar_wire_put_close(record, LUNAR_WIRE_CLOSE, line.tokens[1], line.origin, 0));
    line.tokens[1]--;
    CHECK(lunar_xdp_engine_statistics(line.pair.engines[1])->unknown_tokens == 2);
    /* Of an earlier life, origin or epoch. */
    lunar_wire_start start = {line.epoch + 1, line.life - 1, line.origin, 5, 0, 0, 0, 1424};
    put(&line, 1, record, lunar_wire_put_start(record, line.tokens[1], &start));
    line.epoch++;
    put_data(&line, whole(&line, 0, 1));
    line.epoch--;
    CHECK(lunar_xdp_engine_statistics(line.pair.engines[1])->stale == 2);
    CHECK(line.receiver.delivered == 0 && line.pair.wire.carried == carried);
    /* No records. */
    static const uint8_t junk[][8] = {{0}, {'L', 'X', 2, 0}, {'L', 'X', 1, 0, 1, 0, 11, 0}, {'L', 'X', 1, 1}};
    for (int i = 0; i < 4; i++)
        memory_put(&line.pair.ports[1], junk[i], i < 2 ? 4 : 8, line.pair.wire.now_ns);
    memory_put(&line.pair.ports[1], junk[1], 0, line.pair.wire.now_ns);
    pair_turn(&line.pair);
    CHECK(lunar_xdp_engine_statistics(line.pair.engines[1])->malformed == 5);
    is_fine(&line);
}

/* Of who may close a stream. */
static void stale_closes(void) {
    Line line;
    uint8_t record[64];
    make(&line, true);
    put(&line, 1, record, lunar_wire_put_close(record, LUNAR_WIRE_CLOSE, line.tokens[1], line.origin - 1, 0));
    put(&line, 0, record, lunar_wire_put_close(record, LUNAR_WIRE_LEAVE, line.tokens[0], line.life - 1, 0));
    pair_run_for(&line.pair, 10000000);
    CHECK(line.receiver.stops == 0 && line.sender.disconnects == 0);
    is_fine(&line);
}

int main(void) {
    siphash_is_siphash();
    formats();
    parts_fit();
    tables_and_timers();
    broken_by_a_publisher(true);
    broken_by_a_publisher(false);
    broken_windows();
    memory_is_bounded();
    broken_by_a_subscriber();
    strangers_are_ignored();
    stale_closes();
    printf("rules: ok\n");
    return 0;
}
