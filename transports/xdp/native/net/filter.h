/* The filter: our XDP program on one interface, with its maps and its counters.
 *
 * It is attached by a BPF link, whose descriptor this process holds: however the process ends, the kernel takes the
 * program off the interface.  In the driver where that can do it (native), else in the kernel's generic hook, which
 * costs more.  An interface takes one program: if there is another one already, its name and id are told (-EBUSY).
 * Ours are called `lunar_<process id>`, so that one can see whose they are.
 *
 * Kernel: 5.9 for links; 5.18 for native mode with a large MTU.
 */
#ifndef LUNAR_XDP_FILTER_H
#define LUNAR_XDP_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "interface.h"
#include "reason.h"

typedef enum { LUNAR_FILTER_BEST, LUNAR_FILTER_NATIVE, LUNAR_FILTER_GENERIC } lunar_filter_mode;

typedef struct {
    uint64_t taken, passed, unserved; /* frames: see program.h */
} lunar_filter_counters;

typedef struct {
    int program, link, sockets, addresses, counters; /* descriptors, -1 when there is none */
    uint32_t program_id;
    bool native;
    bool frags;                 /* it takes frames in several buffers */
    lunar_reason not_native;    /* why not, if it is not */
} lunar_filter;

/* Whether this process can have AF_XDP sockets and a filter at all: 0, or a negative errno and what is missing. */
int lunar_filter_probe(lunar_reason *reason);

/* Attached when this returns 0, and passes everything until it is told sockets and addresses.  Else a negative
 * errno. */
int lunar_filter_open(lunar_filter *filter, const lunar_interface *interface, uint16_t port, lunar_filter_mode mode,
                      lunar_reason *reason);
void lunar_filter_close(lunar_filter *filter);

/* Load without attaching: all but `link`. */
int lunar_filter_load(lunar_filter *filter, uint16_t port, uint32_t queues, bool frags, lunar_reason *reason);

/* 0 or a negative errno, all three.  An address is one of this machine's, or of a multicast group. */
int lunar_filter_serve(lunar_filter *filter, uint32_t queue, int socket);
int lunar_filter_listen(lunar_filter *filter, uint8_t family, const uint8_t *address);
int lunar_filter_unlisten(lunar_filter *filter, uint8_t family, const uint8_t *address);

int lunar_filter_read(const lunar_filter *filter, lunar_filter_counters *counters);

#endif
