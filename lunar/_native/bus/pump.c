/* Pump: what brings samples from other hosts, and who looks after it.
 *
 * Some thread has to serve an engine when its descriptor is readable.  That is the control thread, unless somebody who
 * waits for samples borrows it: then the sample is taken where it is wanted, and no other thread wakes for it.
 * Borrowing costs two system calls, which is why it is done here and not in Python.
 */
#include <sys/epoll.h>

#include "bus.h"

PyTypeObject *Pump_Type;

static PyObject *pump_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"fd", "watcher", "serve", NULL};
    int fd, watcher;
    PyObject *serve;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "iiO", names, &fd, &watcher, &serve))
        return NULL;
    Pump *self = PyObject_GC_New(Pump, type);
    if (!self)
        return NULL;
    memset((char *)self + sizeof(PyObject), 0, sizeof *self - sizeof(PyObject));
    self->fd = fd;
    self->watcher = watcher;
    self->forks = forks_so_far;
    Py_INCREF(serve);
    self->serve = serve;
    PyObject_GC_Track(self);
    return (PyObject *)self;
}

static void watch(Pump *self, uint32_t events) {
    struct epoll_event event = {.events = events, .data.fd = self->fd};
    if (!self->closed && self->forks == forks_so_far)
        (void)epoll_ctl(self->watcher, EPOLL_CTL_MOD, self->fd, &event); /* fails if it is not watched any more */
}

void pump_lend(Pump *self) {
    if (++self->lent == 1)
        watch(self, 0);
}

void pump_take_back(Pump *self) {
    if (--self->lent == 0)
        watch(self, EPOLLIN);
}

int pump_serve(Pump *self) {
    if (self->closed)
        return 0;
    PyObject *result = PyObject_CallNoArgs(self->serve);
    Py_XDECREF(result);
    return result ? 0 : -1;
}

static PyObject *lend(Pump *self, PyObject *Py_UNUSED(ignored)) {
    pump_lend(self);
    Py_RETURN_NONE;
}

static PyObject *take_back(Pump *self, PyObject *Py_UNUSED(ignored)) {
    pump_take_back(self);
    Py_RETURN_NONE;
}

static PyObject *serve(Pump *self, PyObject *Py_UNUSED(ignored)) {
    if (pump_serve(self) < 0)
        return NULL;
    Py_RETURN_NONE;
}

static PyObject *fileno_of(Pump *self, PyObject *Py_UNUSED(ignored)) { return PyLong_FromLong(self->fd); }

static PyObject *close_it(Pump *self, PyObject *Py_UNUSED(ignored)) {
    self->closed = 1;
    Py_RETURN_NONE;
}

static int pump_traverse(Pump *self, visitproc visit, void *arg) {
    Py_VISIT(self->serve);
    Py_VISIT(Py_TYPE(self));
    return 0;
}

static int pump_clear(Pump *self) {
    self->closed = 1;
    Py_CLEAR(self->serve);
    return 0;
}

static void pump_dealloc(Pump *self) {
    PyTypeObject *type = Py_TYPE(self);
    PyObject_GC_UnTrack(self);
    pump_clear(self);
    PyObject_GC_Del(self);
    Py_DECREF(type);
}

static PyMemberDef members[] = {{"lent", T_INT, offsetof(Pump, lent), READONLY, "How many have borrowed it."}, {NULL}};
static PyMethodDef methods[] = {
    {"fileno", (PyCFunction)fileno_of, METH_NOARGS, "The engine's descriptor: readable when there is something to do."},
    {"serve", (PyCFunction)serve, METH_NOARGS, "Do it."},
    {"lend", (PyCFunction)lend, METH_NOARGS, "The caller looks after it until `take_back`: its watcher need not."},
    {"take_back", (PyCFunction)take_back, METH_NOARGS, "The caller does so no longer."},
    {"close", (PyCFunction)close_it, METH_NOARGS, "Its descriptors are about to be closed."},
    {NULL}};
static PyType_Slot slots[] = {{Py_tp_new, pump_new},         {Py_tp_dealloc, pump_dealloc}, {Py_tp_traverse, pump_traverse},
                              {Py_tp_clear, pump_clear},     {Py_tp_methods, methods},      {Py_tp_members, members},
                              {0, NULL}};
static PyType_Spec spec = {.name = "lunar._native._bus.Pump",
                           .basicsize = sizeof(Pump),
                           .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
                           .slots = slots};

int pump_register(PyObject *module) { return register_type(module, &spec, NULL, &Pump_Type); }
