/* Frames: sends and receives the frames of this transport through the libzmq that pyzmq has brought along.
 *
 * Why not through pyzmq: of a large frame that it sends without a copy it is told by a thread, which libzmq's thread
 * wakes through a socket of its own for each one; and each frame that comes in is an object with a lock.  Here libzmq's
 * thread puts what it has sent on a list, and whoever comes here next takes it off: nobody wakes for it.
 *
 * There are no headers: the functions are declared as zmq(3) documents them for 4.x, and looked up in the library that
 * pyzmq's own extension is linked with, so that sockets made by pyzmq can be used.
 *
 * Concurrency.  Everything runs with the interpreter lock but `sent`, which libzmq calls in any of its threads and
 * which touches nothing of Python.  Nothing here blocks.
 *
 * Fork.  A child may drop its copy, no more: what libzmq had then stays with it for ever.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <dlfcn.h>
#include <errno.h>
#include <sched.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <structmember.h>

#define DONTWAIT 1
#define SNDMORE 2
#define EVENTS 15

typedef struct {
    _Alignas(void *) unsigned char opaque[64];
} message;

typedef void free_function(void *data, void *hint);

typedef struct {
    int (*send)(void *socket, const void *data, size_t size_bytes, int flags);
    int (*getsockopt)(void *socket, int option, void *value, size_t *size_bytes);
    int (*msg_init)(message *);
    int (*msg_init_data)(message *, void *data, size_t size_bytes, free_function *, void *hint);
    int (*msg_send)(message *, void *socket, int flags);
    int (*msg_recv)(message *, void *socket, int flags);
    int (*msg_close)(message *);
    void *(*msg_data)(message *);
    size_t (*msg_size)(const message *);
    int (*msg_more)(const message *);
} library;

static library zmq;

typedef struct lent lent;

/* What libzmq's threads reach: it outlives the object if they still have something. */
typedef struct {
    lent *sent;
} list;

struct lent {
    Py_buffer view;
    lent *next;
    list *list;
};

typedef struct {
    PyObject_HEAD
    list *list;
    Py_ssize_t lent;
} Frames;

typedef struct {
    PyObject_HEAD
    message message;
} Payload;

static PyTypeObject *Frames_Type, *Payload_Type;

static int find_functions(const char *path) {
    static const struct {
        const char *name;
        size_t offset;
    } functions[] = {
        {"zmq_send", offsetof(library, send)},
        {"zmq_getsockopt", offsetof(library, getsockopt)},
        {"zmq_msg_init", offsetof(library, msg_init)},
        {"zmq_msg_init_data", offsetof(library, msg_init_data)},
        {"zmq_msg_send", offsetof(library, msg_send)},
        {"zmq_msg_recv", offsetof(library, msg_recv)},
        {"zmq_msg_close", offsetof(library, msg_close)},
        {"zmq_msg_data", offsetof(library, msg_data)},
        {"zmq_msg_size", offsetof(library, msg_size)},
        {"zmq_msg_more", offsetof(library, msg_more)},
    };
    void *handle = dlopen(path, RTLD_LAZY | RTLD_NOLOAD);
    if (!handle) {
        PyErr_Format(PyExc_ImportError, "%s is not loaded", path);
        return -1;
    }
    for (size_t i = 0; i < sizeof functions / sizeof *functions; i++) {
        void *address = dlsym(handle, functions[i].name); /* in what it is linked with, too */
        if (!address) {
            PyErr_Format(PyExc_ImportError, "%s has no %s", path, functions[i].name);
            return -1;
        }
        memcpy((char *)&zmq + functions[i].offset, &address, sizeof address);
    }
    return 0;
}

static PyObject *frames_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"path", NULL};
    PyObject *path;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O&", names, PyUnicode_FSConverter, &path))
        return NULL;
    int found = find_functions(PyBytes_AsString(path));
    Py_DECREF(path);
    if (found < 0)
        return NULL;
    Frames *self = PyObject_New(Frames, type);
    if (!self)
        return NULL;
    self->lent = 0;
    self->list = calloc(1, sizeof *self->list);
    if (!self->list) {
        Py_DECREF(self);
        return PyErr_NoMemory();
    }
    return (PyObject *)self;
}

/* Sending -------------------------------------------------------------------------------------------------- */

static void sent(void *Py_UNUSED(data), void *hint) {
    lent *payload = hint;
    list *list = payload->list;
    payload->next = __atomic_load_n(&list->sent, __ATOMIC_RELAXED);
    while (!__atomic_compare_exchange_n(&list->sent, &payload->next, payload, true, __ATOMIC_RELEASE, __ATOMIC_RELAXED))
        ;
}

static void collect(Frames *self) {
    lent *payload = __atomic_exchange_n(&self->list->sent, NULL, __ATOMIC_ACQUIRE);
    while (payload) {
        lent *next = payload->next;
        self->lent--;
        PyBuffer_Release(&payload->view);
        free(payload);
        payload = next;
    }
}

static PyObject *frames_collect(Frames *self, PyObject *Py_UNUSED(ignored)) {
    collect(self);
    Py_RETURN_NONE;
}

/* 0, or what errno is. */
static int send_copy(void *socket, PyObject *bytes, int flags) {
    char *data;
    Py_ssize_t size_bytes;
    if (PyBytes_AsStringAndSize(bytes, &data, &size_bytes) < 0)
        return -1;
    while (zmq.send(socket, data, (size_t)size_bytes, flags) < 0)
        if (errno != EINTR)
            return errno;
    return 0;
}

static lent *lend(Frames *self, PyObject *payload) {
    lent *made = malloc(sizeof *made);
    if (!made) {
        PyErr_NoMemory();
        return NULL;
    }
    made->list = self->list;
    if (PyObject_GetBuffer(payload, &made->view, PyBUF_SIMPLE) < 0) {
        free(made);
        return NULL;
    }
    self->lent++;
    return made;
}

static int send_lent(Frames *self, void *socket, lent *payload) {
    message message;
    if (zmq.msg_init_data(&message, payload->view.buf, (size_t)payload->view.len, sent, payload) < 0) {
        int error = errno;
        sent(NULL, payload);
        return error;
    }
    while (zmq.msg_send(&message, socket, DONTWAIT) < 0)
        if (errno != EINTR) {
            int error = errno;
            zmq.msg_close(&message); /* which puts it on the list */
            return error;
        }
    /* libzmq's thread is behind.  If it has to share our core it gets it now, and the other side something to do; else
     * it would only once we wait for room, with much more to send, that is in no cache any more. */
    if (self->lent > 1)
        (void)sched_yield();
    return 0;
}

static PyObject *frames_send(Frames *self, PyObject *const *args, Py_ssize_t count) {
    if (count != 4) {
        PyErr_SetString(PyExc_TypeError, "send(socket, routing_id, frame, payload)");
        return NULL;
    }
    void *socket = PyLong_AsVoidPtr(args[0]);
    if (!socket && PyErr_Occurred())
        return NULL;
    collect(self); /* first, for its memory is the warmest */
    lent *payload = NULL;
    if (args[3] != Py_None && !(payload = lend(self, args[3])))
        return NULL; /* before a part of the message is on its way */
    int error = args[1] == Py_None ? 0 : send_copy(socket, args[1], DONTWAIT | SNDMORE);
    if (!error)
        error = send_copy(socket, args[2], payload ? DONTWAIT | SNDMORE : DONTWAIT);
    if (payload && error)
        sent(NULL, payload);
    else if (payload)
        error = send_lent(self, socket, payload);
    return error < 0 ? NULL : PyLong_FromLong(error);
}

/* Receiving ------------------------------------------------------------------------------------------------ */

/* Whether there is one; -1 with an exception. */
static int receive_into(message *message, void *socket) {
    zmq.msg_init(message);
    while (zmq.msg_recv(message, socket, DONTWAIT) < 0) {
        if (errno == EINTR)
            continue;
        int error = errno;
        zmq.msg_close(message);
        if (error == EAGAIN)
            return 0;
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
        return -1;
    }
    return 1;
}

static PyObject *receive_payload(void *socket) {
    Payload *payload = PyObject_New(Payload, Payload_Type);
    if (!payload)
        return NULL;
    zmq.msg_init(&payload->message);
    int came = receive_into(&payload->message, socket);
    if (came > 0)
        return (PyObject *)payload;
    zmq.msg_init(&payload->message);
    Py_DECREF((PyObject *)payload);
    if (!came)
        PyErr_SetString(PyExc_OSError, "libzmq gave a part of a message only");
    return NULL;
}

/* All parts come together or none does, so none is waited for here. */
static int drop_rest(void *socket) {
    message message;
    int more;
    do {
        int came = receive_into(&message, socket);
        if (came <= 0)
            return came;
        more = zmq.msg_more(&message);
        zmq.msg_close(&message);
    } while (more);
    return 0;
}

static PyObject *frames_receive(Frames *Py_UNUSED(self), PyObject *address) {
    message first;
    void *socket = PyLong_AsVoidPtr(address);
    if (!socket && PyErr_Occurred())
        return NULL;
    int came = receive_into(&first, socket);
    if (came < 0)
        return NULL;
    if (!came)
        Py_RETURN_NONE;
    int more = zmq.msg_more(&first);
    PyObject *frame = PyBytes_FromStringAndSize(zmq.msg_data(&first), (Py_ssize_t)zmq.msg_size(&first));
    zmq.msg_close(&first);
    PyObject *payload = Py_None;
    if (!more) {
        Py_INCREF(payload);
    } else {
        payload = receive_payload(socket);
        if (payload && zmq.msg_more(&((Payload *)payload)->message) && drop_rest(socket) < 0) {
            Py_DECREF(payload);
            payload = NULL;
        }
    }
    PyObject *both = frame && payload ? PyTuple_Pack(2, frame, payload) : NULL;
    Py_XDECREF(frame);
    Py_XDECREF(payload);
    return both;
}

static PyObject *frames_events(Frames *Py_UNUSED(self), PyObject *address) {
    void *socket = PyLong_AsVoidPtr(address);
    if (!socket && PyErr_Occurred())
        return NULL;
    int events = 0;
    size_t size_bytes = sizeof events;
    while (zmq.getsockopt(socket, EVENTS, &events, &size_bytes) < 0)
        if (errno != EINTR)
            return PyErr_SetFromErrno(PyExc_OSError);
    return PyLong_FromLong(events);
}

static int payload_getbuffer(Payload *self, Py_buffer *view, int flags) {
    return PyBuffer_FillInfo(view, (PyObject *)self, zmq.msg_data(&self->message),
                             (Py_ssize_t)zmq.msg_size(&self->message), 1, flags);
}

static void payload_dealloc(Payload *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    zmq.msg_close(&self->message);
    PyObject_Free(self);
    Py_DECREF((PyObject *)type);
}

static void frames_dealloc(Frames *self) {
    PyTypeObject *type = Py_TYPE((PyObject *)self);
    if (self->list) {
        collect(self);
        if (!self->lent)
            free(self->list);
    }
    PyObject_Free(self);
    Py_DECREF((PyObject *)type);
}

static PyMemberDef members[] = {
    {"lent", T_PYSSIZET, offsetof(Frames, lent), READONLY, "Payloads that were sent and not collected yet."}, {NULL}};
static PyMethodDef methods[] = {
    {"send", (PyCFunction)(void (*)(void))frames_send, METH_FASTCALL, NULL},
    {"receive", (PyCFunction)frames_receive, METH_O, NULL},
    {"events", (PyCFunction)frames_events, METH_O, NULL},
    {"collect", (PyCFunction)frames_collect, METH_NOARGS, NULL},
    {NULL}};
static PyType_Slot frames_slots[] = {{Py_tp_new, frames_new},
                                     {Py_tp_dealloc, frames_dealloc},
                                     {Py_tp_methods, methods},
                                     {Py_tp_members, members},
                                     {0, NULL}};
static PyType_Spec frames_spec = {.name = "lunar_zmq._frames.Frames",
                                  .basicsize = sizeof(Frames),
                                  .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
                                  .slots = frames_slots};
static PyType_Slot payload_slots[] = {
    {Py_tp_dealloc, payload_dealloc}, {Py_bf_getbuffer, payload_getbuffer}, {0, NULL}};
static PyType_Spec payload_spec = {.name = "lunar_zmq._frames.Payload",
                                   .basicsize = sizeof(Payload),
                                   .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE |
                                            Py_TPFLAGS_DISALLOW_INSTANTIATION,
                                   .slots = payload_slots};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, .m_name = "_frames", .m_doc = "Frames, through the libzmq of pyzmq.", .m_size = -1};

PyMODINIT_FUNC PyInit__frames(void) {
    PyObject *module = PyModule_Create(&definition);
    if (!module)
        return NULL;
    Frames_Type = (PyTypeObject *)PyType_FromSpec(&frames_spec);
    Payload_Type = (PyTypeObject *)PyType_FromSpec(&payload_spec);
    if (!Frames_Type || !Payload_Type || PyModule_AddType(module, Frames_Type) < 0 ||
        PyModule_AddType(module, Payload_Type) < 0) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
