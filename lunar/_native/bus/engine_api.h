/* What the bus and an engine written in C see of each other, without Python in between.
 *
 * Each side hands the other a capsule.  The bus's (LUNAR_BUS_CAPSULE, an attribute of lunar._native._bus) takes samples off
 * an outlet and lays them into an inlet.  The engine's (LUNAR_ENGINE_CAPSULE, given to its Pump) says whether it has
 * something to do, and does it, so that whoever waits looks at shared memory and at a network card in one loop.
 *
 * All run with the interpreter lock, but for `has_input`, and may run Python where it says so: whoever calls must be
 * able to bear that another thread calls it meanwhile.
 */
#ifndef LUNAR_ENGINE_API_H
#define LUNAR_ENGINE_API_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LUNAR_ENGINE_API_VERSION 1u
#define LUNAR_BUS_CAPSULE "lunar._native._bus.engine_api"
#define LUNAR_ENGINE_CAPSULE "lunar.engine"

/* A sample on its way between hosts, as `lunar.abc.Parcel`. */
typedef struct {
    const void *bytes;
    size_t size_bytes;
    uint64_t sequence, dropped;
    int64_t source_time_ns; /* wall clock */
} lunar_sample_view;

typedef struct {
    uint32_t version;
    /* The next sample, and what keeps its bytes: a new reference.  1; 0 there is none; -1 exception. */
    int (*take)(PyObject *outlet, lunar_sample_view *sample, PyObject **keeps);
    /* Copies a sample.  1 taken; 0 no room now; -1 exception.  May run Python. */
    int (*deliver)(PyObject *inlet, const lunar_sample_view *sample);
    /* Where a sample of this size can be written, and what is handed on or let go of afterwards; NULL: no memory now, or
     * an exception if `failed` is set.  May run Python. */
    void *(*begin)(PyObject *inlet, size_t size_bytes, void **memory, bool *failed);
    /* Hands it on, with all but `bytes` said of it.  As `deliver`; unless taken, the memory stays the caller's. */
    int (*commit)(PyObject *inlet, void *memory, const lunar_sample_view *sample);
    void (*abandon)(void *memory);
} lunar_bus_api;

typedef struct {
    uint32_t version;
    void *context; /* lives as long as the capsule */
    /* Whether `work` would find something to take in: a look at memory.  Any thread, without the interpreter lock. */
    bool (*has_input)(void *context);
    /* When it wants to work though nothing has come, CLOCK_MONOTONIC, UINT64_MAX never; its descriptor is readable then. */
    uint64_t (*due_ns)(void *context);
    /* As `lunar.abc.Engine.work`, in one turn.  0; -1 with an exception; 1 if it cannot go on, which its `work` for Python
     * raises.  May run Python. */
    int (*work)(void *context);
    /* Before a sleep on its descriptor, which else need not tell: whether it wakes for what comes from now on, and nothing
     * is there yet; if not, the descriptor is readable.  Where the engine is served by Python, that is done after each
     * turn. */
    bool (*may_sleep)(void *context);
} lunar_engine_api;

#endif
