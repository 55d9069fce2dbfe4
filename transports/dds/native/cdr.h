/* What is used of Cyclone DDS 11 once per sample.
 *
 * From its public headers, cut down to what we read.  Nothing is linked: the functions are those of the library that
 * the cyclonedds package has loaded, and their addresses come from there (`bind`).
 */
#ifndef LUNAR_DDS_CDR_H
#define LUNAR_DDS_CDR_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <structmember.h>

#ifdef Py_LIMITED_API /* its headers take PyObject * only; the full ones cast */
#undef Py_INCREF
#define Py_INCREF(o) Py_INCREF((PyObject *)(o))
#undef Py_DECREF
#define Py_DECREF(o) Py_DECREF((PyObject *)(o))
#undef Py_TYPE
#define Py_TYPE(o) Py_TYPE((PyObject *)(o))
#endif

#define CDR_HEADER_BYTES 4

typedef struct {
    void *iov_base;
    size_t iov_len;
} Iovec;

struct Sertype;

typedef struct {
    const void *ops;
    uint32_t hash;
    uint32_t refc;
    int kind;
    const struct Sertype *type;
    int64_t timestamp;
    uint32_t statusinfo;
    int64_t twrite;
    void *loan;
} Serdata;

typedef struct {
    unsigned sample_state, view_state, instance_state;
    bool valid_data;
    int64_t source_timestamp;
    uint64_t instance_handle, publication_handle;
    uint32_t disposed_generation_count, no_writers_generation_count;
    uint32_t sample_rank, generation_rank, absolute_generation_rank;
} SampleInfo;

typedef struct {
    Serdata *(*from_ser_iov)(const struct Sertype *, int, size_t, const Iovec *, size_t);
    Serdata *(*to_ser_ref)(const Serdata *, size_t, size_t, Iovec *);
    void (*to_ser_unref)(Serdata *, const Iovec *);
    Serdata *(*ref)(const Serdata *);
    void (*unref)(Serdata *);
    uint32_t (*size)(const Serdata *);
    int32_t (*forwardcdr)(int32_t, Serdata *);
    int32_t (*takecdr)(int32_t, Serdata **, uint32_t, SampleInfo *, uint32_t);
} Cyclone;

extern Cyclone cyclone;
extern PyObject *PeerFault, *ResourceExhausted, *fail; /* `fail` raises for an error code of the library */
extern PyTypeObject *Sample_Type, *Frame_Type;

/* sample.c */
PyObject *sample_own(Serdata *data); /* takes over a reference, even if it fails */
PyObject *sample_taken(Serdata *data, const SampleInfo *info);
Serdata *sample_data(PyObject *sample); /* NULL with TypeError */
int sample_register(PyObject *module);

/* frame.c */
#define MOST_HEAD_BYTES 80 /* of a frame without an audience, CDR header included */
typedef struct {
    unsigned char kind;
    unsigned int session;
    const char *publisher; /* [16] */
    unsigned long long sequence, dropped, extra;
    long long time_ns;
} FrameHead;
size_t frame_begin(char *into, const FrameHead *head, uint32_t audience_bytes); /* up to the audience */
int frame_register(PyObject *module);

/* ends.c */
int ends_register(PyObject *module);

/* module.c */
int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject **slot);

#endif
