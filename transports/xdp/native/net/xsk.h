/* A port over AF_XDP: datagrams between this process and an interface, past the kernel's network stack.
 *
 * Theory.  The filter on the interface gives the frames for our port to one AF_XDP socket for each queue.  `receive`
 * looks into the RX rings and gives pointers into the frames; `release` lets the kernel have them again, some at a
 * time.  A datagram to send is written at its place in a free frame, the headers are put in front of it, and `flush`
 * tells the kernel of all of them at once.  All is sent by the first queue's socket: who sends is one thread, so more
 * would gain nothing.
 *
 * Frames that no parser takes are counted (`rejected`) and go back.  A peer can make this process do no more than
 * that.
 *
 * With a link that is down `flush` says -ENETDOWN, and what was committed stays; it works again when the link is up.
 * An interface that is gone does not come back: `flush` and `receive` say -ENODEV from then on.
 */
#ifndef LUNAR_XDP_XSK_H
#define LUNAR_XDP_XSK_H

#include "filter.h"
#include "frame.h"
#include "port.h"

typedef struct {
    uint32_t interface;       /* its index */
    uint16_t port;            /* UDP: best one that this process has bound a socket to, so nobody else takes it */
    uint8_t ipv4[4];          /* this machine's on that interface; zero: none */
    uint8_t ipv6[16];
    lunar_filter_mode mode;
    bool copy;                /* also where the driver could do without */
    uint32_t rx_frames;       /* a queue; a power of two; 0: 2048 */
    uint32_t tx_frames;       /* likewise; 0: 1024 */
} lunar_xsk_options;

typedef struct {
    bool native, zero_copy, frags;
    uint32_t queues, frame_bytes, program_id;
    uint64_t memory_bytes;
    const char *not_native; /* why not; valid until the port is closed */
} lunar_xsk_description;

/* 0 and the port, or a negative errno and the reason.  -EBUSY: another program or process has the interface. */
int lunar_xsk_open(lunar_port **port, const lunar_xsk_options *options, lunar_reason *reason);

void lunar_xsk_describe(const lunar_port *port, lunar_xsk_description *description);

/* For its counters, and for the multicast groups to listen to. */
lunar_filter *lunar_xsk_filter(lunar_port *port);

/* Ask the kernel how many it has dropped: also done before each sleep. */
void lunar_xsk_refresh(lunar_port *port);

#endif
