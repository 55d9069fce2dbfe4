/* Source: what Reader and Writer have in common, being waited for. */
#include "bus.h"

bool source_is_reader(Source *source) { return PyObject_TypeCheck((PyObject *)source, Reader_Type); }

bool source_is_ready(Source *source) {
    if (!source_is_open(source))
        return true; /* to be refused */
    return source_is_reader(source) ? reader_is_ready((Reader *)source) : writer_is_ready((Writer *)source);
}

static void use(Waiter *waiter, Source *source) {
    if (source_is_reader(source))
        reader_set_bell((Reader *)source, waiter->index);
    else
        writer_set_waiting((Writer *)source, waiter->index, 1);
}

int source_begin_wait(Source *source, Waiter *waiter) {
    if (source->waiting && source->waiter != waiter) {
        PyErr_SetString(LunarError, "this endpoint is already waited for in another event loop or thread; give each "
                                    "thread a subscription or publisher of its own");
        return -1;
    }
    use(waiter, source);
    return 0;
}

void source_end_wait(Source *source) {
    if (--source->waiting > 0)
        return;
    source->waiter = NULL;
    if (!source_is_reader(source))
        writer_set_waiting((Writer *)source, 0, 0);
}
