/* CPython types around the protocol engine and the ports.
 *
 * Concurrency.  The protocol engine takes one thread at a time; everything here runs with the interpreter lock, so its
 * calls exclude each other but for one thing: taking in a sample may run Python (memory that has to grow, a check, a note
 * to the stream's owner), and another thread may come by meanwhile.  So while the engine works it is *busy*: who only
 * wants it to go on (a publisher, a spinning reader) leaves that to whoever is in it; who wants something else of it
 * waits without the interpreter lock until it has left.
 *
 * Whatever a stream's handler is to hear is put on a list and told after the engine was left, with `tell`.
 *
 * Fork.  A child closes its copies of the descriptors, no more.
 */
#ifndef LUNAR_XDP_GLUE_H
#define LUNAR_XDP_GLUE_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <structmember.h>
#include <time.h>

#include "../../../../lunar/_native/bus/engine_api.h"
#include "../protocol/engine.h"

#ifdef Py_LIMITED_API /* its headers take PyObject * only; the full ones cast */
#undef Py_INCREF
#define Py_INCREF(o) Py_INCREF((PyObject *)(o))
#undef Py_XINCREF
#define Py_XINCREF(o) Py_XINCREF((PyObject *)(o))
#undef Py_DECREF
#define Py_DECREF(o) Py_DECREF((PyObject *)(o))
#undef Py_XDECREF
#define Py_XDECREF(o) Py_XDECREF((PyObject *)(o))
#undef Py_TYPE
#define Py_TYPE(o) Py_TYPE((PyObject *)(o))
#undef PyObject_TypeCheck
#define PyObject_TypeCheck(o, type) PyObject_TypeCheck((PyObject *)(o), type)
#endif

typedef struct {
    PyObject_HEAD
    lunar_port *port; /* owned, by the engine once there is one; NULL once closed */
    int taken;        /* by an engine */
    bool is_xsk;
} Port;

/* Something that a handler is to hear. */
typedef struct {
    PyObject *stream; /* an Outgoing or Incoming; owned */
    int what;
    const char *reason;
    uint64_t first, second;
} Event;

enum { CONNECTED, DISCONNECTED, WRITABLE, LOSSES, STARTED, STOPPED, LOST, FAULTY };

/* What a capsule may outlive: has_input looks at it without the interpreter lock. */
typedef struct {
    lunar_engine_api api;
    struct Engine *engine; /* borrowed; NULL once that is gone */
    lunar_port *port;
    int closed;
    int looking; /* somebody looks for input, or takes it in */
} Shared;

typedef struct Outgoing Outgoing;

typedef struct Engine {
    PyObject_HEAD
    lunar_xdp_engine *protocol; /* NULL once closed */
    Port *port;
    PyObject *capsule;
    Shared *shared; /* in the capsule */
    unsigned long busy; /* the thread that works it, 0: none */
    int telling;
    Event *events;
    Py_ssize_t event_count, event_capacity;
    Outgoing *first; /* all that are open */
    int timer, epoll, watched; /* watched: of its owner in Python, or -1 */
    uint64_t look_ns;          /* when to look at the latter next, for who works without Python */
    uint64_t timer_ns; /* when the timer fires, UINT64_MAX: it does not */
    int missed;      /* somebody published while it was busy, or a stream has room again */
    unsigned life;   /* counts its closings */
} Engine;

struct Outgoing {
    PyObject_HEAD
    Engine *engine; /* owned */
    lunar_xdp_outgoing *protocol; /* NULL once closed */
    PyObject *handler, *outlet;
    Outgoing *next;
    uint64_t dropped;
    int started;
    int held, is_full; /* samples that the engine has; and it was that which left no room */
    void *pending; /* what there was no room for after all, and what it is */
    lunar_sample_view waiting;
};

typedef struct {
    PyObject_HEAD
    Engine *engine; /* owned */
    lunar_xdp_incoming *protocol; /* NULL once closed */
    PyObject *handler, *inlet; /* inlet or NULL */
    uint64_t dropped;
    unsigned life; /* of the engine, when it was opened */
    int is_closed;
    int untold, refused; /* starts that the handler has still to hear of, and whether something came meanwhile */
} Incoming;

extern PyTypeObject *Port_Type, *Engine_Type, *Outgoing_Type, *Incoming_Type;
extern PyObject *Parcel_Class;
extern const lunar_bus_api *bus;

int port_register(PyObject *module);
int engine_register(PyObject *module);
int outgoing_register(PyObject *module);
int incoming_register(PyObject *module);
int register_type(PyObject *module, PyType_Spec *spec, PyTypeObject **slot);

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* engine.c */
int engine_enter(Engine *engine);   /* 0 with the time set, or -1 with ClosedError */
void engine_leave(Engine *engine);  /* after it; hands over what was sent */
void engine_later(Engine *engine, PyObject *stream, int what, const char *reason, uint64_t first, uint64_t second);
void engine_tell(Engine *engine);   /* what is to be told; what a handler raises goes to sys.unraisablehook */
int parse_destination(PyObject *argument, lunar_destination *destination); /* an "O&" converter */

/* outgoing.c, incoming.c */
PyObject *outgoing_open(Engine *engine, const lunar_xdp_stream *stream, const lunar_destination *to, PyObject *handler);
PyObject *incoming_open(Engine *engine, const lunar_xdp_stream *stream, const uint8_t key[16], const lunar_destination *to,
                        PyObject *handler);
void outgoing_tell(Outgoing *outgoing, const Event *event);
void incoming_tell(Incoming *incoming, const Event *event);
int outgoing_pump(Outgoing *outgoing); /* sends what its outlet has, as far as there is room; the engine is entered */

#endif
