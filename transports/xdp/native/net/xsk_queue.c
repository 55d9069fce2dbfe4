#include "xsk_queue.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef XDP_MAX_TX_SKB_BUDGET
#define XDP_MAX_TX_SKB_BUDGET 9 /* Linux 6.17: how many frames one call may send in copy mode */
#endif

enum { BIND_WITHIN_MS = 250 };

static int map_ring(lunar_ring *ring, int fd, uint32_t entries, size_t slot_bytes, const struct xdp_ring_offset *at,
                    off_t where) {
    ring->map_bytes = at->desc + entries * slot_bytes;
    void *map = mmap(NULL, ring->map_bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, where);
    if (map == MAP_FAILED)
        return -errno;
    ring->map = map;
    ring->producer = (uint32_t *)((char *)map + at->producer);
    ring->consumer = (uint32_t *)((char *)map + at->consumer);
    ring->flags = (uint32_t *)((char *)map + at->flags);
    ring->slots = (char *)map + at->desc;
    ring->mask = entries - 1;
    return 0;
}

static int set_number(int fd, int option, uint32_t value) {
    return setsockopt(fd, SOL_XDP, option, &value, sizeof value) ? -errno : 0;
}

static int make_memory(lunar_xsk_queue *queue, const lunar_xsk_queue_options *options, lunar_reason *reason) {
    queue->memory_bytes = (size_t)options->frame_bytes * (options->rx_frames + options->tx_frames);
    void *memory = mmap(NULL, queue->memory_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE,
                        -1, 0);
    if (memory == MAP_FAILED)
        return lunar_reason_give(reason, -errno, "no memory for frames: %s", strerror(errno));
    queue->memory = memory;
    struct xdp_umem_reg registration = {
        .addr = (uint64_t)(uintptr_t)memory, .len = queue->memory_bytes, .chunk_size = options->frame_bytes};
    if (setsockopt(queue->fd, SOL_XDP, XDP_UMEM_REG, &registration, sizeof registration) == 0)
        return 0;
    if (errno == ENOBUFS)
        return lunar_reason_give(reason, -ENOBUFS,
                                 "%zu KiB of frames are more than this process may lock: raise the limit (ulimit -l), "
                                 "or grant CAP_IPC_LOCK",
                                 queue->memory_bytes / 1024);
    return lunar_reason_give(reason, -errno, "the kernel refuses the memory of frames: %s", strerror(errno));
}

static int make_rings(lunar_xsk_queue *queue, const lunar_xsk_queue_options *options, lunar_reason *reason) {
    struct xdp_mmap_offsets at;
    socklen_t size_bytes = sizeof at;
    uint32_t rx = options->rx_frames, tx = options->tx_frames, completion = tx ? tx : 1;
    int fd = queue->fd, error = set_number(fd, XDP_UMEM_FILL_RING, rx);
    if (!error)
        error = set_number(fd, XDP_UMEM_COMPLETION_RING, completion); /* bind asks for one also without a TX ring */
    if (!error)
        error = set_number(fd, XDP_RX_RING, rx);
    if (!error && tx)
        error = set_number(fd, XDP_TX_RING, tx);
    if (!error && getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, &at, &size_bytes))
        error = -errno;
    if (!error && size_bytes != sizeof at)
        error = -EPROTO;
    if (!error)
        error = map_ring(&queue->fill, fd, rx, sizeof(uint64_t), &at.fr, XDP_UMEM_PGOFF_FILL_RING);
    if (!error)
        error = map_ring(&queue->completion, fd, completion, sizeof(uint64_t), &at.cr, XDP_UMEM_PGOFF_COMPLETION_RING);
    if (!error)
        error = map_ring(&queue->rx, fd, rx, sizeof(struct xdp_desc), &at.rx, XDP_PGOFF_RX_RING);
    if (!error && tx)
        error = map_ring(&queue->tx, fd, tx, sizeof(struct xdp_desc), &at.tx, XDP_PGOFF_TX_RING);
    return error ? lunar_reason_give(reason, error, "the rings of an AF_XDP socket: %s", strerror(-error)) : 0;
}

/* The kernel takes a queue from a socket that was closed some time after that, in the background: so whoever comes
 * next, as after a crash, is refused at first. */
static int bind_patiently(int fd, const struct sockaddr_xdp *address) {
    const struct timespec pause = {.tv_nsec = 1000000};
    for (int tries = 0; bind(fd, (const struct sockaddr *)address, sizeof *address); tries++) {
        if (errno != EBUSY || tries == BIND_WITHIN_MS)
            return -errno;
        nanosleep(&pause, NULL);
    }
    return 0;
}

static int bind_it(lunar_xsk_queue *queue, const lunar_xsk_queue_options *options, lunar_reason *reason) {
    struct sockaddr_xdp address = {
        .sxdp_family = AF_XDP,
        .sxdp_flags = (uint16_t)(XDP_USE_NEED_WAKEUP | (options->copy ? XDP_COPY : 0)),
        .sxdp_ifindex = options->interface,
        .sxdp_queue_id = options->queue,
    };
    int error = bind_patiently(queue->fd, &address);
    if (!error) {
        struct xdp_options got = {0};
        socklen_t size_bytes = sizeof got;
        queue->zero_copy = getsockopt(queue->fd, SOL_XDP, XDP_OPTIONS, &got, &size_bytes) == 0 &&
                           got.flags & XDP_OPTIONS_ZEROCOPY;
        return 0;
    }
    if (error == -EBUSY)
        return lunar_reason_give(reason, error, "queue %u has an AF_XDP socket of another process", options->queue);
    return lunar_reason_give(reason, error, "queue %u takes no AF_XDP socket: %s", options->queue, strerror(-error));
}

/* What is larger than the default lets a burst go out with fewer calls; where it is refused all works too. */
static void enlarge(const lunar_xsk_queue *queue, const lunar_xsk_queue_options *options) {
    int bytes = 1 << 24; /* what is on its way in copy mode counts against it */
    if (setsockopt(queue->fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes))
        (void)setsockopt(queue->fd, SOL_SOCKET, SO_SNDBUF, &bytes, sizeof bytes);
    (void)set_number(queue->fd, XDP_MAX_TX_SKB_BUDGET, options->tx_frames);
}

int lunar_xsk_queue_open(lunar_xsk_queue *queue, const lunar_xsk_queue_options *options, lunar_reason *reason) {
    *queue = (lunar_xsk_queue){.fd = -1, .queue = options->queue, .frame_bytes = options->frame_bytes};
    queue->fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (queue->fd < 0)
        return lunar_reason_give(reason, -errno, "no AF_XDP socket: %s", strerror(errno));
    int error = make_memory(queue, options, reason);
    if (!error)
        error = make_rings(queue, options, reason);
    if (!error && options->tx_frames)
        enlarge(queue, options);
    for (uint32_t i = 0; !error && i < options->rx_frames; i++)
        *lunar_ring_frame(&queue->fill, queue->fill.own++) = (uint64_t)i * options->frame_bytes;
    if (!error) {
        lunar_ring_submit(&queue->fill);
        error = bind_it(queue, options, reason);
    }
    if (error)
        lunar_xsk_queue_close(queue);
    return error;
}

static void unmap_ring(lunar_ring *ring) {
    if (ring->map)
        munmap(ring->map, ring->map_bytes);
}

void lunar_xsk_queue_close(lunar_xsk_queue *queue) {
    if (queue->fd < 0)
        return;
    unmap_ring(&queue->fill);
    unmap_ring(&queue->completion);
    unmap_ring(&queue->rx);
    unmap_ring(&queue->tx);
    close(queue->fd);
    if (queue->memory)
        munmap(queue->memory, queue->memory_bytes);
    *queue = (lunar_xsk_queue){.fd = -1};
}

void lunar_xsk_queue_refill(lunar_xsk_queue *queue) {
    lunar_ring *rx = &queue->rx, *fill = &queue->fill;
    if (rx->told == queue->released)
        return;
    /* There are as many slots as frames, so there is room for all. */
    for (uint32_t index = rx->told; index != queue->released; index++)
        *lunar_ring_frame(fill, fill->own++) =
            lunar_ring_slot(rx, index)->addr & ~(uint64_t)(queue->frame_bytes - 1);
    lunar_ring_submit(fill);
    lunar_ring_give_back(rx, queue->released);
    if (lunar_ring_needs_wakeup(fill))
        (void)recvfrom(queue->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
}

int lunar_xsk_queue_kick(lunar_xsk_queue *queue) {
    uint32_t before = lunar_ring_pending(&queue->tx), after;
    while (before && lunar_ring_needs_wakeup(&queue->tx)) {
        int error = sendto(queue->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0 ? errno : 0;
        if (error && error != EAGAIN && error != EBUSY && error != ENOBUFS && error != EINTR)
            return -error;
        after = lunar_ring_pending(&queue->tx);
        if (after == before) /* it has no room: neither has another call */
            break;
        before = after; /* one call sends only so many */
    }
    return 0;
}

uint64_t lunar_xsk_queue_dropped(const lunar_xsk_queue *queue) {
    struct xdp_statistics got = {0};
    socklen_t size_bytes = sizeof got;
    if (getsockopt(queue->fd, SOL_XDP, XDP_STATISTICS, &got, &size_bytes))
        return 0;
    return got.rx_dropped + got.rx_ring_full; /* an empty fill ring counts as dropped too */
}
