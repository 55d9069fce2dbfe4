/* Module `lunar._native._bus`: registers the types, and turns errno into Lunar's exceptions. */
#include <pthread.h>

#include "bus.h"

uint32_t forks_so_far;

PyObject *WouldBlock, *ClosedError, *ResourceExhausted, *LunarError, *LunarTimeout, *TypeMismatch;
static PyObject *from_errno;

int register_type(PyObject *module, PyType_Spec *spec, PyObject *base, PyTypeObject **slot) {
    PyObject *type = base ? PyType_FromSpecWithBases(spec, base) : PyType_FromSpec(spec);
    if (!type)
        return -1;
    *slot = (PyTypeObject *)type; /* the module lives as long as the process */
    const char *name = strrchr(spec->name, '.');
    Py_INCREF(type);
    if (PyModule_AddObject(module, name + 1, type) < 0) {
        Py_DECREF(type);
        return -1;
    }
    return 0;
}

int raise_errno(int code, const char *doing) {
    if (code >= 0)
        return 0;
    PyObject *error = PyObject_CallFunction(from_errno, "is", code, doing);
    if (error) {
        PyErr_SetObject((PyObject *)Py_TYPE(error), error);
        Py_DECREF(error);
    }
    return -1;
}

static void count_fork(void) { forks_so_far++; }

int source_refuse(Source *source) {
    const char *what = PyObject_TypeCheck(source, Reader_Type) ? "subscription" : "publisher";
    if (source->forks != forks_so_far)
        PyErr_Format(LunarError, "this %s was made before a fork; make nodes in the process that uses them", what);
    else
        PyErr_Format(ClosedError, "the %s is closed", what);
    return FAILED;
}

static int take_errors(void) {
    struct {
        const char *name;
        PyObject **into;
    } wanted[] = {{"WouldBlock", &WouldBlock},
                  {"ClosedError", &ClosedError},
                  {"ResourceExhausted", &ResourceExhausted},
                  {"LunarError", &LunarError},
                  {"TimeoutError", &LunarTimeout},
                  {"TypeMismatch", &TypeMismatch},
                  {"from_errno", &from_errno}};
    PyObject *errors = PyImport_ImportModule("lunar.errors");
    if (!errors)
        return -1;
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++)
        if (!(*wanted[i].into = PyObject_GetAttrString(errors, wanted[i].name))) {
            Py_DECREF(errors);
            return -1;
        }
    Py_DECREF(errors);
    return 0;
}

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "lunar._native._bus",
    .m_doc = "What happens once per message: queues, samples, loans and waiting.",
    .m_size = -1,
};

PyMODINIT_FUNC PyInit__bus(void) {
    PyObject *module = PyModule_Create(&definition);
    if (!module)
        return NULL;
    if (pthread_atfork(NULL, NULL, count_fork)) {
        Py_DECREF(module);
        return PyErr_NoMemory();
    }
    if (take_errors() || mapping_register(module) || peer_register(module) || signal_register(module) ||
        waiter_register(module) || pump_register(module) || sample_register(module) || operation_register(module) ||
        reader_match_register(module) || reader_register(module) || writer_match_register(module) ||
        loan_register(module) || writer_register(module) || parcel_register(module) ||
        inlet_register(module) ||
        PyModule_AddIntConstant(module, "MIN_SLOTS", LUNAR_MIN_SLOTS) ||
        PyModule_AddIntConstant(module, "BELLS", LUNAR_BELLS)) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
