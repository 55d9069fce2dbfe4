/* What the parts of writing share: each takes room behind what was written, and without a target only measures. */
#ifndef LUNAR_WRITE_H
#define LUNAR_WRITE_H

#include "codec.h"

int grown_too_large(void); /* raises, and returns -1 */

/* Takes `size` bytes so that what lies `skip` bytes into them is aligned; what is skipped over becomes zero. */
int claim(Target *target, uint64_t alignment, uint64_t skip, uint64_t size, uint64_t *at);

/* A vector, its length before it; of `bytes` NULL the elements are the caller's to write. */
int write_bytes(Target *target, const void *bytes, uint64_t count, uint32_t size, uint32_t alignment, uint64_t *at);
int write_string(Target *target, const Plan *plan, const FieldPlan *field, PyObject *value, uint64_t *at);
int write_numbers(Target *target, const Plan *plan, const FieldPlan *field, PyObject *value, uint64_t *at);

/* The text or numbers that lie in a view's memory, the offset to them at `from`; what is wrong with them raises as reading
 * them would. */
int write_viewed(Target *target, const Message *view, const FieldPlan *field, uint64_t from, uint64_t *at);

static inline void put_u32(Target *target, uint64_t at, uint32_t value) { memcpy(target->out + at, &value, 4); }

#endif
