/* Outgoing: the sending end of a stream, as `lunar.abc.Outgoing`.
 *
 * What it has taken it holds until the engine lets go of it: a parcel's payload, or a sample from the outlet that feeds
 * it.  Fed by an outlet, calling it sends what is there as far as there is room; what there is no room for stays in
 * the queue, where the publisher's own rules apply to it.
 */
#include <errno.h>

#include "glue.h"

PyTypeObject *Outgoing_Type;

#define MOST_HELD 480

typedef struct {
    PyObject *payload; /* owned: a sample, or what a parcel carries */
    Py_buffer view;    /* of the latter; obj is NULL for a sample */
    uint64_t dropped;
} Hold;

/* What the engine says ------------------------------------------------------------------------------------- */

static void connected(void *context) {
    Outgoing *self = context;
    engine_later(self->engine, context, CONNECTED, NULL, 0, 0);
}

static void disconnected(void *context, const char *reason) {
    Outgoing *self = context;
    self->started = 0;
    engine_later(self->engine, context, DISCONNECTED, reason, 0, 0);
}

static void writable(void *context) {
    Outgoing *self = context;
    if (self->outlet)
        self->engine->missed = 1;
    else
        engine_later(self->engine, context, WRITABLE, NULL, 0, 0);
}

static void losses(void *context, uint64_t total) {
    Outgoing *self = context;
    engine_later(self->engine, context, LOSSES, NULL, total, 0);
}

static void let_go(void *pointer) {
    Hold *hold = pointer;
    if (hold->view.obj)
        PyBuffer_Release(&hold->view);
    Py_DECREF(hold->payload);
    PyMem_Free(hold);
}

/* The engine needs it no longer. */
static void release(void *context, void *pointer) {
    Outgoing *self = context;
    let_go(pointer);
    self->held--;
    if (self->is_full && self->protocol) {
        self->is_full = 0;
        writable(self);
    }
}

static const lunar_xdp_outgoing_host host = {
    .connected = connected, .disconnected = disconnected, .writable = writable, .losses = losses, .release = release};

void outgoing_tell(Outgoing *self, const Event *event) {
    PyObject *result = NULL;
    if (!self->protocol)
        return; /* closed meanwhile */
    switch (event->what) {
    case CONNECTED:
        result = PyObject_CallMethod(self->handler, "connected", NULL);
        break;
    case DISCONNECTED:
        result = PyObject_CallMethod(self->handler, "disconnected", "s", event->reason);
        break;
    case WRITABLE:
        result = PyObject_CallMethod(self->handler, "writable", NULL);
        break;
    default:
        result = PyObject_CallMethod(self->handler, "losses", "K", (unsigned long long)event->first);
    }
    Py_XDECREF(result);
}

/* Opening, closing ----------------------------------------------------------------------------------------- */

PyObject *outgoing_open(Engine *engine, const lunar_xdp_stream *stream, const lunar_destination *to, PyObject *handler) {
    if (engine_enter(engine) < 0)
        return NULL;
    Outgoing *self = PyObject_GC_New(Outgoing, Outgoing_Type);
    if (!self)
        return NULL;
    memset((char *)self + sizeof(PyObject), 0, sizeof *self - sizeof(PyObject));
    Py_INCREF(engine);
    Py_INCREF(handler);
    self->engine = engine;
    self->handler = handler;
    PyObject_GC_Track(self);
    self->protocol = lunar_xdp_engine_open_outgoing(engine->protocol, stream, to, &host, self);
    if (!self->protocol) {
        PyErr_SetFromErrno(PyExc_OSError);
        Py_DECREF(self);
        return NULL;
    }
    self->next = engine->first;
    engine->first = self;
    engine_leave(engine);
    return (PyObject *)self;
}

static void drop_pending(Outgoing *self);

static void forget(Outgoing *self) {
    for (Outgoing **place = &self->engine->first; *place; place = &(*place)->next)
        if (*place == self) {
            *place = self->next;
            break;
        }
    self->protocol = NULL;
    drop_pending(self); /* best effort, if there is one */
}

static void shut(Outgoing *self) {
    lunar_xdp_outgoing *protocol = self->protocol;
    if (!protocol)
        return;
    forget(self);
    lunar_xdp_outgoing_close(protocol);
    engine_leave(self->engine);
}

static PyObject *outgoing_close(Outgoing *self, PyObject *Py_UNUSED(ignored)) {
    if (self->protocol) {
        if (engine_enter(self->engine) < 0)
            return NULL;
        shut(self);
    }
    Py_RETURN_NONE;
}

static int read_parcel(PyObject *parcel, lunar_sample_view *sample) {
    static const char *const names[] = {"sequence_number", "source_time_ns", "dropped"};
    unsigned long long numbers[3];
    for (int i = 0; i < 3; i++) {
        PyObject *number = PyObject_GetAttrString(parcel, names[i]);
        numbers[i] = number ? PyLong_AsUnsignedLongLongMask(number) : 0;
        Py_XDECREF(number);
        if (PyErr_Occurred())
            return -1;
    }
    sample->sequence = numbers[0];
    sample->source_time_ns = (int64_t)numbers[1];
    sample->dropped = numbers[2];
    return 0;
}

static PyObject *make_parcel(const lunar_xdp_message *message) {
    Hold *hold = message->hold;
    return PyObject_CallFunction(Parcel_Class, "KLKO", (unsigned long long)message->sequence,
                                 (long long)message->source_time_ns, (unsigned long long)hold->dropped, hold->payload);
}

static void give_back(void *list, const lunar_xdp_message *message) {
    PyObject *parcel = make_parcel(message);
    if (!parcel || PyList_Append(list, parcel) < 0)
        PyErr_WriteUnraisable(list);
    Py_XDECREF(parcel);
    let_go(message->hold);
}

static PyObject *outgoing_recall(Outgoing *self, PyObject *Py_UNUSED(ignored)) {
    PyObject *parcels = PyList_New(0);
    lunar_xdp_outgoing *protocol = self->protocol;
    if (!parcels || !protocol)
        return parcels;
    if (engine_enter(self->engine) < 0) {
        Py_DECREF(parcels);
        return NULL;
    }
    if (self->protocol) {
        forget(self);
        lunar_xdp_outgoing_recall(protocol, give_back, parcels);
        engine_leave(self->engine);
    }
    return parcels;
}

/* Sending -------------------------------------------------------------------------------------------------- */

static PyObject *outgoing_start(Outgoing *self, PyObject *args) {
    unsigned long long last_sequence, newest_sequence;
    if (!PyArg_ParseTuple(args, "KK", &last_sequence, &newest_sequence) || engine_enter(self->engine) < 0)
        return NULL;
    if (self->protocol) {
        self->started = 1;
        lunar_xdp_outgoing_start(self->protocol, last_sequence, newest_sequence, (uint32_t)self->dropped);
        engine_leave(self->engine);
    }
    Py_RETURN_NONE;
}

/* What is on its way keeps a slot of the publisher's queue taken, which has at least 512 beside its depth (queue.h): without
 * one the publisher would drop samples although nothing was too slow. */
static bool has_room(Outgoing *self) {
    self->is_full = self->held >= MOST_HELD;
    return !self->is_full && lunar_xdp_outgoing_has_room(self->protocol);
}

/* Takes over the hold if it is taken: 1, else 0. */
static int send_held(Outgoing *self, const lunar_sample_view *sample, Hold *hold) {
    hold->dropped = sample->dropped;
    lunar_xdp_message message = {.bytes = sample->bytes,
                                 .size_bytes = (uint32_t)sample->size_bytes,
                                 .dropped = (uint32_t)sample->dropped,
                                 .sequence = sample->sequence,
                                 .source_time_ns = (uint64_t)sample->source_time_ns,
                                 .hold = hold};
    self->held++; /* best effort is let go of at once */
    int taken = sample->size_bytes > UINT32_MAX ? -EMSGSIZE : lunar_xdp_outgoing_send(self->protocol, &message);
    if (taken > 0)
        self->dropped = sample->dropped;
    else
        self->held--;
    if (taken != -EMSGSIZE)
        return taken > 0;
    /* Nobody there can ever take it: it is dropped here, and both sides count it so. */
    self->dropped = sample->dropped + 1;
    let_go(hold);
    return 1;
}

static PyObject *outgoing_send(Outgoing *self, PyObject *parcel) {
    if (engine_enter(self->engine) < 0)
        return NULL;
    if (!self->protocol || !self->started || !has_room(self))
        Py_RETURN_FALSE;
    lunar_sample_view sample;
    Hold *hold = PyMem_Calloc(1, sizeof *hold);
    if (!hold)
        return PyErr_NoMemory();
    if (!(hold->payload = PyObject_GetAttrString(parcel, "payload")) ||
        read_parcel(parcel, &sample) < 0 || PyObject_GetBuffer(hold->payload, &hold->view, PyBUF_SIMPLE) < 0) {
        Py_XDECREF(hold->payload);
        PyMem_Free(hold);
        return NULL;
    }
    sample.bytes = hold->view.buf;
    sample.size_bytes = (size_t)hold->view.len;
    int taken = send_held(self, &sample, hold);
    if (!taken)
        let_go(hold);
    engine_leave(self->engine);
    return PyBool_FromLong(taken);
}

static void drop_pending(Outgoing *self) {
    if (self->pending)
        let_go(self->pending);
    self->pending = NULL;
}

/* The next sample, into `waiting`: 1, 0 there is none, -1 exception. */
static int take(Outgoing *self) {
    PyObject *keeps;
    int taken = bus->take(self->outlet, &self->waiting, &keeps);
    if (taken <= 0)
        return taken;
    Hold *hold = PyMem_Calloc(1, sizeof *hold);
    if (!hold) {
        Py_DECREF(keeps);
        PyErr_NoMemory();
        return -1;
    }
    hold->payload = keeps;
    self->pending = hold;
    return 1;
}

int outgoing_pump(Outgoing *self) {
    while (self->protocol && self->started && self->outlet && has_room(self)) {
        if (!self->pending) {
            int taken = take(self);
            if (taken <= 0)
                return taken;
            continue; /* it may have been closed meanwhile */
        }
        if (!send_held(self, &self->waiting, self->pending))
            return 0; /* best effort, and the port is full */
        self->pending = NULL;
    }
    return 0;
}

/* feed(outlet): from now on calling this sends what the outlet has; None: no longer. */
static PyObject *outgoing_feed(Outgoing *self, PyObject *outlet) {
    PyObject *before = self->outlet;
    drop_pending(self);
    self->outlet = outlet == Py_None ? NULL : outlet;
    Py_XINCREF(self->outlet);
    Py_XDECREF(before);
    Py_RETURN_NONE;
}

static PyObject *outgoing_call(Outgoing *self, PyObject *args, PyObject *Py_UNUSED(kwargs)) {
    Engine *engine = self->engine;
    if (PyTuple_Size(args) != 0) {
        PyErr_SetString(PyExc_TypeError, "it takes no arguments");
        return NULL;
    }
    if (!self->protocol || !self->outlet)
        Py_RETURN_NONE;
    if (engine->busy) { /* whoever is in it does it on leaving */
        engine->missed = 1;
        Py_RETURN_NONE;
    }
    lunar_xdp_engine_set_time(engine->protocol, now_ns());
    int failed = outgoing_pump(self);
    engine_leave(engine);
    if (failed)
        return NULL;
    Py_RETURN_NONE;
}

/* The type ------------------------------------------------------------------------------------------------- */

static PyObject *get_unacknowledged(Outgoing *self, void *Py_UNUSED(closure)) {
    /* Whoever is in the engine may have been left something to send: it counts when that one has left. */
    if (self->protocol && engine_enter(self->engine) < 0)
        return NULL;
    return PyLong_FromUnsignedLong(self->protocol ? lunar_xdp_outgoing_unacknowledged(self->protocol) : 0);
}

static PyObject *get_is_cut_off(Outgoing *self, void *Py_UNUSED(closure)) {
    return PyBool_FromLong(self->protocol && lunar_xdp_outgoing_is_cut_off(self->protocol));
}

static PyObject *get_is_open(Outgoing *self, void *Py_UNUSED(closure)) { return PyBool_FromLong(self->protocol != NULL); }

static int outgoing_traverse(Outgoing *self, visitproc visit, void *arg) {
    Py_VISIT(self->engine);
    Py_VISIT(self->handler);
    Py_VISIT(self->outlet);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static int outgoing_clear(Outgoing *self) {
    shut(self);
    drop_pending(self); /* its engine may have been closed before */
    Py_CLEAR(self->outlet);
    return 0;
}

static void outgoing_dealloc(Outgoing *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    outgoing_clear(self);
    Py_DECREF(self->handler);
    Py_DECREF(self->engine);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyGetSetDef properties[] = {
    {"unacknowledged", (getter)get_unacknowledged, NULL, "See `lunar.abc.Outgoing.unacknowledged`.", NULL},
    {"is_open", (getter)get_is_open, NULL, "Whether it has not been closed.", NULL},
    {"is_cut_off", (getter)get_is_cut_off, NULL, "Whether nothing is heard from there.", NULL},
    {NULL}};
static PyMethodDef methods[] = {{"start", (PyCFunction)outgoing_start, METH_VARARGS, NULL},
                                {"send", (PyCFunction)outgoing_send, METH_O, NULL},
                                {"feed", (PyCFunction)outgoing_feed, METH_O, NULL},
                                {"recall", (PyCFunction)outgoing_recall, METH_NOARGS, NULL},
                                {"close", (PyCFunction)outgoing_close, METH_NOARGS, NULL},
                                {NULL}};
static PyType_Slot slots[] = {{Py_tp_dealloc, outgoing_dealloc}, {Py_tp_traverse, outgoing_traverse},
                              {Py_tp_clear, outgoing_clear},     {Py_tp_call, outgoing_call},
                              {Py_tp_methods, methods},          {Py_tp_getset, properties},
                              {0, NULL}};
static PyType_Spec spec = {.name = "lunar_xdp._xdp.Outgoing",
                           .basicsize = sizeof(Outgoing),
                           .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
                                    Py_TPFLAGS_DISALLOW_INSTANTIATION,
                           .slots = slots};

int outgoing_register(PyObject *module) { return register_type(module, &spec, &Outgoing_Type); }
