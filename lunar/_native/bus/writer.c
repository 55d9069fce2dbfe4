/* Writer: a publisher's side.  WriterMatch: one subscription that it feeds.
 *
 * A payload is copied once, into a chunk of the pool; each match gets a 32-byte entry that says where.  Who has not
 * kept up decides what happens: a match that waits (reliable and keep_all at both ends) makes the whole publish
 * wait before anything is copied; any other has its oldest sample taken back.
 */
#include <stdlib.h>

#include "bus.h"

PyTypeObject *WriterMatch_Type, *Writer_Type;

#define COPY_WITHOUT_LOCK_BYTES ((size_t)256 << 10)
/* Returned slots are collected a few at a time, so that no single publish pays for many; before a large
 * allocation always, so that the chunk that is still in cache is used again. */
#define COLLECT_EVERY 16
#define COLLECT_AT_MOST 64
#define ALWAYS_COLLECT_BYTES 4096
#define SHOW_EVERY 16

/* WriterMatch ---------------------------------------------------------------------------------------------- */

static PyObject *match_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"memory", "capacity", "slots", "peer", "subscription_id", "waits", NULL};
    Mapping *memory;
    unsigned int capacity, slots;
    Peer *peer;
    PyObject *subscription_id;
    int waits;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!IIO!Up", names, Mapping_Type, &memory, &capacity, &slots,
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
    int error = lunar_queue_writer_open(&self->queue, memory->address, capacity, slots);
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
    return PyLong_FromUnsignedLongLong(__atomic_load_n(&shared->lost_expired, __ATOMIC_RELAXED));
}

static PyMemberDef match_members[] = {
    {"subscription_id", T_OBJECT_EX, offsetof(WriterMatch, subscription_id), READONLY, NULL},
    {"lost_overwritten", T_ULONGLONG, offsetof(WriterMatch, queue.lost_overwritten), READONLY, NULL},
    {"lost_held", T_ULONGLONG, offsetof(WriterMatch, queue.lost_held), READONLY, NULL},
    {"waits", T_ULONGLONG, offsetof(WriterMatch, blocked), READONLY, "Publishes that had to wait for this one."},
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

/* Matches -------------------------------------------------------------------------------------------------- */

static void close_match(Writer *self, WriterMatch *match) {
    if (match->open) {
        match->open = 0;
        uint64_t overwritten = match->queue.lost_overwritten, held = match->queue.lost_held;
        lunar_queue_writer_close(&match->queue, &self->pool);
        match->queue.lost_overwritten = overwritten; /* statistics outlive the match */
        match->queue.lost_held = held;
    }
}

static void drop_match(Writer *self, Py_ssize_t index) {
    WriterMatch *match = self->matches[index];
    memmove(&self->matches[index], &self->matches[index + 1],
            (size_t)(self->count - index - 1) * sizeof *self->matches);
    self->count--;
    close_match(self, match);
    Py_DECREF(match);
}

/* Hooks run Python, which may let another thread change our matches; so they are called when an operation is
 * over, never while the matches are being walked. */
static void fault(Writer *self, Py_ssize_t index, const char *reason) {
    PyObject *entry = Py_BuildValue("Os", (PyObject *)self->matches[index], reason);
    drop_match(self, index);
    if (!self->faults)
        self->faults = PyList_New(0);
    if (!entry || !self->faults || PyList_Append(self->faults, entry) < 0)
        PyErr_WriteUnraisable(NULL);
    Py_XDECREF(entry);
}

static void report(Writer *self) {
    if (!self->faults && !self->losing)
        return;
    PyObject *error[3], *faults = self->faults;
    PyErr_Fetch(&error[0], &error[1], &error[2]);
    self->faults = NULL;
    for (Py_ssize_t i = 0; faults && self->on_fault && i < PyList_Size(faults); i++) {
        PyObject *result = PyObject_CallObject(self->on_fault, PyList_GetItem(faults, i));
        if (!result)
            PyErr_WriteUnraisable(NULL);
        Py_XDECREF(result);
    }
    Py_XDECREF(faults);
    if (self->losing && !self->lost_reported && self->on_lost) {
        self->lost_reported = 1; /* until the hook's owner has told somebody: _reported() */
        PyObject *result = PyObject_CallNoArgs(self->on_lost);
        if (!result)
            PyErr_WriteUnraisable(NULL);
        Py_XDECREF(result);
    }
    self->losing = 0;
    PyErr_Restore(error[0], error[1], error[2]);
}

static int collect(Writer *self, Py_ssize_t index, uint32_t limit) {
    int collected = lunar_queue_collect(&self->matches[index]->queue, &self->pool, limit);
    if (collected < 0)
        fault(self, index, "it returned a sample that it does not hold");
    return collected;
}

static void collect_all(Writer *self) {
    for (Py_ssize_t i = self->count; i-- > 0;)
        (void)collect(self, i, UINT32_MAX);
}

uint64_t writer_progress(Writer *self) {
    uint64_t sum = 0;
    for (Py_ssize_t i = 0; i < self->count; i++) {
        const lunar_queue_header *shared = self->matches[i]->queue.shared;
        sum += __atomic_load_n(&shared->head, __ATOMIC_ACQUIRE) + __atomic_load_n(&shared->return_tail, __ATOMIC_ACQUIRE);
    }
    return sum + (uint64_t)self->count; /* a match that goes is progress, too */
}

bool writer_is_ready(Writer *self) { return writer_progress(self) != self->progress_seen; }

void writer_set_waiting(Writer *self, uint32_t bell, int waiting) {
    if (self->source.forks != forks_so_far)
        return;
    for (Py_ssize_t i = 0; i < self->count; i++) {
        lunar_queue_header *shared = self->matches[i]->queue.shared;
        if (waiting)
            __atomic_store_n(&shared->publisher_bell, bell, __ATOMIC_RELAXED);
        __atomic_store_n(&shared->publisher_waits, (uint32_t)waiting, __ATOMIC_RELAXED);
    }
}

/* Is there room with everybody who may not lose anything? */
static bool has_room(Writer *self) {
    bool room = true;
    for (Py_ssize_t i = self->count; i-- > 0;) {
        WriterMatch *match = self->matches[i];
        if (!match->waits)
            continue;
        if (lunar_queue_full(&match->queue) && lunar_queue_refresh(&match->queue) < 0) {
            fault(self, i, "its queue's counters are out of range");
            continue;
        }
        if (!match->queue.free_count && collect(self, i, COLLECT_AT_MOST) < 0)
            continue;
        if (lunar_queue_full(&match->queue) || !match->queue.free_count)
            room = false;
    }
    return room;
}

/* A publish is about to wait: for whom? */
void writer_count_wait(Writer *self) {
    self->blocked++;
    for (Py_ssize_t i = 0; i < self->count; i++) {
        WriterMatch *match = self->matches[i];
        if (match->waits && (lunar_queue_full(&match->queue) || !match->queue.free_count))
            match->blocked++;
    }
}

static bool any_waits(Writer *self) {
    for (Py_ssize_t i = 0; i < self->count; i++)
        if (self->matches[i]->waits)
            return true;
    return false;
}

/* Memory --------------------------------------------------------------------------------------------------- */

void writer_release_chunk(Writer *self, lunar_chunk *chunk) { lunar_pool_unreference(&self->pool, chunk); }

static int check_size(Writer *self, size_t size_bytes) {
    if (size_bytes <= self->largest_bytes)
        return 0;
    PyErr_Format(ResourceExhausted, "a message of %zu bytes is larger than this publisher's pool may ever hold, %zu bytes",
                 size_bytes, self->largest_bytes);
    return -1;
}

lunar_chunk *writer_allocate(Writer *self, size_t size_bytes, int *outcome) {
    *outcome = FAILED;
    if (check_size(self, size_bytes) < 0)
        return NULL;
    uint32_t size_class = lunar_pool_class(size_bytes);
    if (size_bytes >= ALWAYS_COLLECT_BYTES)
        collect_all(self);
    lunar_chunk *chunk = lunar_pool_allocate(&self->pool, size_class);
    if (!chunk) {
        collect_all(self);
        chunk = lunar_pool_allocate(&self->pool, size_class);
    }
    if (!chunk) {
        if (!self->on_grow) {
            PyErr_SetString(ClosedError, "the publisher is closed");
            return NULL;
        }
        PyObject *grown =
            PyObject_CallFunction(self->on_grow, "In", size_class, (Py_ssize_t)lunar_pool_chunk_bytes(size_class));
        if (!grown) {
            /* Where nothing may be lost, memory that comes back is worth waiting for. */
            if (PyErr_ExceptionMatches(ResourceExhausted) && any_waits(self) && self->pool.segments_of[size_class]) {
                PyErr_Clear();
                *outcome = WOULD_BLOCK;
            }
            return NULL;
        }
        Py_DECREF(grown);
        chunk = lunar_pool_allocate(&self->pool, size_class);
    }
    if (!chunk)
        PyErr_SetString(ResourceExhausted, "the publisher's pool has no free chunk");
    else
        *outcome = DONE;
    return chunk;
}

/* Copy a payload in.  The lock is given up for a large one: the chunk is nobody else's yet. */
static void copy_payload(lunar_chunk *chunk, const void *data, size_t size_bytes) {
    if (size_bytes < COPY_WITHOUT_LOCK_BYTES) {
        memcpy(chunk->address, data, size_bytes);
        return;
    }
    Py_BEGIN_ALLOW_THREADS;
    memcpy(chunk->address, data, size_bytes);
    Py_END_ALLOW_THREADS;
}

/* Publishing ----------------------------------------------------------------------------------------------- */

/* One match's share of one sample. */
static void submit(Writer *self, Py_ssize_t index, lunar_chunk *chunk, const History *sample) {
    WriterMatch *match = self->matches[index];
    lunar_queue_writer *queue = &match->queue;
    if (lunar_queue_full(queue)) {
        int error = lunar_queue_refresh(queue);
        uint64_t lost = queue->lost_overwritten;
        while (!error && lunar_queue_full(queue)) {
            int stolen = lunar_queue_steal(queue, &self->pool);
            error = stolen < 0 ? stolen : 0;
        }
        if (error) {
            fault(self, index, "its queue's counters are out of range");
            return;
        }
        self->lost += queue->lost_overwritten - lost;
        self->losing |= queue->lost_overwritten != lost;
    }
    if (queue->tail % COLLECT_EVERY == 0 || !queue->free_count)
        if (collect(self, index, queue->free_count ? COLLECT_AT_MOST : UINT32_MAX) < 0)
            return;
    if (!queue->free_count) { /* the subscription sits on every slot */
        queue->lost_held++;
        self->lost++;
        self->losing = 1;
        __atomic_store_n(&queue->shared->lost_held, queue->lost_held, __ATOMIC_RELAXED);
        return;
    }
    lunar_queue_push(queue, chunk, sample->sequence, sample->source_time_ns, sample->size_bytes);
}

static void show_and_ring(Writer *self) {
    for (Py_ssize_t i = 0; i < self->count; i++)
        lunar_queue_show(&self->matches[i]->queue);
    lunar_full_fence(); /* the tails before the looks at the bells (bell.h) */
    for (Py_ssize_t i = self->count; i-- > 0;) {
        WriterMatch *match = self->matches[i];
        uint32_t bell = __atomic_load_n(&match->queue.shared->subscription_bell, __ATOMIC_RELAXED);
        if (peer_ring(match->peer, bell) < 0)
            fault(self, i, "its bell is not a bell");
    }
}

static void remember(Writer *self, lunar_chunk *chunk, const History *sample) {
    History *place = &self->history[self->history_next];
    if (place->chunk)
        lunar_pool_unreference(&self->pool, place->chunk);
    else
        self->history_count++;
    *place = *sample;
    place->chunk = chunk;
    chunk->references++;
    self->history_next = (self->history_next + 1) % self->history_depth;
}

/* Hand a filled chunk to everybody; takes over the caller's reference.  There is room. */
static void submit_to_all(Writer *self, lunar_chunk *chunk, uint32_t size_bytes, uint64_t time_ns) {
    History sample = {chunk, ++self->sequence, time_ns, size_bytes};
    for (Py_ssize_t i = self->count; i-- > 0;)
        submit(self, i, chunk, &sample);
    if (self->history_depth)
        remember(self, chunk, &sample);
    lunar_pool_unreference(&self->pool, chunk);
    self->published++;
    self->published_bytes += size_bytes;
    self->newest_ns = time_ns;
}

static int is_closed(Writer *self) {
    return source_is_open(&self->source) ? 0 : source_refuse(&self->source);
}

int writer_publish_chunk(Writer *self, lunar_chunk *chunk, uint32_t size_bytes) {
    if (is_closed(self))
        return FAILED;
    int outcome = WOULD_BLOCK;
    if (has_room(self)) {
        submit_to_all(self, chunk, size_bytes, now_ns());
        show_and_ring(self);
        outcome = DONE;
    }
    report(self);
    return outcome;
}

int writer_has_room(Writer *self) {
    if (is_closed(self))
        return FAILED;
    bool room = has_room(self);
    report(self);
    return room ? DONE : WOULD_BLOCK;
}

/* Copy one message in and submit it, not yet shown. */
static int put(Writer *self, PyObject *message, uint64_t time_ns) {
    if (is_closed(self))
        return FAILED;
    if (!has_room(self))
        return WOULD_BLOCK;
    PyObject *encoded = NULL;
    if (self->encode && !(message = encoded = PyObject_CallFunctionObjArgs(self->encode, message, NULL)))
        return FAILED;
    Py_buffer view;
    if (PyObject_GetBuffer(message, &view, PyBUF_SIMPLE) < 0) {
        Py_XDECREF(encoded);
        return FAILED;
    }
    if (check_size(self, (size_t)view.len) < 0) {
        PyBuffer_Release(&view);
        Py_XDECREF(encoded);
        return FAILED;
    }
    if (!self->count && !self->history_depth) { /* nobody is there and nobody will ask: count it, copy nothing */
        self->sequence++;
        self->published++;
        self->published_bytes += (uint64_t)view.len;
        self->newest_ns = time_ns;
        PyBuffer_Release(&view);
        Py_XDECREF(encoded);
        return DONE;
    }
    int outcome = FAILED;
    self->loans++; /* growing and copying let others run; nobody may unmap the pool meanwhile */
    lunar_chunk *chunk = writer_allocate(self, (size_t)view.len, &outcome);
    uint32_t size_bytes = (uint32_t)view.len;
    if (chunk) {
        copy_payload(chunk, view.buf, (size_t)view.len);
        if (is_closed(self))
            outcome = FAILED;
        else if (!has_room(self)) /* others may have published meanwhile */
            outcome = WOULD_BLOCK;
        if (outcome == DONE)
            submit_to_all(self, chunk, size_bytes, time_ns);
        else
            lunar_pool_unreference(&self->pool, chunk);
    }
    PyBuffer_Release(&view);
    Py_XDECREF(encoded);
    self->loans--;
    if (self->closing)
        writer_finish_close(self);
    return outcome;
}

int writer_publish(Writer *self, PyObject *message) {
    int outcome = put(self, message, now_ns());
    if (outcome == DONE)
        show_and_ring(self);
    report(self);
    return outcome;
}

Py_ssize_t writer_publish_many(Writer *self, PyObject *messages, Py_ssize_t from) {
    uint64_t time_ns = now_ns();
    Py_ssize_t index = from, shown = from;
    int outcome = DONE;
    for (; index < PyList_Size(messages); index++) {
        PyObject *message = PyList_GetItem(messages, index);
        Py_INCREF(message);
        outcome = put(self, message, time_ns);
        Py_DECREF(message);
        if (outcome != DONE)
            break;
        if (index - shown == SHOW_EVERY) { /* a spinning reader starts while we go on */
            for (Py_ssize_t i = 0; i < self->count; i++)
                lunar_queue_show(&self->matches[i]->queue);
            shown = index;
        }
    }
    if (index > from) {
        PyObject *error[3];
        PyErr_Fetch(&error[0], &error[1], &error[2]);
        show_and_ring(self);
        PyErr_Restore(error[0], error[1], error[2]);
    }
    report(self);
    return outcome == FAILED ? -1 : index;
}

/* The type ------------------------------------------------------------------------------------------------- */

static PyObject *writer_publish_method(Writer *self, PyObject *message) {
    return operation_new(&self->source, PUBLISH, message, 0);
}

static PyObject *writer_publish_nowait(Writer *self, PyObject *message) {
    int outcome = writer_publish(self, message);
    if (outcome == WOULD_BLOCK)
        PyErr_SetString(WouldBlock, "a reliable keep_all subscription has no room; statistics() says which");
    if (outcome != DONE)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *as_list(PyObject *messages) {
    if (!PyList_Check(messages))
        return PySequence_List(messages);
    Py_INCREF(messages);
    return messages;
}

static PyObject *writer_publish_many_method(Writer *self, PyObject *argument) {
    PyObject *messages = as_list(argument);
    if (!messages)
        return NULL;
    Py_ssize_t done = writer_publish_many(self, messages, 0);
    Py_DECREF(messages);
    return done < 0 ? NULL : PyLong_FromSsize_t(done);
}

static PyObject *writer_publish_all(Writer *self, PyObject *argument) {
    PyObject *messages = as_list(argument);
    if (!messages)
        return NULL;
    PyObject *operation = operation_new(&self->source, PUBLISH_ALL, messages, 0);
    Py_DECREF(messages);
    return operation;
}

static PyObject *writer_publish_blocking(Writer *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"message", "timeout_s", NULL};
    PyObject *message, *timeout_s = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O|O", names, &message, &timeout_s))
        return NULL;
    return source_run_blocking(&self->source, PUBLISH, message, 0, timeout_s);
}

static void replay(Writer *self, Py_ssize_t index, uint32_t limit) {
    uint32_t count = self->history_count < limit ? self->history_count : limit;
    for (uint32_t i = 0; i < count && index < self->count; i++) {
        const History *sample =
            &self->history[(self->history_next + self->history_depth - count + i) % self->history_depth];
        submit(self, index, sample->chunk, sample);
    }
}

/* _attach(match, replay) -> the sequence number before the first sample it will get. */
static PyObject *writer_attach(Writer *self, PyObject *args) {
    WriterMatch *match;
    unsigned int history;
    if (!PyArg_ParseTuple(args, "O!I", WriterMatch_Type, &match, &history))
        return NULL;
    if (is_closed(self))
        return NULL;
    if (self->count == self->capacity) {
        Py_ssize_t capacity = self->capacity ? 2 * self->capacity : 4;
        WriterMatch **grown = PyMem_Realloc(self->matches, (size_t)capacity * sizeof *grown);
        if (!grown)
            return PyErr_NoMemory();
        self->matches = grown;
        self->capacity = capacity;
    }
    Py_INCREF(match);
    match->open = 1;
    self->matches[self->count++] = match;
    if (history > match->queue.capacity)
        history = match->queue.capacity;
    uint64_t before = self->sequence - (self->history_count < history ? self->history_count : history);
    replay(self, self->count - 1, history);
    lunar_queue_show(&match->queue);
    if (self->source.waiting) /* whoever waits for room waits for this one, too */
        writer_set_waiting(self, self->source.waiter->index, 1);
    return PyLong_FromUnsignedLongLong(before);
}

static PyObject *writer_detach(Writer *self, PyObject *argument) {
    for (Py_ssize_t i = 0; i < self->count; i++)
        if ((PyObject *)self->matches[i] == argument) {
            drop_match(self, i);
            break;
        }
    Py_RETURN_NONE;
}

/* _add_segment(fd, size_bytes, size_class) -> index; maps it, the descriptor stays the caller's. */
static PyObject *writer_add_segment(Writer *self, PyObject *args) {
    int fd;
    Py_ssize_t size_bytes;
    unsigned int size_class;
    if (!PyArg_ParseTuple(args, "inI", &fd, &size_bytes, &size_class))
        return NULL;
    if (size_class >= LUNAR_POOL_CLASSES || size_bytes <= 0) {
        PyErr_SetString(PyExc_ValueError, "no such size class");
        return NULL;
    }
    void *address = NULL;
    if (is_closed(self) || raise_errno(lunar_memory_map(fd, (size_t)size_bytes, 1, &address), "map a segment"))
        return NULL;
    int index = lunar_pool_add_segment(&self->pool, address, (size_t)size_bytes, size_class);
    if (index < 0)
        lunar_memory_unmap(address, (size_t)size_bytes);
    return raise_errno(index, "add a segment to the pool") ? NULL : PyLong_FromLong(index);
}

static PyObject *writer_reported(Writer *self, PyObject *Py_UNUSED(ignored)) {
    self->lost_reported = 0;
    Py_RETURN_NONE;
}

static PyObject *writer_next_segment_bytes(Writer *self, PyObject *argument) {
    unsigned long size_class = PyLong_AsUnsignedLong(argument);
    if (PyErr_Occurred())
        return NULL;
    if (size_class >= LUNAR_POOL_CLASSES) {
        PyErr_SetString(PyExc_ValueError, "no such size class");
        return NULL;
    }
    return PyLong_FromSize_t(lunar_pool_next_segment_bytes(&self->pool, (uint32_t)size_class));
}

/* Manual liveliness: publishing or asserting stamps every match. */
static PyObject *writer_assert_alive(Writer *self, PyObject *Py_UNUSED(ignored)) {
    uint64_t time_ns = now_ns();
    if (is_closed(self))
        return NULL;
    for (Py_ssize_t i = 0; i < self->count; i++)
        __atomic_store_n(&self->matches[i]->queue.shared->alive_ns, time_ns, __ATOMIC_RELAXED);
    self->newest_ns = time_ns;
    Py_RETURN_NONE;
}

void writer_finish_close(Writer *self) {
    if (self->loans == 0) {
        lunar_pool_close(&self->pool);
        self->closing = 0;
    }
}

static void close_all(Writer *self) {
    self->source.closed = 1;
    while (self->count)
        drop_match(self, self->count - 1);
    self->history_depth = self->history_count = 0;
    PyMem_Free(self->history);
    self->history = NULL;
    self->closing = 1;
}

static PyObject *writer_close(Writer *self, PyObject *Py_UNUSED(ignored)) {
    close_all(self);
    writer_finish_close(self); /* or, with a loan out, when that is over */
    Py_CLEAR(self->source.spare);
    Py_CLEAR(self->on_fault);
    Py_CLEAR(self->on_grow);
    Py_CLEAR(self->on_lost);
    Py_RETURN_NONE;
}

static int writer_init(Writer *self, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"encode",   "spin_ns", "history_depth", "largest_bytes",
                            "on_fault", "on_grow", "on_lost",       NULL};
    PyObject *encode, *on_fault, *on_grow, *on_lost;
    unsigned long long spin_ns;
    unsigned int history_depth;
    Py_ssize_t largest_bytes;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "OKInOOO", names, &encode, &spin_ns, &history_depth, &largest_bytes,
                                     &on_fault, &on_grow, &on_lost))
        return -1;
    self->largest_bytes = (size_t)largest_bytes < LUNAR_MAX_PAYLOAD_BYTES ? (size_t)largest_bytes : LUNAR_MAX_PAYLOAD_BYTES;
    if (history_depth && !(self->history = PyMem_Calloc(history_depth, sizeof *self->history))) {
        PyErr_NoMemory();
        return -1;
    }
    self->history_depth = history_depth;
    self->source.forks = forks_so_far;
    self->source.spin_ns = spin_ns;
    if (encode != Py_None) {
        Py_INCREF(encode);
        Py_XSETREF(self->encode, encode);
    }
    Py_INCREF(on_fault);
    Py_XSETREF(self->on_fault, on_fault);
    Py_INCREF(on_grow);
    Py_XSETREF(self->on_grow, on_grow);
    Py_INCREF(on_lost);
    Py_XSETREF(self->on_lost, on_lost);
    return 0;
}

static int writer_traverse(Writer *self, visitproc visit, void *arg) {
    Py_VISIT(self->encode);
    Py_VISIT(self->on_fault);
    Py_VISIT(self->on_grow);
    Py_VISIT(self->on_lost);
    Py_VISIT(self->faults);
    Py_VISIT(self->source.spare);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static int writer_clear(Writer *self) {
    Py_CLEAR(self->encode);
    Py_CLEAR(self->on_fault);
    Py_CLEAR(self->on_grow);
    Py_CLEAR(self->on_lost);
    Py_CLEAR(self->faults);
    Py_CLEAR(self->source.spare);
    return 0;
}

static void writer_dealloc(Writer *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    writer_clear(self);
    close_all(self);
    lunar_pool_close(&self->pool); /* a loan keeps its writer, so none is out */
    PyMem_Free(self->matches);
    ((freefunc)PyType_GetSlot(type, Py_tp_free))(self);
    Py_DECREF(type);
}

static PyMemberDef members[] = {
    {"_closed", T_INT, offsetof(Writer, source.closed), READONLY, NULL},
    {"_published", T_ULONGLONG, offsetof(Writer, published), READONLY, NULL},
    {"_published_bytes", T_ULONGLONG, offsetof(Writer, published_bytes), READONLY, NULL},
    {"_waits", T_ULONGLONG, offsetof(Writer, blocked), READONLY, NULL},
    {"_lost", T_ULONGLONG, offsetof(Writer, lost), READONLY, NULL},
    {"_newest_ns", T_ULONGLONG, offsetof(Writer, newest_ns), READONLY, NULL},
    {"_pool_bytes", T_PYSSIZET, offsetof(Writer, pool.size_bytes), READONLY, NULL},
    {NULL}};
static PyMethodDef methods[] = {
    {"__class_getitem__", (PyCFunction)Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {"publish", (PyCFunction)writer_publish_method, METH_O, "Await until the message is published."},
    {"publish_nowait", (PyCFunction)writer_publish_nowait, METH_O, "Publish now, or raise WouldBlock."},
    {"publish_blocking", (PyCFunction)(void (*)(void))writer_publish_blocking, METH_VARARGS | METH_KEYWORDS,
     "Publish from a thread without a loop, waiting for room for at most timeout_s."},
    {"publish_many", (PyCFunction)writer_publish_many_method, METH_O,
     "Publish a burst without waiting; how many were accepted, from the first."},
    {"publish_all", (PyCFunction)writer_publish_all, METH_O, "Await until every message is published."},
    {"_attach", (PyCFunction)writer_attach, METH_VARARGS, NULL},
    {"_detach", (PyCFunction)writer_detach, METH_O, NULL},
    {"_add_segment", (PyCFunction)writer_add_segment, METH_VARARGS, NULL},
    {"_next_segment_bytes", (PyCFunction)writer_next_segment_bytes, METH_O, NULL},
    {"_assert_alive", (PyCFunction)writer_assert_alive, METH_NOARGS, NULL},
    {"_reported", (PyCFunction)writer_reported, METH_NOARGS, NULL},
    {"_close", (PyCFunction)writer_close, METH_NOARGS, NULL},
    {NULL}};
static PyType_Slot slots[] = {{Py_tp_init, writer_init},         {Py_tp_dealloc, writer_dealloc},
                              {Py_tp_traverse, writer_traverse}, {Py_tp_clear, writer_clear},
                              {Py_tp_methods, methods},          {Py_tp_members, members},
                              {0, NULL}};
static PyType_Spec spec = {.name = "lunar._native._bus.Writer",
                           .basicsize = sizeof(Writer),
                           .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
                           .slots = slots};

int writer_register(PyObject *module) {
    return register_type(module, &match_spec, NULL, &WriterMatch_Type) ||
           register_type(module, &spec, NULL, &Writer_Type);
}
