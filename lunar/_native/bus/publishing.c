/* Publishing: a Writer's way from a message to the queues of its matches.
 *
 * A payload is copied once, into a chunk of the pool; each match gets a 32-byte entry that says where.  Who has not
 * kept up decides what happens: a match that waits (reliable and keep_all at both ends) makes the whole publish
 * wait before anything is copied; any other has its oldest sample taken back.
 */
#include "bus.h"

#define COPY_WITHOUT_LOCK_BYTES ((size_t)256 << 10)
/* Returned slots are collected a few at a time, so that no single publish pays for many; before a large
 * allocation as soon as a few are out, so that a chunk that is still in cache is used again. */
#define COLLECT_EVERY 16
#define COLLECT_AT_MOST 64
#define EAGER_COLLECT_BYTES 4096
#define EAGER_COLLECT_OUT 4
#define SHOW_EVERY 16

/* Matches -------------------------------------------------------------------------------------------------- */

static void close_match(Writer *self, WriterMatch *match) {
    if (match->open) {
        match->open = 0;
        lunar_queue_writer last = match->queue;
        lunar_queue_writer_close(&match->queue, &self->pool);
        match->queue.tail = last.tail; /* statistics outlive the match */
        match->queue.lost_overwritten = last.lost_overwritten;
        match->queue.lost_held = last.lost_held;
    }
}

void writer_drop_match(Writer *self, Py_ssize_t index) {
    WriterMatch *match = self->matches[index];
    memmove(&self->matches[index], &self->matches[index + 1],
            (size_t)(self->count - index - 1) * sizeof *self->matches);
    self->count--;
    close_match(self, match);
    Py_DECREF(match);
}

/* Hooks run Python, which may let another thread change our matches; even making an object may, when it collects
 * garbage.  So nothing of that happens before an operation is over and nobody walks the matches any more. */
static void fault(Writer *self, Py_ssize_t index, const char *reason) {
    WriterMatch *match = self->matches[index];
    Py_INCREF(match);
    match->fault = reason;
    match->next_faulted = self->faulted;
    self->faulted = match;
    writer_drop_match(self, index);
}

static bool has_hook(const WriterMatch *match) { return match->on_shown && match->on_shown != Py_None; }

static void call_shown(Writer *self) {
    PyObject *hooks = PyList_New(0);
    self->calling = 0;
    for (Py_ssize_t i = 0; hooks && i < self->count; i++)
        if (has_hook(self->matches[i]) && PyList_Append(hooks, self->matches[i]->on_shown) < 0)
            Py_CLEAR(hooks);
    for (Py_ssize_t i = 0; hooks && i < PyList_Size(hooks); i++) {
        PyObject *result = PyObject_CallNoArgs(PyList_GetItem(hooks, i));
        if (!result)
            PyErr_WriteUnraisable(NULL);
        Py_XDECREF(result);
    }
    if (!hooks)
        PyErr_WriteUnraisable(NULL);
    Py_XDECREF(hooks);
}

static void report(Writer *self) {
    if (!self->faulted && !self->losing && !self->calling)
        return;
    PyObject *error[3];
    PyErr_Fetch(&error[0], &error[1], &error[2]);
    while (self->faulted) {
        WriterMatch *match = self->faulted;
        self->faulted = match->next_faulted;
        PyObject *result =
            self->on_fault ? PyObject_CallFunction(self->on_fault, "Os", (PyObject *)match, match->fault) : NULL;
        if (!result && PyErr_Occurred())
            PyErr_WriteUnraisable(NULL);
        Py_XDECREF(result);
        Py_DECREF(match);
    }
    if (self->losing && !self->lost_reported && self->on_lost) {
        self->lost_reported = 1; /* until the hook's owner has told somebody: _reported() */
        PyObject *result = PyObject_CallNoArgs(self->on_lost);
        if (!result)
            PyErr_WriteUnraisable(NULL);
        Py_XDECREF(result);
    }
    self->losing = 0;
    if (self->calling)
        call_shown(self);
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

/* Not each time: the lines that tell are the reader's, and looking at them costs as much as a small message. */
static void collect_eagerly(Writer *self) {
    for (Py_ssize_t i = self->count; i-- > 0;)
        if (self->matches[i]->queue.slots - self->matches[i]->queue.free_count >= EAGER_COLLECT_OUT)
            (void)collect(self, i, UINT32_MAX);
}

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
    if (size_bytes >= EAGER_COLLECT_BYTES)
        collect_eagerly(self);
    lunar_chunk *chunk = lunar_pool_allocate(&self->pool, size_class);
    if (!chunk) {
        collect_all(self);
        chunk = lunar_pool_allocate(&self->pool, size_class);
    }
    while (!chunk) { /* while it grows, other threads may take what it got */
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
        if (writer_is_closed(self))
            return NULL;
        chunk = lunar_pool_allocate(&self->pool, size_class);
    }
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
        self->calling |= has_hook(match);
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

int writer_is_closed(Writer *self) {
    return source_is_open(&self->source) ? 0 : source_refuse(&self->source);
}

int writer_publish_chunk(Writer *self, lunar_chunk *chunk, uint32_t size_bytes) {
    if (writer_is_closed(self))
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
    if (writer_is_closed(self))
        return FAILED;
    bool room = has_room(self);
    report(self);
    return room ? DONE : WOULD_BLOCK;
}

/* PyObject_GetBuffer, which says in Python's exceptions and not in ours what is no message. */
static int get_bytes(PyObject *message, Py_buffer *view) {
    if (PyObject_GetBuffer(message, view, PyBUF_SIMPLE) == 0)
        return 0;
    if (!PyErr_ExceptionMatches(PyExc_TypeError) && !PyErr_ExceptionMatches(PyExc_BufferError))
        return -1;
    PyObject *cause[3];
    PyErr_Fetch(&cause[0], &cause[1], &cause[2]);
    PyErr_NormalizeException(&cause[0], &cause[1], &cause[2]);
    PyObject *got = PyType_GetName(Py_TYPE(message));
    PyObject *error =
        got ? PyObject_CallFunction(TypeMismatch, "sOs", "publishing", got, "a contiguous bytes-like object") : NULL;
    if (error) {
        Py_XINCREF(cause[1]);
        PyException_SetCause(error, cause[1]);
        PyErr_SetObject(TypeMismatch, error);
    }
    Py_XDECREF(error);
    Py_XDECREF(got);
    for (int i = 0; i < 3; i++)
        Py_XDECREF(cause[i]);
    return -1;
}

/* A message on its way into a chunk: a buffer to be copied, or something that an encoder writes there.  Bytes that are no
 * object are a message that is NULL, and the view. */
typedef struct {
    PyObject *message, *encoded; /* borrowed; owned or NULL */
    const lunar_encoder *encoder;
    Py_buffer view;
    Py_ssize_t size_bytes;
} Payload;

static void payload_close(Payload *payload) {
    if (!payload->encoder)
        PyBuffer_Release(&payload->view);
    Py_XDECREF(payload->encoded);
}

static int payload_open(Writer *self, Payload *payload) {
    PyObject *message = payload->message;
    if (!message) {
        payload->size_bytes = payload->view.len;
    } else if ((payload->encoder = self->encoder)) {
        payload->size_bytes = self->encoder->measure(self->encoder->context, message);
        if (payload->size_bytes < 0)
            return -1;
    } else {
        if (self->encode) {
            message = payload->encoded = PyObject_CallFunctionObjArgs(self->encode, message, NULL);
            if (!message)
                return -1;
        }
        if (get_bytes(message, &payload->view) < 0) {
            Py_XDECREF(payload->encoded);
            return -1;
        }
        payload->size_bytes = payload->view.len;
    }
    if (check_size(self, (size_t)payload->size_bytes) == 0)
        return 0;
    payload_close(payload);
    return -1;
}

static int payload_write(const Payload *payload, lunar_chunk *chunk) {
    if (payload->encoder)
        return payload->encoder->write(payload->encoder->context, payload->message, chunk->address, payload->size_bytes);
    copy_payload(chunk, payload->view.buf, (size_t)payload->size_bytes);
    return 0;
}

/* Put one message into memory and submit it, not yet shown. */
static int put_payload(Writer *self, Payload payload, uint64_t time_ns) {
    if (writer_is_closed(self))
        return FAILED;
    if (!has_room(self))
        return WOULD_BLOCK;
    if (payload_open(self, &payload) < 0)
        return FAILED;
    if (!self->count && !self->history_depth) { /* nobody is there and nobody will ask: count it, copy nothing */
        self->sequence++;
        self->published++;
        self->published_bytes += (uint64_t)payload.size_bytes;
        self->newest_ns = time_ns;
        payload_close(&payload);
        return DONE;
    }
    int outcome = FAILED;
    self->loans++; /* growing and copying let others run; nobody may unmap the pool meanwhile */
    lunar_chunk *chunk = writer_allocate(self, (size_t)payload.size_bytes, &outcome);
    if (chunk) {
        if (payload_write(&payload, chunk) < 0 || writer_is_closed(self))
            outcome = FAILED;
        else if (!has_room(self)) /* others may have published meanwhile */
            outcome = WOULD_BLOCK;
        if (outcome == DONE)
            submit_to_all(self, chunk, (uint32_t)payload.size_bytes, time_ns);
        else
            lunar_pool_unreference(&self->pool, chunk);
    }
    payload_close(&payload);
    self->loans--;
    if (self->closing)
        writer_finish_close(self);
    return outcome;
}

static int put(Writer *self, PyObject *message, uint64_t time_ns) {
    return put_payload(self, (Payload){.message = message}, time_ns);
}

int writer_publish(Writer *self, PyObject *message) {
    int outcome = put(self, message, now_ns());
    if (outcome == DONE)
        show_and_ring(self);
    report(self);
    return outcome;
}

/* What was numbered and dated elsewhere, by a clock that may be off: that it has come now is what shows life. */
static void show_relayed(Writer *self) {
    uint64_t arrived_ns = now_ns();
    for (Py_ssize_t i = 0; i < self->count; i++)
        __atomic_store_n(&self->matches[i]->queue.shared->alive_ns, arrived_ns, __ATOMIC_RELAXED);
    show_and_ring(self);
}

int writer_relay(Writer *self, const void *bytes, size_t size_bytes, uint64_t sequence, uint64_t time_ns) {
    uint64_t before = self->sequence;
    self->sequence = sequence - 1;
    Payload payload = {.view = {.buf = (void *)bytes, .len = (Py_ssize_t)size_bytes}};
    int outcome = put_payload(self, payload, time_ns);
    if (outcome == DONE)
        show_relayed(self);
    else
        self->sequence = before;
    report(self);
    return outcome;
}

int writer_relay_chunk(Writer *self, lunar_chunk *chunk, uint32_t size_bytes, uint64_t sequence, uint64_t time_ns) {
    if (writer_is_closed(self))
        return FAILED;
    int outcome = WOULD_BLOCK;
    if (has_room(self)) {
        self->sequence = sequence - 1;
        submit_to_all(self, chunk, size_bytes, time_ns);
        show_relayed(self);
        outcome = DONE;
    }
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

/* Give a new match the history that it asked for; not yet shown. */
void writer_replay(Writer *self, Py_ssize_t index, uint32_t limit) {
    uint32_t count = self->history_count < limit ? self->history_count : limit;
    for (uint32_t i = 0; i < count && index < self->count; i++) {
        const History *sample =
            &self->history[(self->history_next + self->history_depth - count + i) % self->history_depth];
        submit(self, index, sample->chunk, sample);
    }
}
