/* One AF_XDP socket, bound to one queue of an interface, with its own memory (UMEM).
 *
 * Memory of its own, and not one for all queues: then a queue that goes wrong takes nothing with it, each may be
 * copied or not as its driver has it, and no frame has to find its way home.  What it costs is that a frame received
 * by one queue cannot be sent by another, and nobody forwards here.
 *
 * The first frames of the memory are for receiving, and go round: fill ring, kernel, RX ring, us.  The others are for
 * sending: our stack of free ones, TX ring, kernel, completion ring.
 */
#ifndef LUNAR_XDP_XSK_QUEUE_H
#define LUNAR_XDP_XSK_QUEUE_H

#include "reason.h"
#include "ring.h"

typedef struct {
    uint32_t interface, queue;
    uint32_t frame_bytes;  /* 2048 or 4096 */
    uint32_t rx_frames;    /* powers of two */
    uint32_t tx_frames;    /* 0: does not send */
    bool copy;             /* also where the driver could do without */
} lunar_xsk_queue_options;

typedef struct {
    int fd;
    uint32_t queue;
    bool zero_copy;
    uint32_t frame_bytes;
    uint8_t *memory;
    size_t memory_bytes;
    lunar_ring fill, completion, rx, tx;
    uint32_t released; /* of `rx`: may be given back; between its `told` and its `own` */
} lunar_xsk_queue;

/* Open, bound, and ready to receive: 0.  Else a negative errno, the reason, and nothing to close.  May wait for a
 * quarter of a second when the queue has another socket. */
int lunar_xsk_queue_open(lunar_xsk_queue *queue, const lunar_xsk_queue_options *options, lunar_reason *reason);
void lunar_xsk_queue_close(lunar_xsk_queue *queue);

/* Give what was released back to the kernel. */
void lunar_xsk_queue_refill(lunar_xsk_queue *queue);

/* Have the kernel send what was submitted.  0, also when it can take no more now; or a negative errno. */
int lunar_xsk_queue_kick(lunar_xsk_queue *queue);

/* Frames for us that the kernel has dropped for want of room; 0 if it does not tell. */
uint64_t lunar_xsk_queue_dropped(const lunar_xsk_queue *queue);

#endif
