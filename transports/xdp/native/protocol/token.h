/* Tokens: the secrets by which the records of a stream are known.
 *
 * Both ends derive them by SipHash-2-4 (Aumasson and Bernstein, 2012) from the random key of the publisher's engine,
 * which only who takes part in discovery knows.  Whoever cannot see the datagrams cannot guess one. / */
#ifndef LUNAR_XDP_TOKEN_H
#define LUNAR_XDP_TOKEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { LUNAR_TOKEN_TO_SUBSCRIBER = 0, LUNAR_TOKEN_TO_PUBLISHER = 1 };

uint64_t lunar_token_siphash(const uint8_t key[16], const uint8_t *bytes, size_t size_bytes);
uint64_t lunar_token_derive(const uint8_t key[16], const uint8_t publisher[16], const uint8_t subscriber[16],
                            bool reliable, int direction);

#endif
