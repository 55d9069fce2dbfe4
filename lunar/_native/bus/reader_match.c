/* ReaderMatch: one publisher that a subscription takes from; the receiving end of a queue and the publisher's memory. */
#include "bus.h"

PyTypeObject *ReaderMatch_Type;

static PyObject *match_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"memory", "capacity", "slots",  "segments",       "peer",
                            "publisher_id", "waits", "lifespan_ns", "last_sequence", NULL};
    Mapping *memory;
    unsigned int capacity, slots;
    SegmentTable *segments;
    Peer *peer;
    PyObject *publisher_id;
    int waits;
    unsigned long long lifespan_ns, last_sequence;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!IIO!O!UpKK", names, Mapping_Type, &memory, &capacity, &slots,
                                     SegmentTable_Type, &segments, Peer_Type, &peer, &publisher_id, &waits,
                                     &lifespan_ns, &last_sequence))
        return NULL;
    lunar_queue_reader queue;
    if (raise_errno(lunar_queue_reader_open(&queue, memory->address, memory->size_bytes, capacity, slots, !waits),
                    "attach to a match's queue"))
        return NULL;
    ReaderMatch *self = PyObject_New(ReaderMatch, type);
    if (!self)
        return NULL;
    memset((char *)self + sizeof(PyObject), 0, sizeof *self - sizeof(PyObject));
    self->queue = queue;
    Py_INCREF(memory);
    self->memory = memory;
    Py_INCREF(segments);
    self->segments = segments;
    Py_INCREF(peer);
    self->peer = peer;
    Py_INCREF(publisher_id);
    self->publisher_id = publisher_id;
    self->forks = forks_so_far;
    self->waits = waits;
    self->lifespan_ns = lifespan_ns;
    self->last_sequence = last_sequence;
    return (PyObject *)self;
}

static void match_dealloc(ReaderMatch *self) {
    PyTypeObject *type = Py_TYPE(self);
    Py_DECREF(self->publisher_id);
    Py_DECREF(self->peer);
    Py_DECREF(self->segments);
    Py_DECREF(self->memory);
    PyObject_Free(self);
    Py_DECREF(type);
}

/* A publisher that waits for room is woken when the queue is half empty, so that it does not wake for each
 * message; should we stop before that, it looks again by itself (waiter.c: BLOCKED_RECHECK_NS). */
void reader_match_ring_publisher(ReaderMatch *match) {
    if (!match->waits || match->ended)
        return;
    lunar_full_fence(); /* our head or return before the look at its flag; it does the reverse */
    const lunar_queue_header *shared = match->queue.shared;
    if (!__atomic_load_n(&shared->publisher_waits, __ATOMIC_RELAXED))
        return;
    if (match->queue.tail_seen - match->queue.head <= match->queue.capacity / 2 &&
        peer_ring(match->peer, __atomic_load_n(&shared->publisher_bell, __ATOMIC_RELAXED)) < 0)
        match->misrung = 1; /* a fault, which whoever takes next reports */
}

/* The publisher is gone.  Somebody may still have the queue and go on writing: only what is there now counts. */
void reader_match_end(ReaderMatch *match) {
    if (match->ended)
        return;
    const lunar_queue_reader *queue = &match->queue;
    uint64_t head = queue->overwritable ? __atomic_load_n(&queue->shared->head, __ATOMIC_ACQUIRE) : queue->head;
    match->left = __atomic_load_n(&queue->shared->tail, __ATOMIC_ACQUIRE) - head;
    match->ended = 1;
}

void reader_match_release(ReaderMatch *match, uint32_t slot) {
    match->held--;
    if (match->forks != forks_so_far)
        return; /* the sample is our parent's to release */
    lunar_queue_return(&match->queue, slot);
    if (match->waits && __atomic_load_n(&match->queue.shared->publisher_waits, __ATOMIC_RELAXED))
        reader_match_ring_publisher(match);
}

static PyMemberDef match_members[] = {
    {"publisher_id", T_OBJECT_EX, offsetof(ReaderMatch, publisher_id), READONLY, NULL},
    {"last_sequence", T_ULONGLONG, offsetof(ReaderMatch, last_sequence), READONLY, "Of what was taken; or before it."},
    {"received", T_ULONGLONG, offsetof(ReaderMatch, received), READONLY, NULL},
    {"received_bytes", T_ULONGLONG, offsetof(ReaderMatch, received_bytes), READONLY, NULL},
    {"lost", T_ULONGLONG, offsetof(ReaderMatch, lost), READONLY, "Gaps in the sequence numbers."},
    {"lost_expired", T_ULONGLONG, offsetof(ReaderMatch, expired), READONLY, NULL},
    {"held", T_ULONGLONG, offsetof(ReaderMatch, held), READONLY, "Samples that the user still has."},
    {"ended", T_INT, offsetof(ReaderMatch, ended), READONLY, NULL},
    {NULL}};

#define SHARED_COUNT(name)                                                                                       \
    static PyObject *match_##name(ReaderMatch *self, void *Py_UNUSED(closure)) {                                 \
        return PyLong_FromUnsignedLongLong(__atomic_load_n(&self->queue.shared->name, __ATOMIC_RELAXED));        \
    }
SHARED_COUNT(lost_overwritten)
SHARED_COUNT(lost_held)
SHARED_COUNT(alive_ns)

static PyObject *match_queued(ReaderMatch *self, void *Py_UNUSED(closure)) {
    const lunar_queue_reader *queue = &self->queue;
    /* Where samples can be taken back, the publisher may have moved the head meanwhile. */
    uint64_t head = queue->overwritable ? __atomic_load_n(&queue->shared->head, __ATOMIC_ACQUIRE) : queue->head;
    uint64_t queued = __atomic_load_n(&queue->shared->tail, __ATOMIC_ACQUIRE) - head;
    return PyLong_FromUnsignedLongLong(queued <= self->queue.capacity ? queued : self->queue.capacity);
}

/* When the newest sample was published, taken or not; CLOCK_MONOTONIC, 0 before the first. */
static PyObject *match_newest_ns(ReaderMatch *self, void *Py_UNUSED(closure)) {
    uint64_t tail = __atomic_load_n(&self->queue.shared->tail, __ATOMIC_ACQUIRE);
    const lunar_entry *entry = &self->queue.entries[(uint32_t)(tail - 1) & (self->queue.capacity - 1)];
    return PyLong_FromUnsignedLongLong(tail ? __atomic_load_n(&entry->source_time_ns, __ATOMIC_RELAXED) : 0);
}

static PyGetSetDef match_getset[] = {
    {"newest_ns", (getter)match_newest_ns, NULL, "CLOCK_MONOTONIC of the newest sample published; 0: none.", NULL},
    {"lost_overwritten", (getter)match_lost_overwritten, NULL, "As the publisher counts it.", NULL},
    {"lost_held", (getter)match_lost_held, NULL, "As the publisher counts it.", NULL},
    {"alive_ns", (getter)match_alive_ns, NULL, "CLOCK_MONOTONIC of the last assertion here, or arrival from another host.", NULL},
    {"queued", (getter)match_queued, NULL, NULL, NULL},
    {NULL}};
static PyType_Slot match_slots[] = {{Py_tp_new, match_new},
                                    {Py_tp_dealloc, match_dealloc},
                                    {Py_tp_members, match_members},
                                    {Py_tp_getset, match_getset},
                                    {0, NULL}};
static PyType_Spec match_spec = {.name = "lunar._native._bus.ReaderMatch",
                                 .basicsize = sizeof(ReaderMatch),
                                 .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
                                 .slots = match_slots};

int reader_match_register(PyObject *module) { return register_type(module, &match_spec, NULL, &ReaderMatch_Type); }
