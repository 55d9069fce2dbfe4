/* Bells: no wake-up is missed, none is sent twice, and no peer's descriptor can hold the ringer up. */
#include "bell.h"

#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "fuzz.h"

typedef struct {
    lunar_bell_page *page;
    int sockets[2];       /* rung here, heard there */
    uint64_t submitted;   /* what the waiter waits for */
    uint64_t seen, count;
    uint64_t rings, sleeps;
} Pair;

static void set_up(Pair *pair, uint64_t count) {
    memset(pair, 0, sizeof *pair);
    CHECK((pair->page = calloc(1, sizeof *pair->page)));
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, pair->sockets) == 0);
    pair->count = count;
}

static void tear_down(Pair *pair) {
    close(pair->sockets[0]);
    close(pair->sockets[1]);
    free(pair->page);
}

static void empty(int fd) {
    char byte;
    while (recv(fd, &byte, 1, MSG_DONTWAIT) > 0)
        ;
}

static void pause_for(uint64_t steps) {
    for (; steps; steps--)
        __asm__ __volatile__("" ::: "memory");
}

/* Sleeps until something was submitted.  A wake-up that never comes ends the test. */
static void *wait_for_all(void *argument) {
    Pair *pair = argument;
    struct pollfd ear = {.fd = pair->sockets[1], .events = POLLIN};
    uint64_t state = 1;
    while (pair->seen < pair->count) {
        uint64_t submitted = __atomic_load_n(&pair->submitted, __ATOMIC_ACQUIRE);
        if (submitted != pair->seen) {
            __atomic_store_n(&pair->seen, submitted, __ATOMIC_RELEASE);
            continue;
        }
        pause_for(fuzz_below(&state, 1000));
        lunar_bell_arm(&pair->page->bell[3]);
        CHECK(lunar_bell_is_armed(&pair->page->bell[3]));
        if (__atomic_load_n(&pair->submitted, __ATOMIC_ACQUIRE) == pair->seen) {
            CHECK(poll(&ear, 1, 10000) == 1);
            pair->sleeps++;
        }
        lunar_bell_disarm(&pair->page->bell[3]);
        CHECK(!lunar_bell_is_armed(&pair->page->bell[3]));
        empty(pair->sockets[1]);
    }
    return NULL;
}

static void no_wake_up_is_missed(void) {
    Pair pair;
    set_up(&pair, fuzz_rounds(20000));
    uint64_t *rung = calloc(LUNAR_BELLS, sizeof *rung), state = fuzz_seed();
    pthread_t waiter;
    CHECK(rung && pthread_create(&waiter, NULL, wait_for_all, &pair) == 0);
    for (uint64_t i = 1; i <= pair.count; i++) {
        __atomic_store_n(&pair.submitted, i, __ATOMIC_RELEASE);
        lunar_full_fence();
        int rang = lunar_bell_ring(pair.page, 3, rung, pair.sockets[0]);
        CHECK(rang >= 0);
        pair.rings += (uint64_t)rang;
        /* In step, or the next submission would make up for a wake-up that was missed; and at any moment of its way to
         * sleep. */
        while (__atomic_load_n(&pair.seen, __ATOMIC_ACQUIRE) != i)
            lunar_cpu_relax();
        pause_for(fuzz_below(&state, 1000));
    }
    CHECK(pthread_join(waiter, NULL) == 0);
    CHECK(pair.seen == pair.count && pair.sleeps <= pair.rings && pair.rings <= pair.count);
    printf("%llu submissions, %llu rings, %llu sleeps\n", (unsigned long long)pair.count,
           (unsigned long long)pair.rings, (unsigned long long)pair.sleeps);
    free(rung);
    tear_down(&pair);
}

static void once_for_each_arming(void) {
    Pair pair;
    set_up(&pair, 0);
    uint64_t *rung = calloc(LUNAR_BELLS, sizeof *rung);
    CHECK(rung);
    for (uint32_t index = 0; index < LUNAR_BELLS; index += LUNAR_BELLS - 1) {
        lunar_bell *bell = &pair.page->bell[index];
        CHECK(lunar_bell_ring(pair.page, index, rung, pair.sockets[0]) == 0);
        for (int i = 0; i < 3; i++) {
            lunar_bell_arm(bell);
            uint64_t armed = bell->state;
            lunar_bell_arm(bell); /* again: still the same sleep */
            CHECK(bell->state == armed);
            CHECK(lunar_bell_ring(pair.page, index, rung, pair.sockets[0]) == 1);
            CHECK(lunar_bell_ring(pair.page, index, rung, pair.sockets[0]) == 0);
            lunar_bell_disarm(bell);
            CHECK(lunar_bell_ring(pair.page, index, rung, pair.sockets[0]) == 0);
            uint64_t awake = bell->state;
            lunar_bell_disarm(bell);
            CHECK(bell->state == awake);
        }
    }
    char byte;
    for (int i = 0; i < 6; i++)
        CHECK(recv(pair.sockets[1], &byte, 1, MSG_DONTWAIT) == 1);
    CHECK(recv(pair.sockets[1], &byte, 1, MSG_DONTWAIT) < 0);
    free(rung);
    tear_down(&pair);
}

static void a_bell_that_is_none(void) {
    Pair pair;
    set_up(&pair, 0);
    uint64_t *rung = calloc(LUNAR_BELLS, sizeof *rung);
    CHECK(rung);
    CHECK(lunar_bell_ring(pair.page, LUNAR_BELLS, rung, pair.sockets[0]) == -EPROTO);
    CHECK(lunar_bell_ring(pair.page, UINT32_MAX, rung, pair.sockets[0]) == -EPROTO);
    int pipes[2];
    CHECK(pipe(pipes) == 0);
    pair.page->bell[0].state = 1;
    CHECK(lunar_bell_ring(pair.page, 0, rung, pipes[1]) == -ENOTSOCK);
    pair.page->bell[0].state = 3;
    CHECK(lunar_bell_ring(pair.page, 0, rung, -1) == -EBADF);
    close(pipes[0]);
    close(pipes[1]);
    /* Whatever the words say: odd is armed, and a value that was rung for is not rung for again. */
    uint64_t state = 7;
    for (int i = 0; i < 1000; i++) {
        uint64_t value = fuzz_lie(&state, pair.page->bell[0].state);
        pair.page->bell[0].state = value;
        int rang = lunar_bell_ring(pair.page, 0, rung, pair.sockets[0]);
        CHECK(rang == 0 || (rang == 1 && value & 1));
        empty(pair.sockets[1]);
    }
    free(rung);
    tear_down(&pair);
}

/* The sockets block, and their owner never reads. */
static void a_full_socket_does_not_block(int kind) {
    Pair pair;
    set_up(&pair, 0);
    close(pair.sockets[0]);
    close(pair.sockets[1]);
    CHECK(socketpair(AF_UNIX, kind, 0, pair.sockets) == 0);
    uint64_t *rung = calloc(LUNAR_BELLS, sizeof *rung);
    CHECK(rung);
    int rang = 1, rings = 0;
    for (; rang == 1; rings++) {
        pair.page->bell[0].state = 2 * (uint64_t)rings + 1;
        rang = lunar_bell_ring(pair.page, 0, rung, pair.sockets[0]);
        CHECK(rang >= 0);
    }
    CHECK(rings > 1);
    close(pair.sockets[1]);
    pair.page->bell[0].state += 2;
    rang = lunar_bell_ring(pair.page, 0, rung, pair.sockets[0]);
    CHECK(rang == -EPIPE || rang == -ECONNREFUSED || rang == -ECONNRESET || rang == -ENOTCONN);
    pair.sockets[1] = dup(pair.sockets[0]);
    free(rung);
    tear_down(&pair);
}

int main(void) {
    no_wake_up_is_missed();
    once_for_each_arming();
    a_bell_that_is_none();
    a_full_socket_does_not_block(SOCK_SEQPACKET);
    a_full_socket_does_not_block(SOCK_STREAM);
    a_full_socket_does_not_block(SOCK_DGRAM);
    printf("bells: ok\n");
    return 0;
}
