#include "token.h"

#include <string.h>

#include "wire.h"

typedef struct {
    uint64_t v[4];
} state;

static uint64_t rotated(uint64_t x, int by) { return (x << by) | (x >> (64 - by)); }

static void rounds(state *s, int count) {
    uint64_t *v = s->v;
    while (count--) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotated(v[1], 13) ^ v[0];
        v[3] = rotated(v[3], 16) ^ v[2];
        v[0] = rotated(v[0], 32) + v[3];
        v[2] += v[1];
        v[3] = rotated(v[3], 21) ^ v[0];
        v[1] = rotated(v[1], 17) ^ v[2];
        v[2] = rotated(v[2], 32);
    }
}

static void absorb(state *s, uint64_t word) {
    s->v[3] ^= word;
    rounds(s, 2);
    s->v[0] ^= word;
}

uint64_t lunar_token_siphash(const uint8_t key[16], const uint8_t *bytes, size_t size_bytes) {
    uint64_t k0 = lunar_wire_get64(key), k1 = lunar_wire_get64(key + 8);
    state s = {{k0 ^ UINT64_C(0x736f6d6570736575), k1 ^ UINT64_C(0x646f72616e646f6d),
                k0 ^ UINT64_C(0x6c7967656e657261), k1 ^ UINT64_C(0x7465646279746573)}};
    size_t at = 0;
    for (; size_bytes - at >= 8; at += 8)
        absorb(&s, lunar_wire_get64(bytes + at));
    uint64_t last = (uint64_t)size_bytes << 56;
    for (int shift = 0; at < size_bytes; at++, shift += 8)
        last |= (uint64_t)bytes[at] << shift;
    absorb(&s, last);
    s.v[2] ^= 0xff;
    rounds(&s, 4);
    return s.v[0] ^ s.v[1] ^ s.v[2] ^ s.v[3];
}

uint64_t lunar_token_derive(const uint8_t key[16], const uint8_t publisher[16], const uint8_t subscriber[16],
                            bool reliable, int direction) {
    uint8_t text[34];
    memcpy(text, publisher, 16);
    memcpy(text + 16, subscriber, 16);
    text[32] = reliable;
    text[33] = (uint8_t)direction;
    return lunar_token_siphash(key, text, sizeof text);
}
