"""Builds `lunar._native._control`: the C core's control side, through cffi in API mode.

What happens once per message is in the CPython types of `lunar._native._bus`; what happens once per match, publisher or
process is here. Sizes and limits are read from the C headers, never copied into Python.
"""

from pathlib import Path

from cffi import FFI

CORE = Path("lunar/_native/core")

ffibuilder = FFI()
ffibuilder.cdef(
    """
    #define LUNAR_MIN_SLOTS ...
    #define LUNAR_MAX_CAPACITY ...
    #define LUNAR_BELLS ...
    #define LUNAR_LAYOUT_VERSION ...
    static const size_t BELL_PAGE_BYTES;

    int lunar_memory_create(const char *name, size_t size_bytes);
    int lunar_memory_seal(int fd, int read_only);
    int lunar_memory_check(int fd, size_t size_bytes);
    size_t lunar_queue_bytes(uint32_t capacity, uint32_t slots);
    void lunar_bell_page_init(void *page);

    typedef struct { int32_t fd; uint32_t rung; ...; } lunar_doorbell;
    #define LUNAR_DOORBELL_RUNG ...
    #define LUNAR_DOORBELL_MATCHED ...
    void *lunar_doorbell_ringer(int matched);
    int lunar_doorbell_answer(lunar_doorbell *doorbell);

    #define SOL_SOCKET ...
    #define LUNAR_SO_PEERGROUPS ...
    int getsockopt(int socket, int level, int option, void *value, unsigned int *length);
    """
)
ffibuilder.set_source(
    "lunar._native._control",
    """
    #include <sys/socket.h>
    #include "doorbell.h"
    #include "layout.h"
    #include "memory.h"

    #ifdef SO_PEERGROUPS
    #define LUNAR_SO_PEERGROUPS SO_PEERGROUPS
    #else /* an older C library than kernel */
    #define LUNAR_SO_PEERGROUPS 59
    #endif

    static const size_t BELL_PAGE_BYTES = sizeof(lunar_bell_page);

    static void lunar_bell_page_init(void *memory) {
        lunar_bell_page *page = memory;
        page->magic = LUNAR_BELL_MAGIC;
        page->version = LUNAR_LAYOUT_VERSION;
        page->bells = LUNAR_BELLS;
    }

    static void *lunar_doorbell_ringer(int matched) {
        return matched ? (void *)lunar_doorbell_ring_matched : (void *)lunar_doorbell_ring;
    }
    """,
    sources=[str(CORE / "doorbell.c"), str(CORE / "memory.c")],
)

if __name__ == "__main__":
    ffibuilder.compile(verbose=True)
