/* Reader: a subscription's side.
 *
 * Taking goes round the matches, so that a busy publisher does not starve a quiet one.  A peer that breaks the
 * rules loses its match on the spot (`on_fault` tells Python, which closes the link); the others are served on.
 */
#include "bus.h"

PyTypeObject *Reader_Type;

/* Taking --------------------------------------------------------------------------------------------------- */

static bool match_is_ready(ReaderMatch *match) {
    uint64_t head = match->queue.head;
    if (match->queue.overwritable)
        head = __atomic_load_n(&match->queue.shared->head, __ATOMIC_ACQUIRE);
    if (__atomic_load_n(&match->queue.shared->tail, __ATOMIC_ACQUIRE) == head)
        return match->ended; /* to be dropped */
    if (match->starved_head != head + 1)
        return true;
    /* Its segment was missing when we last looked. */
    uint32_t segment = LUNAR_WHERE_SEGMENT(match->queue.entries[(uint32_t)head & (match->queue.capacity - 1)].where);
    return segment < match->segments->count && match->segments->segments[segment];
}

bool reader_is_ready(Reader *self) {
    for (Py_ssize_t i = 0; i < self->count; i++)
        if (match_is_ready(self->matches[i]))
            return true;
    return false;
}

void reader_set_bell(Reader *self, uint32_t bell) {
    if (self->bell == bell)
        return; /* not to dirty the line that every publish looks at */
    self->bell = bell;
    for (Py_ssize_t i = 0; i < self->count; i++)
        __atomic_store_n(&self->matches[i]->queue.shared->subscription_bell, bell, __ATOMIC_RELAXED);
}

static void drop_match(Reader *self, Py_ssize_t index) {
    ReaderMatch *match = self->matches[index];
    memmove(&self->matches[index], &self->matches[index + 1],
            (size_t)(self->count - index - 1) * sizeof *self->matches);
    self->count--;
    match->detached = 1;
    Py_DECREF(match);
}

static void call_hook(PyObject *hook, PyObject *args) {
    PyObject *result = hook && args ? PyObject_CallObject(hook, args) : NULL;
    if (!result && PyErr_Occurred())
        PyErr_WriteUnraisable(hook);
    Py_XDECREF(result);
    Py_XDECREF(args);
}

static void fault(Reader *self, Py_ssize_t index, const char *reason) {
    ReaderMatch *match = self->matches[index];
    Py_INCREF(match);
    drop_match(self, index); /* first: making objects may run a finaliser, which may change our matches */
    call_hook(self->on_fault, Py_BuildValue("Ns", (PyObject *)match, reason));
}

static void count_loss(Reader *self, uint64_t count, uint64_t *cause) {
    *cause += count;
    self->lost += count;
    self->losing = 1;
}

/* Hooks run Python, which may let another thread change our matches: only when an operation is over. */
static void report_loss(Reader *self) {
    if (!self->losing)
        return;
    self->losing = 0;
    if (!self->lost_reported) {
        self->lost_reported = 1; /* until the hook's owner has told somebody: _reported() */
        call_hook(self->on_lost, PyTuple_New(0));
    }
}

/* What became of one look at a match. */
enum { NOTHING, TAKEN, EXPIRED, BROKEN };

/* Find and take the next entry of a match whose segment is here. */
static int claim(ReaderMatch *match, lunar_entry *entry, const Mapping **segment, const char **reason) {
    lunar_queue_reader *queue = &match->queue;
    SegmentTable *table = match->segments;
    for (int look = 0; look < LUNAR_QUEUE_LOOKS; look++) {
        int found = lunar_queue_peek(queue, entry);
        if (found < 0)
            *reason = "its queue's counters are out of range";
        if (found <= 0)
            return found < 0 ? BROKEN : NOTHING;
        uint32_t index = LUNAR_WHERE_SEGMENT(entry->where);
        *segment = index < table->count ? table->segments[index] : NULL;
        if (!*segment) {
            if (queue->overwritable && __atomic_load_n(&queue->shared->head, __ATOMIC_ACQUIRE) != queue->head)
                continue; /* we read an entry that was being overwritten */
            match->starved_head = queue->head + 1; /* the segment is on its way through the link */
            return NOTHING;
        }
        if (lunar_queue_take(queue))
            return TAKEN;
    }
    *reason = "it takes samples back faster than anybody can publish";
    return BROKEN;
}

static int take_from(Reader *self, ReaderMatch *match, uint64_t time_ns, lunar_entry *entry, const void **address,
                     const char **reason) {
    lunar_queue_reader *queue = &match->queue;
    const Mapping *segment;
    int claimed = claim(match, entry, &segment, reason);
    if (claimed != TAKEN)
        return claimed;
    uint64_t offset = LUNAR_WHERE_OFFSET(entry->where);
    if (offset > segment->size_bytes || entry->size_bytes > segment->size_bytes - offset) {
        *reason = "a sample lies outside its segment";
        return BROKEN;
    }
    if (entry->sequence <= match->last_sequence) {
        *reason = "a sequence number was repeated";
        return BROKEN;
    }
    uint64_t gap = entry->sequence - match->last_sequence - 1;
    match->last_sequence = entry->sequence;
    if (gap)
        count_loss(self, gap, &match->lost);
    if (match->lifespan_ns && time_ns > entry->source_time_ns && time_ns - entry->source_time_ns > match->lifespan_ns) {
        lunar_queue_return(queue, entry->slot);
        count_loss(self, 1, &match->expired);
        self->expired++;
        __atomic_store_n(&queue->shared->lost_expired, match->expired, __ATOMIC_RELAXED);
        return EXPIRED;
    }
    *address = (const char *)segment->address + offset;
    return TAKEN;
}

/* Is there still something to take from a match?  If not, it is dropped. */
static bool may_take(Reader *self, Py_ssize_t index) {
    ReaderMatch *match = self->matches[index];
    if (match->misrung) {
        fault(self, index, "its bell is not a bell");
        return false;
    }
    if (match->ended && !match->left--) {
        drop_match(self, index);
        return false;
    }
    return true;
}

/* The next sample of any match, its head not yet shown; NULL when there is none or an exception is set. */
static Sample *take_next(Reader *self, uint64_t time_ns) {
    Py_ssize_t tried = 0;
    uint64_t expired = 0;
    while (tried < self->count) {
        if (self->next >= self->count)
            self->next = 0;
        Py_ssize_t index = self->next;
        ReaderMatch *match = self->matches[index];
        if (!may_take(self, index))
            continue;
        lunar_entry entry;
        const void *address;
        const char *reason = NULL;
        switch (take_from(self, match, time_ns, &entry, &address, &reason)) {
        case TAKEN: {
            Sample *sample = sample_new(match, &entry, address, time_ns);
            if (!sample)
                return NULL;
            match->received++;
            match->received_bytes += entry.size_bytes;
            self->received++;
            self->received_bytes += entry.size_bytes;
            self->newest_ns = time_ns;
            if (self->decode) {
                Py_INCREF(self->decode);
                sample->decode = self->decode;
            }
            return sample;
        }
        case EXPIRED:
            lunar_queue_show_taken(&match->queue);
            /* No more at once than can have been queued: a publisher may expire samples faster than we drop them. */
            if (++expired <= match->queue.capacity)
                continue;
            expired = 0;
            break;
        case BROKEN:
            fault(self, index, reason);
            continue;
        default:
            if (match->ended) { /* drained, or its last segment never came */
                drop_match(self, index);
                continue;
            }
        }
        self->next = index + 1;
        tried++;
    }
    return NULL;
}

Sample *reader_take(Reader *self, uint64_t time_ns) {
    Sample *sample = take_next(self, time_ns);
    if (sample) {
        lunar_queue_show_taken(&sample->match->queue);
        reader_match_ring_publisher(sample->match);
        self->next++;
    }
    report_loss(self);
    return sample;
}

PyObject *reader_take_many(Reader *self, Py_ssize_t limit) {
    uint64_t time_ns = now_ns();
    PyObject *list = PyList_New(0);
    ReaderMatch *last = NULL;
    while (list && PyList_Size(list) < limit) {
        Sample *sample = take_next(self, time_ns);
        if (!sample)
            break;
        if (last && sample->match != last) { /* a burst shows each match once */
            lunar_queue_show_taken(&last->queue);
            reader_match_ring_publisher(last);
        }
        last = sample->match; /* kept by the sample */
        int failed = PyList_Append(list, (PyObject *)sample);
        Py_DECREF(sample);
        if (failed)
            Py_CLEAR(list);
    }
    if (last && list) {
        lunar_queue_show_taken(&last->queue);
        reader_match_ring_publisher(last);
        self->next++;
    }
    report_loss(self);
    if (PyErr_Occurred())
        Py_CLEAR(list);
    return list;
}

/* The type ------------------------------------------------------------------------------------------------- */

static PyObject *reader_attach(Reader *self, PyObject *argument) {
    if (!PyObject_TypeCheck(argument, ReaderMatch_Type)) {
        PyErr_SetString(PyExc_TypeError, "not a ReaderMatch");
        return NULL;
    }
    if (!source_is_open(&self->source)) {
        source_refuse(&self->source);
        return NULL;
    }
    if (self->count == self->capacity) {
        Py_ssize_t capacity = self->capacity ? 2 * self->capacity : 4;
        ReaderMatch **grown = PyMem_Realloc(self->matches, (size_t)capacity * sizeof *grown);
        if (!grown)
            return PyErr_NoMemory();
        self->matches = grown;
        self->capacity = capacity;
    }
    ReaderMatch *match = (ReaderMatch *)argument;
    __atomic_store_n(&match->queue.shared->subscription_bell, self->bell, __ATOMIC_RELAXED);
    Py_INCREF(match);
    self->matches[self->count++] = match;
    Py_RETURN_NONE;
}

/* With `at_once` what is still queued is given up (we unsubscribed, or the peer broke the rules). */
static PyObject *reader_detach(Reader *self, PyObject *args) {
    ReaderMatch *match;
    int at_once;
    if (!PyArg_ParseTuple(args, "O!p", ReaderMatch_Type, &match, &at_once))
        return NULL;
    for (Py_ssize_t i = 0; i < self->count; i++)
        if (self->matches[i] == match) {
            reader_match_end(match);
            if (at_once)
                drop_match(self, i);
            break;
        }
    Py_RETURN_NONE;
}

static PyObject *reader_receive_nowait(Reader *self, PyObject *Py_UNUSED(ignored)) {
    if (!source_is_open(&self->source)) {
        source_refuse(&self->source);
        return NULL;
    }
    Sample *sample = reader_take(self, now_ns());
    if (!sample) {
        if (!PyErr_Occurred())
            PyErr_SetString(WouldBlock, "there is nothing to receive");
        return NULL;
    }
    PyObject *message = sample_message(sample);
    Py_DECREF(sample);
    return message;
}

static PyObject *reader_take_method(Reader *self, PyObject *argument) {
    Py_ssize_t limit = PyLong_AsSsize_t(argument);
    if (limit == -1 && PyErr_Occurred())
        return NULL;
    if (!source_is_open(&self->source)) {
        source_refuse(&self->source);
        return NULL;
    }
    return reader_take_many(self, limit);
}

static PyObject *reader_receive(Reader *self, PyObject *Py_UNUSED(ignored)) {
    return operation_new(&self->source, RECEIVE, NULL, 0);
}

static PyObject *reader_receive_many(Reader *self, PyObject *argument) {
    Py_ssize_t limit = PyLong_AsSsize_t(argument);
    if (limit < 1) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "limit must be at least 1");
        return NULL;
    }
    return operation_new(&self->source, RECEIVE_MANY, NULL, limit);
}

static PyObject *reader_readable(Reader *self, PyObject *Py_UNUSED(ignored)) {
    return operation_new(&self->source, READABLE, NULL, 0);
}

static PyObject *reader_receive_blocking(Reader *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"timeout_s", NULL};
    PyObject *timeout_s = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O", names, &timeout_s))
        return NULL;
    return source_run_blocking(&self->source, RECEIVE, NULL, 0, timeout_s);
}

static PyObject *reader_receive_many_blocking(Reader *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"limit", "timeout_s", NULL};
    PyObject *timeout_s = Py_None;
    Py_ssize_t limit;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "n|O", names, &limit, &timeout_s))
        return NULL;
    if (limit < 1) {
        PyErr_SetString(PyExc_ValueError, "limit must be at least 1");
        return NULL;
    }
    return source_run_blocking(&self->source, RECEIVE_MANY, NULL, limit, timeout_s);
}

/* deliver(callback) -> None: call back for each message at hand, for about TURN_NS; or, should a callback return anything,
 * that, to be awaited.  Stops at the first exception. */
static PyObject *reader_deliver(Reader *self, PyObject *callback) {
    uint64_t until = now_ns() + TURN_NS;
    for (uint64_t now; !self->source.closed && (now = now_ns()) < until;) {
        if (!source_is_open(&self->source)) { /* the callback forked */
            source_refuse(&self->source);
            return NULL;
        }
        Sample *sample = reader_take(self, now);
        if (!sample)
            break;
        PyObject *message = sample_message(sample);
        Py_DECREF(sample);
        PyObject *result = message ? PyObject_CallFunctionObjArgs(callback, message, NULL) : NULL;
        Py_XDECREF(message);
        if (result != Py_None)
            return result;
        Py_DECREF(result);
    }
    if (PyErr_Occurred())
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *reader_iterate(PyObject *self) {
    Py_INCREF(self);
    return self;
}

static PyObject *reader_next(Reader *self) { return operation_new(&self->source, ITERATE, NULL, 0); }

static PyObject *reader_close(Reader *self, PyObject *Py_UNUSED(ignored)) {
    self->source.closed = 1;
    while (self->count)
        drop_match(self, self->count - 1);
    Py_CLEAR(self->source.spare);
    Py_CLEAR(self->on_fault);
    Py_CLEAR(self->on_lost);
    Py_RETURN_NONE;
}

static PyObject *reader_reported(Reader *self, PyObject *Py_UNUSED(ignored)) {
    self->lost_reported = 0;
    Py_RETURN_NONE;
}

static int reader_init(Reader *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"decode", "spin_ns", "on_fault", "on_lost", NULL};
    PyObject *decode, *on_fault, *on_lost;
    unsigned long long spin_ns;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OKOO", names, &decode, &spin_ns, &on_fault, &on_lost))
        return -1;
    self->source.forks = forks_so_far;
    self->source.spin_ns = spin_ns;
    if (decode != Py_None) {
        Py_INCREF(decode);
        Py_XSETREF(self->decode, decode);
    }
    Py_INCREF(on_fault);
    Py_XSETREF(self->on_fault, on_fault);
    Py_INCREF(on_lost);
    Py_XSETREF(self->on_lost, on_lost);
    return 0;
}

static int reader_traverse(Reader *self, visitproc visit, void *arg) {
    Py_VISIT(self->decode);
    Py_VISIT(self->on_fault);
    Py_VISIT(self->on_lost);
    Py_VISIT(self->source.spare);
    Py_VISIT(self->blocking_waiter);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static int reader_clear(Reader *self) {
    Py_CLEAR(self->decode);
    Py_CLEAR(self->on_fault);
    Py_CLEAR(self->on_lost);
    Py_CLEAR(self->source.spare);
    Py_CLEAR(self->blocking_waiter);
    return 0;
}

static void reader_dealloc(Reader *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    reader_clear(self);
    while (self->count)
        drop_match(self, self->count - 1);
    PyMem_Free(self->matches);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMemberDef members[] = {
    {"_closed", T_INT, offsetof(Reader, source.closed), READONLY, NULL},
    {"_received", T_ULONGLONG, offsetof(Reader, received), READONLY, NULL},
    {"_received_bytes", T_ULONGLONG, offsetof(Reader, received_bytes), READONLY, NULL},
    {"_lost", T_ULONGLONG, offsetof(Reader, lost), READONLY, NULL},
    {"_expired", T_ULONGLONG, offsetof(Reader, expired), READONLY, NULL},
    {"_newest_ns", T_ULONGLONG, offsetof(Reader, newest_ns), READONLY, NULL},
    {NULL}};
static PyMethodDef methods[] = {
    {"__class_getitem__", (PyCFunction)Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {"receive", (PyCFunction)reader_receive, METH_NOARGS, "Await the next message."},
    {"receive_nowait", (PyCFunction)reader_receive_nowait, METH_NOARGS, "The next message, or WouldBlock."},
    {"receive_blocking", (PyCFunction)(void (*)(void))reader_receive_blocking, METH_VARARGS | METH_KEYWORDS,
     "The next message, in a thread without a loop; lunar.TimeoutError after timeout_s."},
    {"receive_many", (PyCFunction)reader_receive_many, METH_O, "Await at least one sample; at most `limit`."},
    {"receive_many_blocking", (PyCFunction)(void (*)(void))reader_receive_many_blocking, METH_VARARGS | METH_KEYWORDS,
     "At least one sample, at most `limit`, in a thread without a loop."},
    {"take", (PyCFunction)reader_take_method, METH_O, "Up to `limit` samples that are there now; never waits."},
    {"_readable", (PyCFunction)reader_readable, METH_NOARGS, "Await until there is something to take."},
    {"_deliver", (PyCFunction)reader_deliver, METH_O, NULL},
    {"_attach", (PyCFunction)reader_attach, METH_O, NULL},
    {"_detach", (PyCFunction)reader_detach, METH_VARARGS, NULL},
    {"_reported", (PyCFunction)reader_reported, METH_NOARGS, NULL},
    {"_close", (PyCFunction)reader_close, METH_NOARGS, NULL},
    {NULL}};
static PyType_Slot slots[] = {{Py_tp_init, reader_init},
                              {Py_tp_dealloc, reader_dealloc},
                              {Py_tp_traverse, reader_traverse},
                              {Py_tp_clear, reader_clear},
                              {Py_tp_methods, methods},
                              {Py_tp_members, members},
                              {Py_am_aiter, reader_iterate},
                              {Py_am_anext, reader_next},
                              {0, NULL}};
static PyType_Spec spec = {.name = "lunar._native._bus.Reader",
                           .basicsize = sizeof(Reader),
                           .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
                           .slots = slots};

int reader_register(PyObject *module) {
    return register_type(module, &spec, NULL, &Reader_Type);
}
