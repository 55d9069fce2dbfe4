/* WriterMatch: one subscription that a publisher feeds; the sending end of a queue and whom to ring. */
#include <stdlib.h>

#include "bus.h"

PyTypeObject *WriterMatch_Type;

static PyObject *match_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"memory", "capacity", "slots", "depth", "peer", "subscription_id", "waits", NULL};
    Mapping *memory;
    unsigned int capacity, slots, depth;
    Peer *peer;
    PyObject *subscription_id;
    int waits;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!IIIO!Up", names, Mapping_Type, &memory, &capacity, &slots, &depth,
                                     Peer_Type, &peer, &subscription_id, &waits))
        return NULL;
    if (!memory->writable || memory->size_bytes < lunar_queue_bytes(capacity, slots)) {
        raise_errno(-EINVAL, "make a match's queue");
        return NULL;
    }
    WriterMatch *self = PyObject_New(WriterMatch, type);
    if (!self)
        return NULL;
    memset((char *)self + sizeof(PyObject), 0, sizeof *self - sizeof(PyObject));
    int error = lunar_queue_writer_open(&self->queue, memory->address, capacity, slots, depth);
    Py_INCREF(memory);
    self->memory = memory;
    Py_INCREF(peer);
    self->peer = peer;
    Py_INCREF(subscription_id);
    self->subscription_id = subscription_id;
    self->waits = waits;
    if (raise_errno(error, "make a match's queue")) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static void match_dealloc(WriterMatch *self) {
    PyTypeObject *type = Py_TYPE(self);
    /* Closed by the writer, whose pool the ledger points into; here only if it was never attached. */
    free(self->queue.ledger);
    free(self->queue.slot_at);
    free(self->queue.free_slots);
    Py_XDECREF(self->on_shown);
    Py_DECREF(self->subscription_id);
    Py_DECREF(self->peer);
    Py_DECREF(self->memory);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyObject *match_queued(WriterMatch *self, void *Py_UNUSED(closure)) {
    if (!self->open)
        return PyLong_FromLong(0);
    (void)lunar_queue_refresh(&self->queue); /* a lie is found out by the next publish */
    return PyLong_FromUnsignedLongLong(self->queue.tail - self->queue.head_seen);
}

static PyObject *match_held(WriterMatch *self, void *Py_UNUSED(closure)) {
    if (!self->open)
        return PyLong_FromLong(0);
    (void)lunar_queue_refresh(&self->queue);
    const lunar_queue_writer *w = &self->queue;
    uint64_t returned = __atomic_load_n(&w->shared->return_tail, __ATOMIC_ACQUIRE) - w->return_head;
    uint64_t out = w->slots - w->free_count, away = w->tail - w->head_seen + returned;
    return PyLong_FromUnsignedLongLong(out > away ? out - away : 0);
}

static PyObject *match_expired(WriterMatch *self, void *Py_UNUSED(closure)) {
    const lunar_queue_header *shared = self->memory->address;
    uint64_t expired = __atomic_load_n(&shared->lost_expired, __ATOMIC_RELAXED);
    /* Its own count, but no more than it was given. */
    return PyLong_FromUnsignedLongLong(expired < self->queue.tail ? expired : self->queue.tail);
}

static PyMemberDef match_members[] = {
    {"subscription_id", T_OBJECT_EX, offsetof(WriterMatch, subscription_id), READONLY, NULL},
    {"lost_overwritten", T_ULONGLONG, offsetof(WriterMatch, queue.lost_overwritten), READONLY, NULL},
    {"lost_held", T_ULONGLONG, offsetof(WriterMatch, queue.lost_held), READONLY, NULL},
    {"waits", T_ULONGLONG, offsetof(WriterMatch, blocked), READONLY, "Publishes that had to wait for this one."},
    {"_on_shown", T_OBJECT, offsetof(WriterMatch, on_shown), 0, NULL},
    {NULL}};
static PyGetSetDef match_getset[] = {{"queued", (getter)match_queued, NULL, "Submitted, not yet taken.", NULL},
                                     {"held", (getter)match_held, NULL, "Taken, not yet given back.", NULL},
                                     {"lost_expired", (getter)match_expired, NULL, "As the subscription counts.", NULL},
                                     {NULL}};
static PyType_Slot match_slots[] = {{Py_tp_new, match_new},
                                    {Py_tp_dealloc, match_dealloc},
                                    {Py_tp_members, match_members},
                                    {Py_tp_getset, match_getset},
                                    {0, NULL}};
static PyType_Spec match_spec = {.name = "lunar._native._bus.WriterMatch",
                                 .basicsize = sizeof(WriterMatch),
                                 .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
                                 .slots = match_slots};

int writer_match_register(PyObject *module) { return register_type(module, &match_spec, NULL, &WriterMatch_Type); }
