/* Drafts: most messages are small, and looking at every field twice takes as long as writing them. So they are first
 * written into memory that is at hand; if that was too little they have been measured at least. */
#include "draft.h"

int measure(Message *message, bool reserve, uint64_t *size) {
    Target target = {.reserve = reserve, .budget = UNLIMITED};
    int result = write_message(&target, message);
    *size = target.at;
    return result;
}

int draft(Message *message, bool reserve, Draft *made) {
    Target target = {
        .out = made->bytes, .size = DRAFT_BYTES, .draft = true, .reserve = reserve, .budget = UNLIMITED};
    int result = write_message(&target, message);
    made->size = target.at;
    made->complete = result == 0 && target.out;
    return result;
}

int write_at(Message *message, bool reserve, uint8_t *to, uint64_t size) {
    Target target = {.out = to, .size = size, .reserve = reserve, .budget = UNLIMITED};
    if (write_message(&target, message) < 0)
        return -1;
    if (target.at == size)
        return 0;
    PyErr_SetString(VerificationError, "the message changed while it was written");
    return -1;
}

int put(Message *message, const Draft *made, uint8_t *to, uint64_t size) {
    if (!made->complete)
        return write_at(message, false, to, size);
    memcpy(to, made->bytes, size);
    return 0;
}
