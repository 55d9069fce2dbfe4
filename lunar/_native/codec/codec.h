/* The FlatBuffers codec: message objects that are written in place and read without a copy.
 *
 * A Plan says how one table or struct lies in memory; it is compiled once from a schema (lunar/messages/plan.py).  A
 * Message is an instance of a class that belongs to a plan, in one of two states:
 *
 *   values   a table that the user builds: one Python object a field, NULL where nothing was set;
 *   bytes    a table or struct that lies in a buffer: fields are read when they are asked for.  A struct is always in this
 *            state, in memory of its own if nobody else's.
 *
 * Trust.  A buffer may come from a hostile process, which may even change it while we look.  So every step of every
 * read checks its bounds against the buffer, and what was verified once is not believed later.  Offsets are held in 64
 * bits, of which a buffer needs 31: no sum of two of them overflows.
 *
 * Writing goes from low addresses to high: first a table, then what its fields point to.  A small message is drafted in
 * memory at hand; a large one is written twice, first without a target.  Either way the exact size is known, and what
 * cannot be written is refused, before any memory is taken.
 */
#ifndef LUNAR_CODEC_H
#define LUNAR_CODEC_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <structmember.h>

#ifdef Py_LIMITED_API
#undef Py_INCREF
#define Py_INCREF(o) Py_INCREF((PyObject *)(o))
#undef Py_XINCREF
#define Py_XINCREF(o) Py_XINCREF((PyObject *)(o))
#undef Py_DECREF
#define Py_DECREF(o) Py_DECREF((PyObject *)(o))
#undef Py_XDECREF
#define Py_XDECREF(o) Py_XDECREF((PyObject *)(o))
#undef Py_TYPE
#define Py_TYPE(o) Py_TYPE((PyObject *)(o))
#undef PyObject_TypeCheck
#define PyObject_TypeCheck(o, type) PyObject_TypeCheck((PyObject *)(o), type)
#endif

#define MAX_DEPTH 64
#define MAX_VTABLES 16
#define MAX_BYTES ((uint64_t)1 << 31) /* offsets are signed 32-bit numbers at places */

/* Keep in step with lunar/messages/plan.py. */
enum kind { SCALAR, STRING, STRUCT, TABLE, UNION, SCALARS, STRINGS, STRUCTS, TABLES, UNIONS };
enum base { BOOL, INT8, UINT8, INT16, UINT16, INT32, UINT32, INT64, UINT64, FLOAT32, FLOAT64 };
enum flag { OPTIONAL = 1, REQUIRED = 2, NULLABLE = 4 };

struct Plan;

typedef struct {
    uint8_t tag;
    bool is_string;
    struct Plan *plan; /* of a table or struct; NULL also after the collector took a circle of plans apart */
} UnionMember;

typedef struct {
    PyObject *name;
    uint8_t kind, base, flags;
    uint16_t id;          /* place in the vtable; of a union that of its value, the tag's lies before it */
    uint32_t offset;      /* in a struct */
    uint32_t size, align; /* of the field where it lies in its table or struct, or of a vector's element */
    uint32_t length;      /* of a fixed array in a struct, else 0 */
    uint32_t exactly;     /* elements that a vector must have, 0: any number */
    uint32_t multiple;    /* ... or of which number it must have a multiple */
    uint32_t axes;        /* of the shape in which its array is seen; 0 and 1 are the same */
    uint32_t *shape;      /* [axes], 0: any length */
    uint64_t default_bits;
    PyObject *absent; /* what an absent field reads as; of vectors, None or an empty tuple */
    struct Plan *sub;
    UnionMember *members;
    uint32_t member_count;
    PyObject *enum_class, *enum_members; /* members: a dict from number to member */
    PyObject *array;                     /* callable: buffer -> array, of SCALARS */
    PyObject *expected;                  /* for error messages: "float32" */
} FieldPlan;

typedef struct Plan {
    PyObject_HEAD
    PyObject *name, *cls, *index; /* cls: the message class; index: name -> place in `fields` */
    bool is_struct;
    uint32_t size, align; /* of a struct */
    bool identified;
    char identifier[4];
    uint32_t count, slots; /* fields, and places in a vtable */
    FieldPlan *fields;
    uint32_t *order; /* fields by falling size, so that a table needs no padding between them */
} Plan;

/* Memory that views look at: a buffer that somebody else exports, or private bytes. */
typedef struct {
    PyObject_HEAD
    Py_buffer buffer;
    uint8_t *owned; /* NULL: `buffer` is held */
    const uint8_t *bytes;
    uint64_t size;
    bool writable;
} Memory;

typedef struct {
    PyObject_HEAD
    Plan *plan;
    PyObject **values; /* [plan->count]; NULL in the bytes state */
    Memory *memory;
    uint64_t at; /* of the table or struct in the memory */
} Message;

/* A vector in a buffer, of anything but scalars. */
typedef struct {
    PyObject_HEAD
    Plan *plan;
    const FieldPlan *field;
    Memory *memory;
    uint64_t at, tags; /* of the first element, and of a vector of unions the first tag */
    uint32_t count;
} Elements;

typedef struct {
    PyObject_HEAD
    Plan *plan;
    uint32_t index;
} Field;

extern PyTypeObject *Plan_Type, *Memory_Type, *Message_Type, *Elements_Type, *Field_Type;
extern PyObject *FieldError, *VerificationError;

int plan_register(PyObject *module);
int memory_register(PyObject *module);
int message_register(PyObject *module);
int elements_register(PyObject *module);
int codec_register_type(PyObject *module, PyType_Spec *spec, PyTypeObject **slot);

/* memory.c */
Memory *memory_of(PyObject *exporter);
Memory *memory_lent(Py_buffer *buffer); /* writable; takes the buffer over, releases it where it fails */
Memory *memory_copy(const uint8_t *bytes, uint64_t size);
Memory *memory_new(uint64_t size); /* private and zero */
PyObject *memory_slice(Memory *memory, uint64_t at, uint64_t size, bool writable);

/* Does [at, at + size) lie inside? */
static inline bool within(const Memory *memory, uint64_t at, uint64_t size) {
    return size <= memory->size && at <= memory->size - size;
}
/* Somebody may write at the same time, so a compiler may not load twice: what was checked is what is used. */
typedef struct __attribute__((packed, may_alias)) {
    uint16_t value;
} Anywhere16;
typedef struct __attribute__((packed, may_alias)) {
    uint32_t value;
} Anywhere32;
static inline uint8_t load_u8(const uint8_t *from) { return *(const volatile uint8_t *)from; }
static inline uint16_t load_u16(const uint8_t *from) { return ((const volatile Anywhere16 *)from)->value; }
static inline uint32_t load_u32(const uint8_t *from) { return ((const volatile Anywhere32 *)from)->value; }
static inline int32_t load_i32(const uint8_t *from) { return (int32_t)load_u32(from); }
static inline uint64_t align_up(uint64_t at, uint64_t alignment) { return (at + alignment - 1) & ~(alignment - 1); }

/* Raise, and return NULL. */
PyObject *refuse_value(const Plan *plan, const FieldPlan *field, PyObject *got, const char *expected);
PyObject *refuse_bytes(const Plan *plan, const char *what);

/* scalars.c: a scalar's bits (of a float32 those of the float, zero-extended). */
int scalar_bits(const Plan *plan, const FieldPlan *field, PyObject *value, uint64_t *bits); /* 0, or -1 and an exception */
PyObject *scalar_object(const FieldPlan *field, uint64_t bits);
uint64_t scalar_load(uint8_t base, const uint8_t *from);
void scalar_store(uint8_t base, uint8_t *to, uint64_t bits);
bool scalar_format_fits(const char *format, Py_ssize_t item_bytes, uint8_t base);
extern const uint8_t scalar_sizes[];

/* read.c */
/* Tables may share what they point to, so a few bytes can describe a huge message. What is read as a whole may therefore
 * visit no more bytes than the verifier lets pass; one's own memory is not limited, since nothing in it is shared. */
#define UNLIMITED UINT64_MAX
static inline uint64_t budget_of(const Memory *memory) { return memory->owned ? UNLIMITED : 4 * memory->size + 65536; }
int spend(const Plan *plan, uint64_t *budget, uint64_t bytes); /* 0, or -1 and an exception */
uint64_t cost_of(PyObject *value); /* of text and elements that were read; tables and numbers cost where they are visited */
PyObject *read_field(Message *self, const FieldPlan *field);
/* Where a field of a table lies: 1 there, 0 absent, -1 refused. */
int find_field(const Plan *plan, const Memory *memory, uint64_t table, uint32_t id, uint32_t size, uint64_t *at);
/* What an offset points to, at least so many bytes: 0 or -1. */
int follow(const Plan *plan, const Memory *memory, uint64_t at, uint64_t size, uint64_t *target);
int vector_at(const Plan *plan, const Memory *memory, uint64_t at, uint32_t element_bytes, uint64_t *first,
              uint32_t *count);
PyObject *read_string(const Plan *plan, const Memory *memory, uint64_t at);
Message *message_view(Plan *plan, Memory *memory, uint64_t at);
PyObject *empty_vector(const FieldPlan *field);
PyObject *read_union(Plan *plan, const FieldPlan *field, Memory *memory, uint8_t tag, uint64_t at);
const UnionMember *union_member(const FieldPlan *field, uint8_t tag);
const UnionMember *union_member_for(const FieldPlan *field, PyObject *value);

/* module.c */
Plan *usable(PyObject *plan);                                    /* or NULL and an exception */
int root_of(const Plan *plan, const Memory *memory, uint64_t *at); /* the root table or struct: 0 or -1 */

/* encoder.c */
PyObject *encoder_of(PyObject *plan);

/* reserve.c */
/* Fields by name, as to a vectorcall. Settled: nothing can change what will be written. */
Message *reservation(Plan *plan, PyObject *const *values, PyObject *names, bool *settled);

/* message.c */
bool class_is_plain(const Plan *plan);  /* neither the class nor its own class does anything when a message is made */
Message *message_blank(Plan *plan);     /* as its class makes it when it is given nothing */
/* The field; `guess` is its likely place. NULL and a FieldError if there is none of that name. */
const FieldPlan *field_named(const Plan *plan, uint32_t guess, PyObject *name, PyObject *value);
int set_field(Message *self, const FieldPlan *field, PyObject *value); /* 0, or -1 and an exception */
Message *message_copied(Message *self, uint64_t *budget);           /* a detached one, or NULL */
bool still_writable(const Message *self, const FieldPlan *field, PyObject *value); /* or an exception */

/* compare.c */
PyObject *message_compare(PyObject *self, PyObject *other, int operation);
int equal_lists(PyObject *left, PyObject *right, uint64_t *budget); /* 1, 0 or -1; also of None */

/* structs.c */
int write_struct(Message *self, const FieldPlan *field, PyObject *value); /* sets a field of a struct */
int copy_struct(uint8_t *to, const Message *from);                        /* to NULL: only checks */

/* convert.c: what a field may be set to, as it is then kept; a new reference or NULL. */
PyObject *convert_value(const Plan *plan, const FieldPlan *field, PyObject *value);
int message_thaw(Message *self); /* from bytes to values */

/* write.c */
typedef struct {
    uint8_t *out; /* NULL: only measure */
    uint64_t size, at;
    uint32_t depth, vtable_count, seen_bytes;
    uint64_t vtables[MAX_VTABLES]; /* where they were written, and behind one another what they say */
    uint8_t seen[512];
    uint64_t budget; /* for what is read from buffers of others: UNLIMITED, or what is left of it */
    bool incomplete; /* required fields may be absent: a copy is as its original */
    bool draft;   /* what does not fit is only measured, and `out` becomes NULL */
    bool reserve; /* make room for every scalar and struct, and for vectors given by their length */
} Target;
int write_message(Target *target, Message *message); /* 0 or -1; target->at is the size */

/* verify.c */
int verify_message(const Plan *plan, const Memory *memory); /* 0, or -1 and an exception */
bool is_utf8(const uint8_t *text, uint64_t length);

#endif
