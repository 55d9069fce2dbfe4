/* Sample: one message as received; it exports the payload as a read-only buffer, and gives the slot back to the
 * publisher when its last view is gone.  SampleInfo: what is known about it.
 */
#include "bus.h"

PyTypeObject *Sample_Type, *SampleInfo_Type;

/* Samples are made and dropped once per message: keep some of the memory. */
#define FREE_SAMPLES 1024
static Sample *free_samples[FREE_SAMPLES];
static int free_count;

typedef struct {
    PyObject_HEAD
    unsigned long long sequence_number, source_time_ns, reception_time_ns;
    PyObject *publisher_id;
} SampleInfo;

Sample *sample_new(ReaderMatch *match, const lunar_entry *entry, const void *address, uint64_t time_ns) {
    Sample *self;
    if (free_count) {
        self = free_samples[--free_count];
        PyObject_Init((PyObject *)self, Sample_Type);
    } else {
        self = PyObject_New(Sample, Sample_Type);
        if (!self)
            return NULL;
    }
    Py_INCREF(match);
    self->match = match;
    self->address = address;
    self->size_bytes = entry->size_bytes;
    self->slot = entry->slot;
    self->sequence = entry->sequence;
    self->source_time_ns = entry->source_time_ns;
    self->reception_time_ns = time_ns;
    self->decode = self->info = NULL;
    match->held++;
    return self;
}

static void sample_dealloc(Sample *self) {
    PyTypeObject *type = Py_TYPE(self);
    reader_match_release(self->match, self->slot);
    Py_DECREF(self->match);
    Py_CLEAR(self->decode);
    Py_CLEAR(self->info);
    if (free_count < FREE_SAMPLES)
        free_samples[free_count++] = self;
    else
        PyObject_Free(self);
    Py_DECREF(type);
}

static int sample_getbuffer(Sample *self, Py_buffer *view, int flags) {
    return PyBuffer_FillInfo(view, (PyObject *)self, (void *)self->address, self->size_bytes, 1, flags);
}

PyObject *sample_message(Sample *self) {
    PyObject *view = PyMemoryView_FromObject((PyObject *)self);
    if (!view || !self->decode)
        return view;
    PyObject *message = PyObject_CallFunctionObjArgs(self->decode, view, NULL);
    Py_DECREF(view);
    return message;
}

static PyObject *get_message(Sample *self, void *Py_UNUSED(closure)) { return sample_message(self); }

/* Times cross as CLOCK_MONOTONIC, which no clock step disturbs, and are shown as wall-clock time: what lies between the
 * two now.  Between two readings the kernel may let somebody else run, so the closest of a few is taken. */
uint64_t wall_offset_ns(void) {
    uint64_t offset = 0, closest = UINT64_MAX;
    for (int tries = 0; tries < 3 && closest > 1000; tries++) {
        struct timespec wall;
        uint64_t before = now_ns();
        clock_gettime(CLOCK_REALTIME, &wall);
        uint64_t between = now_ns() - before;
        if (between < closest) {
            closest = between;
            offset = (uint64_t)wall.tv_sec * 1000000000u + (uint64_t)wall.tv_nsec - (before + between / 2);
        }
    }
    return offset;
}

static PyObject *get_info(Sample *self, void *Py_UNUSED(closure)) {
    if (self->info) {
        Py_INCREF(self->info);
        return self->info;
    }
    SampleInfo *info = PyObject_New(SampleInfo, SampleInfo_Type);
    if (!info)
        return NULL;
    uint64_t offset = wall_offset_ns();
    info->sequence_number = self->sequence;
    info->source_time_ns = self->source_time_ns + offset;
    info->reception_time_ns = self->reception_time_ns + offset;
    Py_INCREF(self->match->publisher_id);
    info->publisher_id = self->match->publisher_id;
    self->info = (PyObject *)info;
    Py_INCREF(info);
    return self->info;
}

/* `message, info = sample` */
static Py_ssize_t sample_length(Sample *Py_UNUSED(self)) { return 2; }

static PyObject *sample_item(Sample *self, Py_ssize_t index) {
    if (index == 0)
        return get_message(self, NULL);
    if (index == 1)
        return get_info(self, NULL);
    PyErr_SetString(PyExc_IndexError, "a sample has a message and an info");
    return NULL;
}

static PyObject *sample_repr(Sample *self) {
    return PyUnicode_FromFormat("Sample(<%u bytes>, sequence_number=%llu, publisher_id=%R)", self->size_bytes,
                                (unsigned long long)self->sequence, self->match->publisher_id);
}

static void info_dealloc(SampleInfo *self) {
    PyTypeObject *type = Py_TYPE(self);
    Py_DECREF(self->publisher_id);
    PyObject_Free(self);
    Py_DECREF(type);
}

static PyObject *info_repr(SampleInfo *self) {
    return PyUnicode_FromFormat(
        "SampleInfo(sequence_number=%llu, source_time_ns=%llu, reception_time_ns=%llu, publisher_id=%R)",
        self->sequence_number, self->source_time_ns, self->reception_time_ns, self->publisher_id);
}

static PyGetSetDef sample_getset[] = {
    {"message", (getter)get_message, NULL, "The message; for bytes a read-only memoryview of the sender's memory.",
     NULL},
    {"info", (getter)get_info, NULL, "Sequence number, source and reception time, publisher id.", NULL},
    {NULL}};
static PyMemberDef sample_members[] = {
    {"size_bytes", T_UINT, offsetof(Sample, size_bytes), READONLY, "Size of the payload."},
    {"sequence_number", T_ULONGLONG, offsetof(Sample, sequence), READONLY, "As in info, without making one."},
    {NULL}};
static PyMethodDef sample_methods[] = {
    {"__class_getitem__", (PyCFunction)Py_GenericAlias, METH_O | METH_CLASS, NULL},
    {NULL}};
static PyType_Slot sample_slots[] = {{Py_tp_methods, sample_methods},
                                     {Py_tp_dealloc, sample_dealloc},  {Py_tp_getset, sample_getset},
                                     {Py_tp_members, sample_members},  {Py_tp_repr, sample_repr},
                                     {Py_sq_length, sample_length},    {Py_sq_item, sample_item},
                                     {Py_bf_getbuffer, sample_getbuffer}, {0, NULL}};
static PyType_Spec sample_spec = {
    .name = "lunar._native._bus.Sample",
    .basicsize = sizeof(Sample),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = sample_slots};

static PyMemberDef info_members[] = {
    {"sequence_number", T_ULONGLONG, offsetof(SampleInfo, sequence_number), READONLY, "From 1, per publisher."},
    {"source_time_ns", T_ULONGLONG, offsetof(SampleInfo, source_time_ns), READONLY, "When it was published."},
    {"reception_time_ns", T_ULONGLONG, offsetof(SampleInfo, reception_time_ns), READONLY, "When it was taken."},
    {"publisher_id", T_OBJECT_EX, offsetof(SampleInfo, publisher_id), READONLY, "The publisher's id."},
    {NULL}};
static PyType_Slot info_slots[] = {
    {Py_tp_dealloc, info_dealloc}, {Py_tp_members, info_members}, {Py_tp_repr, info_repr}, {0, NULL}};
static PyType_Spec info_spec = {
    .name = "lunar._native._bus.SampleInfo",
    .basicsize = sizeof(SampleInfo),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_IMMUTABLETYPE | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .slots = info_slots};

int sample_register(PyObject *module) {
    return register_type(module, &sample_spec, NULL, &Sample_Type) ||
           register_type(module, &info_spec, NULL, &SampleInfo_Type);
}
