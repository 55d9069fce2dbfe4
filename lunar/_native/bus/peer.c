/* Peer: the bells of the process at the other end of a link, and how to ring them. */
#include <unistd.h>

#include "bus.h"

PyTypeObject *Peer_Type;

static PyObject *peer_new(PyTypeObject *type, PyObject *args, PyObject *kwargs) {
    static char *names[] = {"bells", "bell_socket", NULL};
    Mapping *bells;
    int bell_socket;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O!i", names, Mapping_Type, &bells, &bell_socket))
        return NULL;
    const lunar_bell_page *page = bells->address;
    if (bells->size_bytes < sizeof *page || page->magic != LUNAR_BELL_MAGIC || page->version != LUNAR_LAYOUT_VERSION) {
        raise_errno(-EPROTO, "read a peer's bell page");
        return NULL;
    }
    uint64_t *rung = PyMem_Calloc(LUNAR_BELLS, sizeof *rung);
    Peer *self = rung ? PyObject_New(Peer, type) : NULL;
    if (!self) {
        PyMem_Free(rung);
        return PyErr_NoMemory();
    }
    Py_INCREF(bells);
    self->bells = bells;
    self->bell_socket = bell_socket;
    self->rung = rung;
    return (PyObject *)self;
}

static PyObject *peer_close(Peer *self, PyObject *Py_UNUSED(ignored)) {
    if (self->bell_socket >= 0)
        close(self->bell_socket);
    self->bell_socket = -1;
    Py_RETURN_NONE;
}

static void peer_dealloc(Peer *self) {
    PyTypeObject *type = Py_TYPE(self);
    if (self->bell_socket >= 0)
        close(self->bell_socket);
    Py_DECREF(self->bells);
    PyMem_Free(self->rung);
    PyObject_Free(self);
    Py_DECREF(type);
}

int peer_ring(Peer *peer, uint32_t bell) {
    if (peer->bell_socket < 0)
        return 0;
    int rang = lunar_bell_ring(peer->bells->address, bell, peer->rung, peer->bell_socket);
    /* A broken connection is the peer's end, which the link notices by itself; it is not a fault. */
    return rang == -EPIPE || rang == -ECONNRESET || rang == -ECONNREFUSED || rang == -ENOTCONN ? 0 : rang;
}

static PyMethodDef peer_methods[] = {
    {"close", (PyCFunction)peer_close, METH_NOARGS, "Close the bell socket, which this object owns."}, {NULL}};
static PyType_Slot peer_slots[] = {
    {Py_tp_new, peer_new}, {Py_tp_dealloc, peer_dealloc}, {Py_tp_methods, peer_methods}, {0, NULL}};
static PyType_Spec peer_spec = {.name = "lunar._native._bus.Peer",
                                .basicsize = sizeof(Peer),
                                .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE,
                                .slots = peer_slots};

int peer_register(PyObject *module) { return register_type(module, &peer_spec, NULL, &Peer_Type); }
