/* The CPython types for what happens once per message.
 *
 * Ownership.  Everything that maps memory is a Python object, so reference counts decide when it is unmapped:
 *
 *     Sample -> ReaderMatch -> (Mapping of the queue, SegmentTable -> Mappings of the payload segments, Peer)
 *     Reader -> ReaderMatch            Writer -> WriterMatch -> (Mapping of the queue, Peer)
 *
 * Concurrency.  Every function here runs with the interpreter lock; that lock is what makes each end of a queue
 * single-producer and single-consumer.  It is given up only to copy large payloads, to spin and to sleep, and
 * those parts touch nothing but private or shared memory that they hold a reference to.
 *
 * Fork.  A child inherits these objects, but the shared memory and the descriptors behind them are its parent's: a
 * sample that it released would be released twice.  So each object remembers how many forks lay before it, and one
 * from before the last fork writes nothing that is shared; using it raises LunarError.
 */
#ifndef LUNAR_BUS_H
#define LUNAR_BUS_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <string.h>
#include <structmember.h>
#include <time.h>

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
#undef Py_REFCNT
#define Py_REFCNT(o) Py_REFCNT((PyObject *)(o))
#undef PyObject_TypeCheck
#define PyObject_TypeCheck(o, type) PyObject_TypeCheck((PyObject *)(o), type)
#endif
#ifndef Py_XSETREF
#define Py_XSETREF(place, value)                                                                                  \
    do {                                                                                                          \
        PyObject *old_ = (PyObject *)(place);                                                                     \
        (place) = (value);                                                                                        \
        Py_XDECREF(old_);                                                                                         \
    } while (0)
#endif

#include "../codec/encoder.h"
#include "../core/bell.h"
#include "../core/layout.h"
#include "../core/memory.h"
#include "../core/pool.h"
#include "../core/queue.h"
#include "engine_api.h"

/* Outcomes of an attempt that may have to wait. */
enum { FAILED = -1, WOULD_BLOCK = 0, DONE = 1 };

/* How long a coroutine that never has to wait may run before it lets the loop turn once. */
#define TURN_NS UINT64_C(500000)

typedef struct {
    PyObject_HEAD
    void *address;
    size_t size_bytes;
    int writable;
} Mapping;

/* The process at the other end of a link: its bells, and the socket that wakes it. */
typedef struct {
    PyObject_HEAD
    Mapping *bells;
    int bell_socket; /* owned; -1 once closed */
    uint64_t *rung;  /* [LUNAR_BELLS] the armed state that was last rung for */
} Peer;

typedef struct {
    PyObject_HEAD
    Mapping **segments; /* [count], entries may be NULL until they arrive */
    uint32_t count;
} SegmentTable;

/* An engine of a transport between hosts, served by whoever waits or by the thread that watches it. */
typedef struct {
    PyObject_HEAD
    int fd, watcher; /* the engine's descriptor, and the epoll of that thread */
    int guard;       /* a timer, after which that thread takes it */
    int lent, watched, closed;
    int keep_watched; /* somebody waits who cannot borrow it */
    uint32_t forks;
    uint64_t attended_ns; /* when who publishes through it came last */
    uint64_t guarded_ns;  /* when the guard was set last */
    PyObject *serve, *capsule;
    const lunar_engine_api *native; /* in the capsule; NULL: an engine in Python */
} Pump;

struct Signal;

typedef struct Waiter {
    PyObject_HEAD
    struct Waiter *next_open; /* in the list of this process */
    Mapping *bells;
    uint32_t index;
    uint32_t forks;
    int epoll;  /* bell sockets and the kick, edge-triggered */
    int kick;   /* eventfd, private to this process */
    int kicked; /* set by kick(), cleared when noticed */
    int rechecking; /* a timer of the loop is set */
    int managed; /* the loop's selector arms and disarms */
    PyObject *loop; /* NULL for a thread's waiter */
    PyObject *loop_ready, *loop_timers; /* what else a loop of ours has to do */
    int outer_fd, spun;
    Pump **pumps; /* [pump_count] of a loop of ours: what brings samples from other hosts */
    Py_ssize_t pump_count;
    uint32_t vain_spins, spins_skipped;
    int asleep, closing; /* a thread's waiter closed while that thread sleeps */
    void *blocked_on;    /* Source that a thread waits for */
    struct Signal *first, **end; /* who waits, by ticket; where the next one is to be linked */
    Py_ssize_t pending;
    uint64_t spin_ns; /* longest bound among the pending */
    uint64_t tickets; /* handed out so far */
} Waiter;

/* What a coroutine waits on: enough of asyncio's future protocol for a task to await it. */
typedef struct Signal {
    PyObject_HEAD
    char blocking; /* _asyncio_future_blocking */
    char state;    /* 0 pending, 1 fired, 2 cancelled */
    Waiter *waiter;
    PyObject *source; /* Reader or Writer */
    PyObject *callback, *context;
    uint64_t ticket;             /* whoever waits longest is served first */
    struct Signal *next, **link; /* in the waiter's list while pending */
} Signal;

/* Common head of Reader and Writer: what can be waited for. */
typedef struct {
    PyObject_HEAD
    int closed;
    uint32_t forks;
    uint64_t spin_ns;
    uint64_t turned_ns; /* when the loop last turned for a coroutine on this */
    Waiter *waiter;     /* who waits, while waiting > 0 */
    int waiting;
    PyObject *spare; /* an Operation kept for reuse */
} Source;

typedef struct {
    PyObject_HEAD
    lunar_queue_reader queue;
    Mapping *memory;
    SegmentTable *segments;
    Peer *peer;
    PyObject *publisher_id;
    uint64_t lifespan_ns; /* 0: for ever */
    uint64_t last_sequence;
    uint64_t received, received_bytes, lost, expired;
    uint64_t held;
    uint64_t starved_head; /* 1 + the position whose segment is not here yet */
    uint32_t forks;
    int waits;             /* the publisher waits for us rather than overwrite */
    int ended;             /* the publisher is gone; what is queued may still be taken */
    uint64_t left;         /* once ended: how many samples that is */
    int misrung;           /* the publisher's bell is none */
    int detached;
} ReaderMatch;

typedef struct {
    Source source;
    ReaderMatch **matches;
    Py_ssize_t count, capacity, next;
    PyObject *decode;
    PyObject *on_fault, *on_lost;
    int losing, lost_reported;
    uint64_t received, received_bytes, lost, expired;
    uint64_t newest_ns;
    uint32_t bell;
    void *blocking_thread; /* whose waiter the next field is */
    Waiter *blocking_waiter;
} Reader;

typedef struct WriterMatch {
    PyObject_HEAD
    lunar_queue_writer queue;
    Mapping *memory;
    Peer *peer;
    PyObject *subscription_id;
    int waits;
    int open;
    uint64_t blocked; /* publishes that had to wait for this one */
    PyObject *on_shown; /* called after samples were laid into its queue, where nobody listens to a bell; or NULL */
    const char *fault; /* how the peer broke the rules, until somebody is told */
    struct WriterMatch *next_faulted;
} WriterMatch;

typedef struct {
    lunar_chunk *chunk;
    uint64_t sequence, source_time_ns;
    uint32_t size_bytes;
} History;

typedef struct {
    Source source;
    lunar_pool pool;
    WriterMatch **matches;
    Py_ssize_t count, capacity;
    PyObject *encode; /* a callable, or a capsule with an encoder */
    const lunar_encoder *encoder;
    PyObject *on_fault, *on_grow, *on_lost;
    uint64_t sequence;
    uint64_t published, published_bytes, blocked, lost;
    uint64_t newest_ns;
    uint64_t progress_seen;
    History *history;
    uint32_t history_depth, history_count, history_next;
    size_t largest_bytes; /* of one message */
    uint32_t loans; /* who keep the pool mapped */
    int closing;
    int losing, lost_reported;
    int calling; /* some match has an on_shown, to be called when the operation is over */
    WriterMatch *faulted; /* dropped, not yet reported */
} Writer;

typedef struct {
    PyObject_HEAD
    ReaderMatch *match;
    const void *address;
    uint32_t size_bytes, slot;
    uint64_t sequence, source_time_ns, reception_time_ns;
    PyObject *decode; /* a strong reference or NULL */
    PyObject *info;   /* made when first asked for */
} Sample;

/* A sample on its way between hosts. */
typedef struct {
    PyObject_HEAD
    unsigned long long sequence, dropped;
    long long source_time_ns; /* wall clock */
    PyObject *payload;
} Parcel;

extern PyTypeObject *Mapping_Type, *Peer_Type, *SegmentTable_Type, *Waiter_Type, *Signal_Type, *ReaderMatch_Type,
    *Reader_Type, *WriterMatch_Type, *Writer_Type, *Sample_Type, *SampleInfo_Type, *Loan_Type, *MessageLoan_Type,
    *Operation_Type, *Pump_Type, *Parcel_Type;

extern PyObject *WouldBlock, *ClosedError, *ResourceExhausted, *LunarError, *LunarTimeout, *TypeMismatch;

/* Each type's own file registers it. */
int mapping_register(PyObject *module);
int peer_register(PyObject *module);
int waiter_register(PyObject *module);
int signal_register(PyObject *module);
int sample_register(PyObject *module);
int reader_match_register(PyObject *module);
int reader_register(PyObject *module);
int writer_match_register(PyObject *module);
int writer_register(PyObject *module);
int loan_register(PyObject *module);
int operation_register(PyObject *module);
int pump_register(PyObject *module);
int parcel_register(PyObject *module);
int inlet_register(PyObject *module);
int register_type(PyObject *module, PyType_Spec *spec, PyObject *base, PyTypeObject **slot);

static inline uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* 0, or -1 with an exception for a negative errno. */
int raise_errno(int code, const char *doing);

/* module.c: how many forks lie between the process that loaded this and us. */
extern uint32_t forks_so_far;

/* Can it be used?  If not, `refuse` says why and returns FAILED. */
static inline bool source_is_open(const Source *source) {
    return !source->closed && source->forks == forks_so_far;
}
int source_refuse(Source *source);

/* peer.c */
int peer_ring(Peer *peer, uint32_t bell);

/* source.c */
bool source_is_reader(Source *source);
bool source_is_ready(Source *source);
int source_begin_wait(Source *source, Waiter *waiter);
void source_end_wait(Source *source);

/* spinning.c */
bool waiter_any_ready(Waiter *waiter, Source *single);
/* Look at `single`, or at all that the waiter's signals await: 1 something is ready, 0 not, -1 exception. */
int waiter_spin_for(Waiter *waiter, Source *single, uint64_t limit_ns, int outer_fd);
bool waiter_glance(Waiter *waiter, Source *single, uint64_t spin_ns); /* a short spin, with the interpreter lock */
uint64_t waiter_spin_bound(const Waiter *waiter, uint64_t spin_ns); /* longer where a network may bring something */

/* waiter.c */
lunar_bell *waiter_bell(Waiter *waiter);
int waiter_block(Waiter *waiter, Source *source, uint64_t deadline_ns); /* 1 look again, 0 timed out, -1 exception */
int waiter_schedule_recheck(Waiter *waiter);
Waiter *waiter_of_running_loop(void);   /* new reference */
Waiter *waiter_of_recent_loop(void);   /* NULL if that is not the running one, without an exception */
Waiter *waiter_of_this_thread(void);    /* new reference */

/* pump.c */
#define MOST_PUMPS 8 /* that are borrowed at once */
struct pollfd;
PyObject *waiter_adopt_pump(Waiter *waiter, PyObject *pump);
PyObject *waiter_release_pump(Waiter *waiter, PyObject *pump);
void waiter_drop_pumps(Waiter *waiter);
int waiter_borrow(Waiter *waiter, Pump **borrowed); /* [MOST_PUMPS] how many; all or none */
void waiter_give_back(Pump **borrowed, int count);
unsigned long waiter_poll_pumps(const Waiter *waiter, struct pollfd *descriptors); /* [MOST_PUMPS] how many */
bool waiter_pumps_may_sleep(const Waiter *waiter); /* before that */
int waiter_serve_pumps(Waiter *waiter, const struct pollfd *descriptors, int count); /* how many, or -1 */
int waiter_serve_native(Waiter *waiter); /* engines in C that have something to do: how many, or -1 */
bool waiter_is_all_native(const Waiter *waiter); /* all of its pumps are, so that looking at them costs nothing */
/* What can be looked at without the interpreter lock, and when one of them wants to be served in any case. */
typedef struct {
    const lunar_engine_api *engines[MOST_PUMPS];
    int count;
    uint64_t due_ns;
    struct pollfd *others; /* [MOST_PUMPS] descriptors of those that cannot */
    unsigned long other_count;
} Looks;
void waiter_look_at_pumps(const Waiter *waiter, Looks *looks);
bool looks_find_input(const Looks *looks);

/* idle.c */
int waiter_wait_inline(Waiter *waiter); /* 1 something is ready, 0 not, -1 exception */
bool waiter_is_quiet(Waiter *waiter, const Signal *but); /* the loop has nothing to do, nor anybody but that one */

/* signal.c */
Signal *signal_new(Waiter *waiter, Source *source, uint64_t ticket);
void signal_unlink(Signal *signal);
bool signal_is_next(const Signal *signal); /* nobody has waited longer for the same source */
int signal_fire(Signal *signal);

/* reader_match.c */
void reader_match_end(ReaderMatch *match);
void reader_match_release(ReaderMatch *match, uint32_t slot);
void reader_match_ring_publisher(ReaderMatch *match);

/* reader.c */
bool reader_is_ready(Reader *reader);
void reader_set_bell(Reader *reader, uint32_t bell);
Sample *reader_take(Reader *reader, uint64_t time_ns); /* NULL: empty, or an exception is set */
PyObject *reader_take_many(Reader *reader, Py_ssize_t limit);

/* sample.c */
Sample *sample_new(ReaderMatch *match, const lunar_entry *entry, const void *address, uint64_t time_ns);
PyObject *sample_message(Sample *sample);
uint64_t wall_offset_ns(void); /* from CLOCK_MONOTONIC to the wall clock, now */

/* publishing.c */
void writer_drop_match(Writer *writer, Py_ssize_t index);
void writer_replay(Writer *writer, Py_ssize_t index, uint32_t limit);
int writer_is_closed(Writer *writer); /* with ClosedError set */
bool writer_is_ready(Writer *writer);
void writer_set_waiting(Writer *writer, uint32_t bell, int waiting);
int writer_publish(Writer *writer, PyObject *message);                 /* DONE, WOULD_BLOCK, FAILED */
/* What came from elsewhere, copied or in a chunk of ours, which is the writer's when it is done; likewise. */
int writer_relay(Writer *writer, const void *bytes, size_t size_bytes, uint64_t sequence, uint64_t time_ns);
int writer_relay_chunk(Writer *writer, lunar_chunk *chunk, uint32_t size_bytes, uint64_t sequence, uint64_t time_ns);
Py_ssize_t writer_publish_many(Writer *writer, PyObject *sequence, Py_ssize_t from); /* next index, or -1 */
int writer_publish_chunk(Writer *writer, lunar_chunk *chunk, uint32_t size_bytes);
lunar_chunk *writer_allocate(Writer *writer, size_t size_bytes, int *outcome);
uint64_t writer_progress(Writer *writer);
void writer_count_wait(Writer *writer);
int writer_has_room(Writer *writer); /* DONE, WOULD_BLOCK, FAILED */
void writer_release_chunk(Writer *writer, lunar_chunk *chunk);

/* writer.c */
void writer_finish_close(Writer *writer);

/* parcel.c, see engine_api.h */
int outlet_take_view(PyObject *outlet, lunar_sample_view *sample, PyObject **keeps);

/* loan.c */
PyObject *loan_make(Writer *writer, Py_ssize_t size_bytes);
PyObject *loan_make_message(Writer *writer, PyObject *const *values, PyObject *names); /* the writer has an encoder */
int loan_publish(PyObject *loan);        /* DONE, WOULD_BLOCK, FAILED */
void loan_discard(PyObject *loan);       /* unless it is over */
/* Its writable memoryview, or its message: DONE, WOULD_BLOCK and why, FAILED. */
int loan_open(PyObject *loan, PyObject **value, const char **why);

/* operation.c */
enum { RECEIVE, RECEIVE_MANY, ITERATE, READABLE, PUBLISH, PUBLISH_ALL, OPEN_LOAN, PUBLISH_LOAN, NOTHING_TO_DO };
PyObject *operation_new(Source *source, int kind, PyObject *payload, Py_ssize_t limit);
PyObject *source_run_blocking(Source *source, int kind, PyObject *payload, Py_ssize_t limit, PyObject *timeout_s);

#endif
