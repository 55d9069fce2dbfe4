/* What the two halves of a UDP port share; `socket.h` is what others see. */
#ifndef LUNAR_XDP_UDP_H
#define LUNAR_XDP_UDP_H

#include <netinet/in.h>
#include <netinet/udp.h>
#include <sys/socket.h>

#include "port.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif
#ifndef UDP_GRO
#define UDP_GRO 104
#endif

enum {
    SLOTS = 32,              /* to receive into; each may be many datagrams that the kernel has joined */
    SLOT_BYTES = 65536,
    RUNS = 64,
    ARENA_BYTES = 1 << 19,
    MOST_SEGMENTS = 64,      /* that all kernels with UDP_SEGMENT take */
    MOST_BYTES = 65507,      /* of one datagram, and of one run */
    CONTROL_BYTES = 64,
    LOOKS_AWAKE = 256,       /* without going to sleep: some ten microseconds */
};

typedef union {
    struct sockaddr any;
    struct sockaddr_in ipv4;
    struct sockaddr_in6 ipv6;
} address;

typedef union {
    struct cmsghdr header; /* aligns it */
    char bytes[CONTROL_BYTES];
} control;

/* Datagrams to one destination that lie side by side, all `segment_bytes` long but the last one, which may be
 * shorter. */
typedef struct {
    lunar_destination to;
    address address;
    uint32_t start, size_bytes, segment_bytes, count;
} run;

typedef struct {
    lunar_port port; /* first */
    int socket;
    uint8_t family;
    uint32_t interface;
    bool offload, gso, gro, starved;
    bool watched, watches_tx;      /* by the epoll instance */
    uint32_t looks;                /* for input, since it last prepared to sleep */
    int error;                     /* found by `has_input`, to be told by `receive` */
    uint32_t overflow;             /* the kernel's count of drops, modulo 2^32 */

    uint8_t *slots;
    uint32_t filled, cursor, batch;
    uint32_t offset;               /* in the slot at the cursor: where the next datagram begins */
    bool held;                     /* somebody has pointers into the slots before the cursor */
    struct mmsghdr received[SLOTS];
    struct iovec received_at[SLOTS];
    address senders[SLOTS];
    control received_control[SLOTS];
    uint32_t segment_bytes[SLOTS];

    uint8_t *arena;
    uint32_t tail;                 /* where the next datagram is written */
    uint32_t first_run, run_count; /* to be sent: from the first one on */
    uint32_t priority;             /* that the socket has now */
    lunar_destination to;          /* of the one that is being written */
    run runs[RUNS];
} udp;

bool lunar_udp_has_input(lunar_port *port);
int lunar_udp_receive(lunar_port *port, lunar_datagram *datagrams, int most);
void lunar_udp_release(lunar_port *port);
/* Before sleep: have the epoll instance watch the socket, and ask the kernel how many it has dropped. */
void lunar_udp_watch(udp *self);
void lunar_udp_ask_dropped(udp *self);

uint8_t *lunar_udp_begin(lunar_port *port, const lunar_destination *to, uint32_t *room_bytes);
void lunar_udp_commit(lunar_port *port, uint32_t size_bytes, uint64_t transmit_ns);
void lunar_udp_cancel(lunar_port *port);
int lunar_udp_flush(lunar_port *port);
bool lunar_udp_fill_address(const udp *self, address *to, const lunar_destination *destination);
socklen_t lunar_udp_address_bytes(const udp *self);

#endif
