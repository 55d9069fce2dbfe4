/* One writer and one reader at once, each payload checked; run under the thread sanitizer as well.
 *
 * The payload of a sample is its sequence number, many times over, written with plain stores: a sample that could be
 * overwritten while it is read would show as two numbers in one payload, or as a data race.
 */
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "bell.h"
#include "check.h"
#include "memory.h"
#include "queue.h"

#define SLOTS LUNAR_MIN_SLOTS
#define WORDS 32

typedef struct {
    lunar_queue_header *block;
    lunar_bell_page *page;
    const char *segment;
    uint32_t capacity;
    uint64_t count;
    bool overwrite;
    int bell[2];
    uint64_t received, lost;
} Shared;

static void sleep_until_rung(Shared *s, lunar_queue_reader *r) {
    char byte;
    lunar_bell_arm(&s->page->bell[0]);
    if (lunar_queue_locate(r) == 0)
        CHECK(recv(s->bell[1], &byte, 1, 0) == 1);
    lunar_bell_disarm(&s->page->bell[0]);
    while (recv(s->bell[1], &byte, 1, MSG_DONTWAIT) > 0)
        ;
}

static void *read_all(void *argument) {
    Shared *s = argument;
    lunar_queue_reader r;
    CHECK(lunar_queue_reader_open(&r, s->block, lunar_queue_bytes(s->capacity, SLOTS), s->capacity, SLOTS,
                                  s->overwrite) == 0);
    for (uint64_t last = 0; last < s->count;) {
        lunar_entry entry = {0};
        int found = lunar_queue_peek(&r, &entry);
        CHECK(found >= 0);
        if (!found) {
            sleep_until_rung(s, &r);
            continue;
        }
        if (!lunar_queue_take(&r))
            continue;
        lunar_queue_show_taken(&r);
        CHECK(entry.sequence > last);
        s->lost += entry.sequence - last - 1;
        last = entry.sequence;
        const uint64_t *payload = (const uint64_t *)(s->segment + LUNAR_WHERE_OFFSET(entry.where));
        for (int i = 0; i < WORDS; i++)
            CHECK(payload[i] == entry.sequence);
        lunar_queue_return(&r, entry.slot);
        s->received++;
    }
    return NULL;
}

static void write_one(Shared *s, lunar_queue_writer *w, lunar_pool *pool, uint64_t sequence, uint64_t *rung) {
    while (lunar_queue_full(w)) {
        CHECK(lunar_queue_refresh(w) == 0);
        if (s->overwrite && lunar_queue_full(w))
            CHECK(lunar_queue_steal(w, pool) >= 0);
    }
    CHECK(lunar_queue_collect(w, pool, UINT32_MAX) >= 0);
    while (!w->free_count)
        CHECK(lunar_queue_collect(w, pool, UINT32_MAX) >= 0);
    lunar_chunk *chunk = lunar_pool_allocate(pool, 2);
    CHECK(chunk);
    uint64_t *payload = chunk->address;
    for (int i = 0; i < WORDS; i++)
        payload[i] = sequence;
    lunar_queue_push(w, chunk, sequence, sequence, WORDS * sizeof *payload);
    lunar_queue_show(w);
    lunar_pool_unreference(pool, chunk);
    lunar_full_fence();
    CHECK(lunar_bell_ring(s->page, 0, rung, s->bell[0]) >= 0);
}

static void run(uint32_t depth, uint32_t capacity, bool overwrite, uint64_t count) {
    size_t size_bytes = (2 * SLOTS) * 256;
    void *memory = NULL;
    int fd = lunar_memory_create("test", size_bytes);
    CHECK(fd >= 0);
    CHECK(lunar_memory_map(fd, size_bytes, 1, 0, &memory) == 0);
    close(fd);
    lunar_pool pool = {0};
    CHECK(lunar_pool_add_segment(&pool, memory, size_bytes, 2) == 0);
    Shared s = {.segment = memory, .capacity = capacity, .count = count, .overwrite = overwrite};
    s.block = calloc(1, lunar_queue_bytes(capacity, SLOTS));
    s.page = calloc(1, sizeof *s.page);
    uint64_t *rung = calloc(LUNAR_BELLS, sizeof *rung);
    CHECK(s.block && s.page && rung);
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s.bell) == 0);
    lunar_queue_writer w;
    CHECK(lunar_queue_writer_open(&w, s.block, capacity, SLOTS, depth) == 0);
    pthread_t reader;
    CHECK(pthread_create(&reader, NULL, read_all, &s) == 0);
    for (uint64_t sequence = 1; sequence <= count; sequence++)
        write_one(&s, &w, &pool, sequence, rung);
    CHECK(pthread_join(reader, NULL) == 0);
    CHECK(s.received + s.lost == count);
    CHECK(s.lost == w.lost_overwritten);
    CHECK(overwrite || s.lost == 0);
    lunar_queue_writer_close(&w, &pool);
    lunar_pool_close(&pool);
    close(s.bell[0]);
    close(s.bell[1]);
    free(rung);
    free(s.page);
    free(s.block);
    printf("depth %u of %u, %s: %llu received, %llu lost\n", depth, capacity, overwrite ? "overwrite" : "wait",
           (unsigned long long)s.received, (unsigned long long)s.lost);
}

int main(void) {
    run(1, 1, true, 100000);
    run(3, 4, true, 200000);
    run(64, 64, true, 200000);
    run(1, 1, false, 20000);
    run(10, 16, false, 200000);
    run(1024, 1024, false, 300000);
    return 0;
}
