/* Random numbers for the fuzz tests, with a seed that is printed and can be given (LUNAR_SEED), and counts that can be
 * raised (LUNAR_ROUNDS). */
#ifndef LUNAR_FUZZ_H
#define LUNAR_FUZZ_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static uint64_t fuzz_number(const char *variable, uint64_t otherwise) {
    const char *text = getenv(variable);
    return text ? strtoull(text, NULL, 10) : otherwise;
}

static inline uint64_t fuzz_seed(void) {
    uint64_t seed = fuzz_number("LUNAR_SEED", (uint64_t)time(NULL));
    printf("LUNAR_SEED=%llu\n", (unsigned long long)seed);
    fflush(stdout);
    return seed;
}

static inline uint64_t fuzz_rounds(uint64_t otherwise) { return otherwise * fuzz_number("LUNAR_ROUNDS", 1); }

/* splitmix64 */
static inline uint64_t fuzz_next(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static inline uint64_t fuzz_below(uint64_t *state, uint64_t bound) { return fuzz_next(state) % bound; }

/* A value for a word that is `now`: near to it, near to a bound, or anything. */
static inline uint64_t fuzz_lie(uint64_t *state, uint64_t now) {
    switch (fuzz_below(state, 8)) {
    case 0:
        return 0;
    case 1:
        return UINT64_MAX - fuzz_below(state, 3);
    case 2:
        return UINT64_C(1) << fuzz_below(state, 64);
    case 3:
        return fuzz_next(state);
    case 4:
        return now + fuzz_below(state, 3000);
    case 5:
        return now - fuzz_below(state, 3000);
    case 6:
        return now - 1;
    default:
        return now + 1;
    }
}

#endif
