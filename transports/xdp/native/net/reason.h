/* Why something cannot be had, as a sentence for people: what an errno alone does not tell. */
#ifndef LUNAR_XDP_REASON_H
#define LUNAR_XDP_REASON_H

#include <stdarg.h>
#include <stdio.h>

typedef struct {
    char text[512];
} lunar_reason;

/* Keeps the sentence (no reason may be asked for: NULL) and gives `error` back, so that one can return it. */
__attribute__((format(printf, 3, 4))) static inline int lunar_reason_give(lunar_reason *reason, int error,
                                                                          const char *format, ...) {
    if (reason) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(reason->text, sizeof reason->text, format, arguments);
        va_end(arguments);
    }
    return error;
}

#endif
