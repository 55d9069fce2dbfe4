/* Module `lunar_xdp._xdp`: registers the types, and finds what it needs of the bus. */
#include "glue.h"

PyObject *Parcel_Class;
const lunar_bus_api *bus;

int register_type(PyObject *module, PyType_Spec *spec, PyTypeObject **slot) {
    PyObject *type = PyType_FromSpec(spec);
    if (!type)
        return -1;
    *slot = (PyTypeObject *)type; /* the module lives as long as the process */
    return PyModule_AddType(module, *slot);
}

static int find_bus(void) {
    PyObject *module = PyImport_ImportModule("lunar._native._bus"); /* a capsule's import finds only what is loaded */
    Parcel_Class = module ? PyObject_GetAttrString(module, "Parcel") : NULL;
    Py_XDECREF(module);
    if (!Parcel_Class || !(bus = PyCapsule_Import(LUNAR_BUS_CAPSULE, 0)))
        return -1;
    if (bus->version == LUNAR_ENGINE_API_VERSION)
        return 0;
    PyErr_SetString(PyExc_ImportError, "this is of another version of Lunar");
    return -1;
}

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT,
                                        .m_name = "_xdp",
                                        .m_doc = "The protocol engine of the accelerated path, and its ports.",
                                        .m_size = -1};

PyMODINIT_FUNC PyInit__xdp(void) {
    PyObject *module = PyModule_Create(&definition);
    if (!module)
        return NULL;
    if (find_bus() || port_register(module) || engine_register(module) || outgoing_register(module) ||
        incoming_register(module)) {
        Py_DECREF(module);
        return NULL;
    }
    return module;
}
