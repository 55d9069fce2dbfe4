/* How a Writer of the bus has a message encoded straight into its memory, without knowing the codec. */
#ifndef LUNAR_ENCODER_H
#define LUNAR_ENCODER_H

#include <Python.h>

#define LUNAR_ENCODER "lunar._native._codec.encoder"

typedef struct {
    Py_ssize_t (*measure)(void *context, PyObject *message);                      /* bytes, or -1 and an exception */
    int (*write)(void *context, PyObject *message, void *to, Py_ssize_t size);    /* 0, or -1 and an exception */
    /* What a loan begins with, of fields given by name as to a vectorcall, and the bytes it will need. */
    PyObject *(*reserve)(void *context, PyObject *const *values, PyObject *names, Py_ssize_t *size);
    /* Writes it there, and returns the message to be filled. Takes `memory` over: the message keeps it, and whoever is the
     * last to look releases it, also after an exception. Until then `freeze` may be called with `lent`. */
    PyObject *(*lend)(void *context, PyObject *reserved, Py_buffer *memory, void **lent);
    void (*freeze)(void *lent); /* nobody writes to the message any more */
    void *context;
} lunar_encoder;

#endif
