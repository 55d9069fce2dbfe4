/* lunar_dds._cdr: what the transport does once per sample. */
#include "cdr.h"

Cyclone cyclone;
PyObject *PeerFault, *ResourceExhausted, *fail;

int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **slot) {
    *slot = (PyTypeObject *)PyType_FromSpec(spec);
    return *slot ? PyModule_AddType(module, *slot) : -1;
}

/* bind(addresses, fail): the functions of the library, by name; fail(code, doing) raises. */
static PyObject *bind(PyObject *Py_UNUSED(module), PyObject *args) {
    PyObject *addresses, *failing;
    if (!PyArg_ParseTuple(args, "O!O", &PyDict_Type, &addresses, &failing))
        return NULL;
    struct {
        const char *name;
        void *into;
    } wanted[] = {{"ddsi_serdata_from_ser_iov", &cyclone.from_ser_iov}, {"ddsi_serdata_to_ser_ref", &cyclone.to_ser_ref},
                  {"ddsi_serdata_to_ser_unref", &cyclone.to_ser_unref}, {"ddsi_serdata_ref", &cyclone.ref},
                  {"ddsi_serdata_unref", &cyclone.unref},               {"ddsi_serdata_size", &cyclone.size},
                  {"dds_forwardcdr", &cyclone.forwardcdr},              {"dds_takecdr", &cyclone.takecdr}};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        PyObject *address = PyDict_GetItemString(addresses, wanted[i].name);
        void *function = address ? PyLong_AsVoidPtr(address) : NULL;
        if (!function) {
            if (!PyErr_Occurred())
                PyErr_SetString(PyExc_KeyError, wanted[i].name);
            return NULL;
        }
        memcpy(wanted[i].into, &function, sizeof function);
    }
    Py_INCREF(failing);
    Py_XDECREF(fail);
    fail = failing;
    Py_RETURN_NONE;
}

static PyMethodDef functions[] = {{"bind", bind, METH_VARARGS, NULL}, {NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "lunar_dds._cdr",
    .m_doc = "What the transport does once per sample.",
    .m_size = -1,
    .m_methods = functions,
};

static int take_errors(void) {
    PyObject *errors = PyImport_ImportModule("lunar.errors");
    PeerFault = errors ? PyObject_GetAttrString(errors, "PeerFault") : NULL;
    ResourceExhausted = PeerFault ? PyObject_GetAttrString(errors, "ResourceExhausted") : NULL;
    Py_XDECREF(errors);
    return ResourceExhausted ? 0 : -1;
}

PyMODINIT_FUNC PyInit__cdr(void) {
    PyObject *module = PyModule_Create(&definition);
    if (module && (take_errors() || sample_register(module) || frame_register(module) || ends_register(module)))
        Py_CLEAR(module);
    return module;
}
