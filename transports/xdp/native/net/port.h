/* A port: where datagrams leave and come, whatever carries them (AF_XDP, UDP sockets, or memory in tests).
 *
 * One thread at a time.  Nothing here blocks.  Times are CLOCK_MONOTONIC in nanoseconds unless it says otherwise.
 */
#ifndef LUNAR_XDP_PORT_H
#define LUNAR_XDP_PORT_H

#include <stdbool.h>
#include <stdint.h>

/* Where a datagram goes, resolved before by whoever opens a stream: routes and neighbours are not looked up here. */
typedef struct {
    uint8_t family;      /* 4 or 6 */
    uint8_t priority;    /* PCP of a VLAN tag, 0 to 7 */
    uint16_t vlan;       /* VLAN id, 0: no tag */
    uint16_t port;       /* UDP, host order */
    uint16_t mtu;        /* of the path: IP packets are no longer */
    uint8_t mac[6];      /* of the next hop; not used by backends that send through the kernel */
    uint8_t address[16]; /* network order; IPv4 in the first four */
} lunar_destination;

typedef struct {
    const uint8_t *bytes; /* the UDP payload */
    uint32_t size_bytes;
    uint8_t family;
    uint16_t port; /* of the sender, host order */
    uint8_t address[16];
} lunar_datagram;

typedef struct lunar_port lunar_port;

typedef struct {
    /* What has come, at most `most`; stays valid until `release`.  How many, or a negative errno.  No system call
     * where the backend can do without. */
    int (*receive)(lunar_port *port, lunar_datagram *datagrams, int most);
    /* All that was received may be overwritten. */
    void (*release)(lunar_port *port);
    /* Whether `receive` might find something: a look at memory where the backend can, so that it can be spun on. */
    bool (*has_input)(lunar_port *port);

    /* Where to write the payload of one datagram, and how long it may be; NULL: no room now, `fd` tells when there is
     * (or a later call does); with `*room_bytes` 0: never to this destination.  One at a time: `commit` or `cancel` is
     * next. */
    uint8_t *(*begin)(lunar_port *port, const lunar_destination *to, uint32_t *room_bytes);
    /* Send it: at the latest with the next `flush`.  `transmit_ns` (TAI) is kept where the backend can, 0: now. */
    void (*commit)(lunar_port *port, uint32_t size_bytes, uint64_t transmit_ns);
    void (*cancel)(lunar_port *port);
    /* Hand over what was committed.  0, or a negative errno for what concerns the port as a whole (ENETDOWN). */
    int (*flush)(lunar_port *port);

    /* Call before sleeping on `fd`: arms whatever has to be (need-wakeup).  False: do not sleep, there is something. */
    bool (*prepare_sleep)(lunar_port *port);
    void (*close)(lunar_port *port);
} lunar_port_kind;

struct lunar_port {
    const lunar_port_kind *kind;
    int fd;               /* readable when something has come, after `prepare_sleep`; -1 in tests */
    uint16_t port;        /* UDP, host order: where it receives */
    uint64_t received, received_bytes, sent, sent_bytes; /* datagrams and their payload */
    uint64_t rejected;    /* frames that were no datagram for us after all */
    uint64_t dropped;     /* that the kernel or the NIC says it has dropped for want of room here */
    uint64_t unsent;      /* committed, and given up: the kernel would not take them */
    uint32_t largest_bytes; /* the longest payload that it can receive */
};

#endif
