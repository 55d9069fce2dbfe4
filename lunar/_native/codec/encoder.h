/* How a Writer of the bus has a message encoded straight into its memory, without knowing the codec. */
#ifndef LUNAR_ENCODER_H
#define LUNAR_ENCODER_H

#include <Python.h>

#define LUNAR_ENCODER "lunar._native._codec.encoder"

typedef struct {
    Py_ssize_t (*measure)(void *context, PyObject *message);                      /* bytes, or -1 and an exception */
    int (*write)(void *context, PyObject *message, void *to, Py_ssize_t size);    /* 0, or -1 and an exception */
    void *context;
} lunar_encoder;

#endif
