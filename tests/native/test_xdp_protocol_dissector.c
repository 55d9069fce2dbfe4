/* tshark with transports/xdp/wireshark/lunar.lua finds in a capture of real exchanges what was really in them: each
 * record, and the numbers of some of them.  Runs where the checkout is the current folder, as `make c-tests` does. */
#include <unistd.h>

#include "xdp_pair.h"

#define DISSECTOR "transports/xdp/wireshark/lunar.lua"

typedef struct {
    FILE *file;
    uint64_t records, datagrams, kinds[256], sequences, missing;
} Capture;

static void put_16(uint8_t *at, uint32_t value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* As an IPv4 packet; the checksums are left out, which is not looked at. */
static void write_packet(Capture *capture, uint64_t now_ns, int from, const uint8_t *bytes, uint32_t size_bytes) {
    uint8_t ip[28] = {0x45, 0, 0, 0, 0, 0, 0, 0, 64, 17};
    uint32_t whole_bytes = size_bytes + 28;
    uint32_t seconds = (uint32_t)(now_ns / 1000000000), us = (uint32_t)(now_ns / 1000 % 1000000);
    uint32_t record[4] = {seconds, us, whole_bytes, whole_bytes};
    put_16(ip + 2, whole_bytes);
    memcpy(ip + 12, (uint8_t[]){192, 0, 2, (uint8_t)(1 + from), 192, 0, 2, (uint8_t)(2 - from)}, 8);
    put_16(ip + 20, 4000);
    put_16(ip + 22, 4000);
    put_16(ip + 24, size_bytes + 8);
    CHECK(fwrite(record, sizeof record, 1, capture->file) == 1 && fwrite(ip, sizeof ip, 1, capture->file) == 1);
    CHECK(fwrite(bytes, size_bytes, 1, capture->file) == 1);
    capture->datagrams++;
}

static bool tap(Wire *wire, int from, uint8_t *bytes, uint32_t size_bytes) {
    Capture *capture = wire->tap_argument;
    lunar_wire_cursor cursor;
    lunar_wire_record record;
    lunar_wire_data data;
    lunar_wire_ack ack;
    write_packet(capture, wire->now_ns, from, bytes, size_bytes);
    CHECK(lunar_wire_begin(&cursor, bytes, size_bytes));
    while (lunar_wire_next(&cursor, &record) > 0) {
        capture->records++;
        capture->kinds[record.kind]++;
        if (record.kind == LUNAR_WIRE_DATA && lunar_wire_get_data(&record, &data))
            capture->sequences += data.sequence;
        if (record.kind == LUNAR_WIRE_ACK && lunar_wire_get_ack(&record, &ack))
            for (uint32_t i = 0; i < ack.count; i++)
                capture->missing += ack.range[i].count;
    }
    return true;
}

static uint32_t sizes(uint64_t sequence) { return sequence % 4 ? 64 : 5000; }

/* Every kind of record there is. */
static void make_traffic(Capture *capture) {
    Pair pair;
    Sender senders[2] = {{.size_of = sizes, .count = 200}, {.size_of = sizes, .count = 200}};
    Receiver receivers[2] = {{.size_of = sizes}, {.size_of = sizes}};
    pair_make(&pair, 11, NULL, 1500);
    pair.wire.tap = tap;
    pair.wire.tap_argument = capture;
    for (uint32_t i = 0; i < 2; i++) {
        pair_open_receiver(&pair, &receivers[i], i, i == 0);
        pair_open_sender(&pair, &senders[i], i, i == 0);
    }
    PAIR_UNTIL(&pair, receivers[0].running && receivers[1].running, 1);
    pair.wire.lose_ppm = 50000;
    lunar_xdp_engine_set_time(pair.engines[0], pair.wire.now_ns);
    for (int i = 0; i < 2; i++)
        pair_send_all(&senders[i]);
    pair_run_for(&pair, 2000000000);
    pair.wire.lose_ppm = 0;
    pair.wire.cut = true; /* for a POLL */
    senders[0].count++;
    lunar_xdp_engine_set_time(pair.engines[0], pair.wire.now_ns);
    pair_send_all(&senders[0]);
    pair_run_for(&pair, 50000000);
    pair.wire.cut = false;
    pair_run_for(&pair, 200000000);
    lunar_xdp_incoming_close(receivers[0].end);
    lunar_xdp_outgoing_close(senders[1].end);
    pair_run_for(&pair, 100000000);
    pair_free(&pair);
}

/* The sum of all numbers that tshark prints for a field, and how many there are. */
static uint64_t ask(const char *tshark, const char *path, const char *name, uint64_t *count) {
    char command[512], line[65536];
    uint64_t sum = 0;
    *count = 0;
    snprintf(command, sizeof command, "%s -X lua_script:" DISSECTOR " -r %s -T fields -e %s 2>/dev/null", tshark, path,
             name);
    FILE *pipe = popen(command, "r");
    CHECK(pipe);
    while (fgets(line, sizeof line, pipe))
        for (char *save, *word = strtok_r(line, ",\n", &save); word; word = strtok_r(NULL, ",\n", &save)) {
            sum += strtoull(word, NULL, 0);
            ++*count;
        }
    CHECK(pclose(pipe) == 0);
    return sum;
}

int main(void) {
    const char *tshark = getenv("LUNAR_TSHARK") ? getenv("LUNAR_TSHARK") : "tshark";
    char command[256], path[] = "/tmp/lunar-capture-XXXXXX";
    snprintf(command, sizeof command, "%s --version >/dev/null 2>&1", tshark);
    if (system(command)) {
        printf("dissector: skipped, there is no tshark\n");
        return 0;
    }
    int fd = mkstemp(path);
    Capture capture = {.file = fdopen(fd, "wb")};
    static const uint32_t header[6] = {0xa1b2c3d4, 0x00040002, 0, 0, 65535, 228 /* IPv4 */};
    CHECK(fd >= 0 && capture.file && fwrite(header, sizeof header, 1, capture.file) == 1);
    make_traffic(&capture);
    uint8_t junk[] = {'L', 'X', 1, 0, 1, 0, 200, 0, 1, 2, 3, 4, 5, 6, 7, 8};
    write_packet(&capture, 0, 0, junk, sizeof junk);
    CHECK(fclose(capture.file) == 0);
    static const uint8_t kinds[] = {1, 2, 3, 4, 5, 6, 7, 0x81, 0x82, 0x85, 0x86};
    uint64_t count, kind_sum = 0;
    for (size_t i = 0; i < sizeof kinds; i++) {
        CHECK(capture.kinds[kinds[i]]); /* all of them are in the capture */
        kind_sum += kinds[i] * capture.kinds[kinds[i]];
    }
    CHECK(ask(tshark, path, "lunar.kind", &count) == kind_sum && count == capture.records);
    CHECK(ask(tshark, path, "lunar.sequence", &count) == capture.sequences && count == capture.kinds[1]);
    CHECK(ask(tshark, path, "lunar.missing_count", &count) == capture.missing && count);
    CHECK(ask(tshark, path, "lunar.version", &count) == count && count == capture.datagrams);
    ask(tshark, path, "lunar.broken", &count);
    CHECK(count == 1);
    ask(tshark, path, "lunar.odd", &count);
    CHECK(count == 0);
    unlink(path);
    printf("dissector: ok, %llu records\n", (unsigned long long)capture.records);
    return 0;
}
