/* Port: where an engine's datagrams leave and come. */
#include <errno.h>

#include "../net/socket.h"
#include "../net/xsk.h"
#include "glue.h"

PyTypeObject *Port_Type;

static PyObject *refuse(int error, const lunar_reason *reason) {
    PyObject *raised = PyObject_CallFunction(PyExc_OSError, "is", -error, reason->text);
    if (raised) {
        PyErr_SetObject((PyObject *)Py_TYPE(raised), raised);
        Py_DECREF(raised);
    }
    return NULL;
}

static PyObject *wrap(lunar_port *port, bool is_xsk) {
    Port *self = PyObject_New(Port, Port_Type);
    if (!self) {
        port->kind->close(port);
        return NULL;
    }
    self->port = port;
    self->taken = 0;
    self->is_xsk = is_xsk;
    return (PyObject *)self;
}

static int copy_address(uint8_t *to, size_t bytes, const char *address, Py_ssize_t given) {
    if (given && (size_t)given != bytes) {
        PyErr_Format(PyExc_ValueError, "an address of %zu bytes, or none", bytes);
        return -1;
    }
    memcpy(to, address, (size_t)given);
    return 0;
}

static PyObject *open_xsk(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"interface", "port", "ipv4", "ipv6", "mode", "copy", "rx_frames", "tx_frames", NULL};
    lunar_xsk_options options = {0};
    const char *ipv4 = "", *ipv6 = "", *mode = "auto";
    Py_ssize_t ipv4_bytes = 0, ipv6_bytes = 0;
    unsigned interface, rx_frames = 0, tx_frames = 0;
    int copy = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "IH|y#y#spII", names, &interface, &options.port, &ipv4, &ipv4_bytes, &ipv6,
                                     &ipv6_bytes, &mode, &copy, &rx_frames, &tx_frames) ||
        copy_address(options.ipv4, 4, ipv4, ipv4_bytes) < 0 || copy_address(options.ipv6, 16, ipv6, ipv6_bytes) < 0)
        return NULL;
    options.interface = interface;
    options.rx_frames = rx_frames;
    options.tx_frames = tx_frames;
    options.copy = copy;
    if (strcmp(mode, "native") == 0)
        options.mode = LUNAR_FILTER_NATIVE;
    else if (strcmp(mode, "generic") == 0)
        options.mode = LUNAR_FILTER_GENERIC;
    else if (strcmp(mode, "auto") == 0)
        options.mode = LUNAR_FILTER_BEST;
    else
        return PyErr_Format(PyExc_ValueError, "there is no mode %s", mode);
    lunar_port *port;
    lunar_reason reason = {0};
    int error = lunar_xsk_open(&port, &options, &reason);
    return error ? refuse(error, &reason) : wrap(port, true);
}

static PyObject *open_socket(PyObject *Py_UNUSED(module), PyObject *args, PyObject *kwargs) {
    static char *names[] = {"address", "port", "interface", "buffer_bytes", "offload", NULL};
    lunar_socket_options options = {0};
    const char *address;
    Py_ssize_t address_bytes;
    unsigned interface = 0, buffer_bytes = 0;
    int offload = 1;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "y#|HIIp", names, &address, &address_bytes, &options.port, &interface,
                                     &buffer_bytes, &offload))
        return NULL;
    if (address_bytes != 4 && address_bytes != 16) {
        PyErr_SetString(PyExc_ValueError, "an address of 4 or 16 bytes");
        return NULL;
    }
    options.family = address_bytes == 4 ? 4 : 6;
    memcpy(options.address, address, (size_t)address_bytes);
    options.interface = interface;
    options.buffer_bytes = buffer_bytes;
    options.no_offload = !offload;
    lunar_port *port;
    lunar_reason reason = {0};
    int error = lunar_socket_open(&port, &options, &reason);
    return error ? refuse(error, &reason) : wrap(port, false);
}

/* What may be had here; None, or why not. */
static PyObject *why_no_xsk(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored)) {
    lunar_reason reason = {0};
    if (lunar_filter_probe(&reason) == 0)
        Py_RETURN_NONE;
    return PyUnicode_FromString(reason.text);
}

static bool is_open(Port *self) {
    if (!self->port)
        PyErr_SetString(PyExc_ValueError, "the port is closed");
    return self->port != NULL;
}

static PyObject *port_counters(Port *self, PyObject *Py_UNUSED(ignored)) {
    if (!is_open(self))
        return NULL;
    lunar_filter_counters filter = {0};
    if (self->is_xsk) {
        lunar_xsk_refresh(self->port);
        (void)lunar_filter_read(lunar_xsk_filter(self->port), &filter);
    }
    const lunar_port *port = self->port;
    return Py_BuildValue("{sKsKsKsKsKsKsKsKsK}", "received", (unsigned long long)port->received, "received_bytes",
                         (unsigned long long)port->received_bytes, "sent", (unsigned long long)port->sent, "sent_bytes",
                         (unsigned long long)port->sent_bytes, "rejected", (unsigned long long)port->rejected, "dropped",
                         (unsigned long long)port->dropped, "frames_taken", (unsigned long long)filter.taken,
                         "frames_passed", (unsigned long long)filter.passed, "frames_unserved",
                         (unsigned long long)filter.unserved);
}

static PyObject *port_describe(Port *self, PyObject *Py_UNUSED(ignored)) {
    if (!is_open(self))
        return NULL;
    if (!self->is_xsk)
        return Py_BuildValue("{ss}", "backend", "udp");
    lunar_xsk_description it = {0};
    lunar_xsk_describe(self->port, &it);
    return Py_BuildValue("{sssNsNsNsIsIsIsKsz}", "backend", "af_xdp", "native", PyBool_FromLong(it.native), "zero_copy",
                         PyBool_FromLong(it.zero_copy), "frags", PyBool_FromLong(it.frags), "queues", it.queues,
                         "frame_bytes", it.frame_bytes, "program_id", it.program_id, "memory_bytes",
                         (unsigned long long)it.memory_bytes, "not_native", it.native ? NULL : it.not_native);
}

static PyObject *port_close(Port *self, PyObject *Py_UNUSED(ignored)) {
    if (self->port && self->taken) {
        PyErr_SetString(PyExc_ValueError, "the port is an engine's, which closes it");
        return NULL;
    }
    if (self->port)
        self->port->kind->close(self->port);
    self->port = NULL;
    Py_RETURN_NONE;
}

static PyObject *get_number(Port *self, void *Py_UNUSED(closure)) {
    return is_open(self) ? PyLong_FromLong(self->port->port) : NULL;
}

static void port_dealloc(Port *self) {
    PyTypeObject *type = Py_TYPE(self);
    if (self->port && !self->taken)
        self->port->kind->close(self->port);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyGetSetDef properties[] = {{"number", (getter)get_number, NULL, "The UDP port that it receives by.", NULL}, {NULL}};
static PyMethodDef methods[] = {{"counters", (PyCFunction)port_counters, METH_NOARGS, "Datagrams, and frames at the filter."},
                                {"describe", (PyCFunction)port_describe, METH_NOARGS, "What it is, by name."},
                                {"close", (PyCFunction)port_close, METH_NOARGS, "Unless it is an engine's."},
                                {NULL}};
static PyType_Slot slots[] = {
    {Py_tp_dealloc, port_dealloc}, {Py_tp_methods, methods}, {Py_tp_getset, properties}, {0, NULL}};
static PyType_Spec spec = {.name = "lunar_xdp._xdp.Port",
                           .basicsize = sizeof(Port),
                           .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
                           .slots = slots};

static PyMethodDef functions[] = {
    {"open_xsk", (PyCFunction)(void (*)(void))open_xsk, METH_VARARGS | METH_KEYWORDS, "A port past the kernel's stack."},
    {"open_socket", (PyCFunction)(void (*)(void))open_socket, METH_VARARGS | METH_KEYWORDS, "A port over a UDP socket."},
    {"why_no_xsk", why_no_xsk, METH_NOARGS, "None, or why this process can have none of the former."},
    {NULL}};

int port_register(PyObject *module) {
    return register_type(module, &spec, &Port_Type) || PyModule_AddFunctions(module, functions);
}
