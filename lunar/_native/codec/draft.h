/* Small messages are written once, into memory at hand, instead of being measured first. */
#ifndef LUNAR_DRAFT_H
#define LUNAR_DRAFT_H

#include "codec.h"

#define DRAFT_BYTES 1024

typedef struct {
    uint8_t bytes[DRAFT_BYTES]; /* never cleared: zeroes would cost more than most messages */
    uint64_t size;
    bool complete; /* else it has only been measured */
} Draft;

/* Each returns 0, or -1 and an exception. */
int measure(Message *message, bool reserve, uint64_t *size);
int draft(Message *message, bool reserve, Draft *made);
int write_at(Message *message, bool reserve, uint8_t *to, uint64_t size);
int put(Message *message, const Draft *made, uint8_t *to, uint64_t size); /* what was drafted, or else the message itself */

#endif
