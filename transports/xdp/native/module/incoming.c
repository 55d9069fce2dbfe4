/* Incoming: the receiving end of a stream, as `lunar.abc.Incoming`.
 *
 * A handler with an `inlet` has samples laid into the queues there, past Python; any other gets parcels, whose bytes are
 * gone when it returns.
 */
#include <errno.h>

#include "glue.h"

PyTypeObject *Incoming_Type;

/* Memory that is not the bus's: for handlers without an inlet. */
typedef struct {
    void *memory; /* the bus's name for it, or NULL */
    uint8_t *bytes;
} Room;

/* `dropped` in full: on the way it has 32 bits. */
static uint64_t unwrap(Incoming *self, uint32_t dropped) {
    self->dropped += (uint32_t)(dropped - (uint32_t)self->dropped);
    return self->dropped;
}

static lunar_sample_view view_of(Incoming *self, const lunar_xdp_message *message, const uint8_t *bytes) {
    return (lunar_sample_view){.bytes = bytes,
                               .size_bytes = message->size_bytes,
                               .sequence = message->sequence,
                               .dropped = unwrap(self, message->dropped),
                               .source_time_ns = (int64_t)message->source_time_ns};
}

/* Whether the handler took it.  What it raises drops the sample: it would raise again. */
static bool hand_over(Incoming *self, const lunar_sample_view *sample) {
    PyObject *bytes = PyMemoryView_FromMemory((char *)sample->bytes, (Py_ssize_t)sample->size_bytes, PyBUF_READ);
    PyObject *parcel = bytes ? PyObject_CallFunction(Parcel_Class, "KLKO", (unsigned long long)sample->sequence,
                                                     (long long)sample->source_time_ns,
                                                     (unsigned long long)sample->dropped, bytes)
                             : NULL;
    PyObject *result = parcel ? PyObject_CallMethod(self->handler, "deliver", "O", parcel) : NULL;
    int taken = result ? PyObject_IsTrue(result) : -1;
    if (taken < 0)
        PyErr_WriteUnraisable((PyObject *)self);
    Py_XDECREF(result);
    Py_XDECREF(parcel);
    PyObject *released = bytes ? PyObject_CallMethod(bytes, "release", NULL) : NULL;
    if (!released)
        PyErr_Clear(); /* somebody exports it further, against the contract */
    Py_XDECREF(released);
    Py_XDECREF(bytes);
    return taken != 0;
}

/* What the engine says ------------------------------------------------------------------------------------- */

static void started(void *context, uint64_t last_sequence, uint64_t newest_sequence) {
    Incoming *self = context;
    self->untold++;
    engine_later(self->engine, context, STARTED, NULL, last_sequence, newest_sequence);
}

/* What comes before the handler has heard of the start is offered again after that. */
static bool is_told(Incoming *self) {
    self->refused |= self->untold > 0;
    return self->untold == 0;
}

static bool was_taken(Incoming *self, int outcome) {
    if (outcome < 0)
        PyErr_WriteUnraisable((PyObject *)self);
    return outcome != 0;
}

static bool deliver(void *context, const lunar_xdp_message *message) {
    Incoming *self = context;
    if (!is_told(self))
        return false;
    lunar_sample_view sample = view_of(self, message, message->bytes);
    return self->inlet ? was_taken(self, bus->deliver(self->inlet, &sample)) : hand_over(self, &sample);
}

static uint8_t *begin(void *context, uint32_t size_bytes, void **hold) {
    Incoming *self = context;
    Room *room = PyMem_Calloc(1, sizeof *room);
    if (!room)
        return NULL;
    bool failed = false;
    room->bytes = self->inlet ? bus->begin(self->inlet, size_bytes, &room->memory, &failed) : PyMem_Malloc(size_bytes);
    if (failed)
        PyErr_WriteUnraisable((PyObject *)self);
    if (!room->bytes) {
        PyMem_Free(room);
        return NULL;
    }
    *hold = room;
    return room->bytes;
}

static void discard(void *Py_UNUSED(context), void *hold) {
    Room *room = hold;
    if (room->memory)
        bus->abandon(room->memory);
    else
        PyMem_Free(room->bytes);
    PyMem_Free(room);
}

static bool commit(void *context, const lunar_xdp_message *message) {
    Incoming *self = context;
    Room *room = message->hold;
    if (!is_told(self))
        return false;
    lunar_sample_view sample = view_of(self, message, room->bytes);
    if (!room->memory) {
        if (!hand_over(self, &sample))
            return false;
        discard(self, room);
        return true;
    }
    int outcome = bus->commit(self->inlet, room->memory, &sample);
    if (!was_taken(self, outcome))
        return false;
    if (outcome < 0)
        bus->abandon(room->memory);
    PyMem_Free(room);
    return true;
}

static void stopped(void *context, const char *reason) {
    Incoming *self = context;
    engine_later(self->engine, context, STOPPED, reason, 0, 0);
}

static void lost(void *context, uint64_t count) {
    Incoming *self = context;
    engine_later(self->engine, context, LOST, NULL, count, 0);
}

static void faulty(void *context, const char *reason) {
    Incoming *self = context;
    self->protocol = NULL; /* it is closed, and no longer ours */
    engine_later(self->engine, context, FAULTY, reason, 0, 0);
}

static const lunar_xdp_incoming_host host = {.started = started,
                                             .deliver = deliver,
                                             .begin = begin,
                                             .commit = commit,
                                             .discard = discard,
                                             .stopped = stopped,
                                             .lost = lost,
                                             .faulty = faulty};

static bool is_usable(const Incoming *self) { return self->protocol && self->life == self->engine->life; }

static void offer_again(Incoming *self) {
    self->untold--;
    if (self->untold || !self->refused || !is_usable(self))
        return;
    self->refused = 0;
    lunar_xdp_incoming_resume(self->protocol);
}

void incoming_tell(Incoming *self, const Event *event) {
    PyObject *result = NULL;
    if (self->is_closed)
        return;
    switch (event->what) {
    case STARTED:
        result = PyObject_CallMethod(self->handler, "started", "KK", (unsigned long long)event->first,
                                     (unsigned long long)event->second);
        offer_again(self);
        break;
    case STOPPED:
        result = PyObject_CallMethod(self->handler, "stopped", "s", event->reason);
        break;
    case LOST:
        result = PyObject_CallMethod(self->handler, "lost", "K", (unsigned long long)event->first);
        break;
    default:
        result = PyObject_CallMethod(self->handler, "faulty", "s", event->reason);
    }
    Py_XDECREF(result);
}

/* Opening, closing ----------------------------------------------------------------------------------------- */

static int find_inlet(Incoming *self) {
    self->inlet = PyObject_GetAttrString(self->handler, "inlet");
    if (self->inlet || !PyErr_ExceptionMatches(PyExc_AttributeError))
        return self->inlet ? 0 : -1;
    PyErr_Clear();
    return 0;
}

PyObject *incoming_open(Engine *engine, const lunar_xdp_stream *stream, const uint8_t key[16], const lunar_destination *to,
                        PyObject *handler) {
    if (engine_enter(engine) < 0)
        return NULL;
    Incoming *self = PyObject_GC_New(Incoming, Incoming_Type);
    if (!self)
        return NULL;
    memset((char *)self + sizeof(PyObject), 0, sizeof *self - sizeof(PyObject));
    Py_INCREF(engine);
    Py_INCREF(handler);
    self->engine = engine;
    self->handler = handler;
    self->life = engine->life;
    PyObject_GC_Track(self);
    if (find_inlet(self) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    self->protocol = lunar_xdp_engine_open_incoming(engine->protocol, stream, key, to, &host, self);
    if (!self->protocol) {
        PyErr_SetFromErrno(PyExc_OSError);
        Py_DECREF(self);
        return NULL;
    }
    engine_leave(engine);
    return (PyObject *)self;
}

static void shut(Incoming *self) {
    lunar_xdp_incoming *protocol = is_usable(self) ? self->protocol : NULL;
    self->protocol = NULL;
    self->is_closed = 1;
    if (protocol) {
        lunar_xdp_incoming_close(protocol);
        engine_leave(self->engine);
    }
}

static PyObject *incoming_close(Incoming *self, PyObject *Py_UNUSED(ignored)) {
    if (is_usable(self) && engine_enter(self->engine) < 0)
        return NULL;
    shut(self);
    Py_RETURN_NONE;
}

static PyObject *incoming_resume(Incoming *self, PyObject *Py_UNUSED(ignored)) {
    if (is_usable(self)) {
        if (engine_enter(self->engine) < 0)
            return NULL;
        if (is_usable(self)) {
            lunar_xdp_incoming_resume(self->protocol);
            engine_leave(self->engine);
        }
    }
    Py_RETURN_NONE;
}

/* The type ------------------------------------------------------------------------------------------------- */

static int incoming_traverse(Incoming *self, visitproc visit, void *arg) {
    Py_VISIT(self->engine);
    Py_VISIT(self->handler);
    Py_VISIT(self->inlet);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static int incoming_clear(Incoming *self) {
    shut(self);
    return 0;
}

static void incoming_dealloc(Incoming *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    shut(self);
    Py_XDECREF(self->inlet);
    Py_DECREF(self->handler);
    Py_DECREF(self->engine);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMethodDef methods[] = {{"resume", (PyCFunction)incoming_resume, METH_NOARGS, NULL},
                                {"close", (PyCFunction)incoming_close, METH_NOARGS, NULL},
                                {NULL}};
static PyType_Slot slots[] = {{Py_tp_dealloc, incoming_dealloc}, {Py_tp_traverse, incoming_traverse},
                              {Py_tp_clear, incoming_clear},     {Py_tp_methods, methods},
                              {0, NULL}};
static PyType_Spec spec = {.name = "lunar_xdp._xdp.Incoming",
                           .basicsize = sizeof(Incoming),
                           .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
                                    Py_TPFLAGS_DISALLOW_INSTANTIATION,
                           .slots = slots};

int incoming_register(PyObject *module) { return register_type(module, &spec, &Incoming_Type); }
