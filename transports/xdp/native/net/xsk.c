#include "xsk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "xsk_queue.h"

enum {
    TEMPLATES = 64,          /* destinations whose headers are kept; a power of two */
    LINK_BYTES = 18,         /* Ethernet and a tag */
    KERNEL_HEADROOM = 256,   /* which the kernel keeps in front of a frame that it received */
    REFILL_FRAMES = 64,      /* given back together */
    RECLAIM_FRAMES = 32,     /* sent, before we look which ones are done */
    MOST_QUEUES = 256,
    LOOKS_AWAKE = 4096,      /* without going to sleep: some ten microseconds */
};

static const uint8_t NO_ADDRESS[16];

typedef struct {
    lunar_destination to;
    lunar_frame_header header;
} template;

typedef struct {
    lunar_port port; /* first */
    lunar_filter filter;
    lunar_frame_source from;
    lunar_interface interface;
    lunar_xsk_queue *queues;
    uint32_t queue_count, next_queue;
    uint64_t *free; /* a stack of frames to send with */
    uint32_t free_count, tx_frames;
    bool starved; /* `begin` found none, and nobody has since */
    bool behind;  /* the kernel has not taken all that it was told of */
    bool watched, watches_tx; /* by the epoll instance */
    uint32_t looks;           /* for input, since it last prepared to sleep */
    int gone;     /* negative errno, for ever */
    template *open; /* between `begin` and `commit` */
    template templates[TEMPLATES];
} xsk;

/* ---- sleeping: only who sleeps has the epoll instance watch the sockets, because the kernel wakes what watches for
 * each batch of frames, and its sender pays for that */

static void watch(xsk *self) {
    struct epoll_event event = {.events = EPOLLIN};
    struct epoll_event first = {.events = EPOLLIN | (self->starved ? EPOLLOUT : 0)}; /* a full TX ring too, if it was */
    self->looks = 0;
    if (self->watched && self->watches_tx != self->starved)
        (void)epoll_ctl(self->port.fd, EPOLL_CTL_MOD, self->queues->fd, &first);
    for (uint32_t i = 0; !self->watched && i < self->queue_count; i++)
        (void)epoll_ctl(self->port.fd, EPOLL_CTL_ADD, self->queues[i].fd, i ? &event : &first);
    self->watches_tx = self->starved;
    self->watched = true;
}

static void unwatch(xsk *self) {
    for (uint32_t i = 0; i < self->queue_count; i++)
        (void)epoll_ctl(self->port.fd, EPOLL_CTL_DEL, self->queues[i].fd, NULL);
    self->watched = false;
}

static inline void look(xsk *self) {
    if (self->watched && ++self->looks > LOOKS_AWAKE)
        unwatch(self);
}

/* ---- receiving */

static inline int take(xsk *self, lunar_xsk_queue *queue, lunar_datagram *datagrams, int most) {
    lunar_ring *rx = &queue->rx;
    int count = 0;
    for (uint32_t left = lunar_ring_waiting(rx); left && count < most; left--) {
        const struct xdp_desc *slot = lunar_ring_slot(rx, rx->own++);
        if (left > 1)
            __builtin_prefetch(queue->memory + lunar_ring_slot(rx, rx->own)->addr);
        if (!lunar_frame_parse(queue->memory + slot->addr, slot->len, self->port.port, &datagrams[count])) {
            self->port.rejected++;
            continue;
        }
        self->port.received_bytes += datagrams[count].size_bytes;
        count++;
    }
    self->port.received += (uint64_t)count;
    return count;
}

static int xsk_receive(lunar_port *port, lunar_datagram *datagrams, int most) {
    xsk *self = (xsk *)port;
    int count = 0;
    if (self->gone)
        return self->gone;
    look(self);
    /* Begins with another queue each time, or the first one's peers could starve the others'. */
    uint32_t at = self->next_queue;
    for (uint32_t i = 0; i < self->queue_count && count < most; i++) {
        count += take(self, &self->queues[at], datagrams + count, most - count);
        at = at + 1 == self->queue_count ? 0 : at + 1;
    }
    self->next_queue = self->next_queue + 1 == self->queue_count ? 0 : self->next_queue + 1;
    return count;
}

static void xsk_release(lunar_port *port) {
    xsk *self = (xsk *)port;
    for (uint32_t i = 0; i < self->queue_count; i++) {
        lunar_xsk_queue *queue = &self->queues[i];
        queue->released = queue->rx.own;
        /* Not one by one: each time two cache lines go to the kernel's core and back. */
        if (queue->released - queue->rx.told >= REFILL_FRAMES)
            lunar_xsk_queue_refill(queue);
    }
}

static bool xsk_has_input(lunar_port *port) {
    xsk *self = (xsk *)port;
    look(self);
    for (uint32_t i = 0; i < self->queue_count; i++)
        if (lunar_ring_waiting(&self->queues[i].rx))
            return true;
    return self->gone != 0;
}

/* ---- sending */

static void reclaim(xsk *self) {
    lunar_ring *completion = &self->queues->completion;
    uint32_t done = lunar_ring_waiting(completion);
    if (!done)
        return;
    for (; done; done--)
        self->free[self->free_count++] = *lunar_ring_frame(completion, completion->own++);
    lunar_ring_give_back(completion, completion->own);
    self->starved = false;
}

static int fail(xsk *self, int error) {
    /* Unbound: the interface was removed. */
    if (error == -ENXIO || error == -ENODEV || error == -EBADF)
        error = self->gone = -ENODEV;
    return error;
}

static int xsk_flush(lunar_port *port) {
    xsk *self = (xsk *)port;
    lunar_xsk_queue *queue = self->queues;
    if (self->gone)
        return self->gone;
    bool submit = queue->tx.told != queue->tx.own;
    if (!submit && !self->behind)
        return 0;
    if (submit)
        lunar_ring_submit(&queue->tx);
    int error = lunar_xsk_queue_kick(queue);
    self->behind = lunar_ring_needs_wakeup(&queue->tx) && lunar_ring_pending(&queue->tx);
    if (self->tx_frames - self->free_count >= RECLAIM_FRAMES)
        reclaim(self);
    return error ? fail(self, error) : 0;
}

/* NULL: there is no way to it from here. */
static inline template *find_template(xsk *self, const lunar_destination *to) {
    uint32_t words[4];
    memcpy(words, to->address, sizeof words);
    uint32_t hash = words[0] ^ words[1] ^ words[2] ^ words[3];
    hash = (hash ^ to->port ^ (uint32_t)to->vlan << 16 ^ (uint32_t)to->priority << 8) * 0x9e3779b1u >> 16;
    template *found = &self->templates[hash % TEMPLATES];
    if (memcmp(&found->to, to, sizeof *to) == 0)
        return to->family ? found : NULL; /* an unused one is all zero */
    memset(found, 0, sizeof *found);
    if (memcmp(to->family == 6 ? self->from.ipv6 : self->from.ipv4, NO_ADDRESS, to->family == 6 ? 16 : 4) == 0)
        return NULL;
    if (!lunar_frame_prepare(&found->header, &self->from, to))
        return NULL;
    found->to = *to;
    return found;
}

static bool find_frame(xsk *self) {
    if (self->free_count)
        return true;
    reclaim(self);
    if (!self->free_count) {
        (void)xsk_flush(&self->port); /* perhaps all of them wait for that */
        reclaim(self);
    }
    return self->free_count != 0;
}

static uint8_t *xsk_begin(lunar_port *port, const lunar_destination *to, uint32_t *room_bytes) {
    xsk *self = (xsk *)port;
    template *found = find_template(self, to);
    uint32_t overhead = lunar_frame_overhead(to->family);
    uint32_t mtu = to->mtu < self->interface.mtu ? to->mtu : self->interface.mtu;
    *room_bytes = 0;
    if (!found || mtu <= overhead)
        return NULL;
    uint32_t most = self->queues->frame_bytes - LINK_BYTES;
    *room_bytes = (mtu < most ? mtu : most) - overhead;
    if (!find_frame(self)) {
        self->starved = true;
        return NULL;
    }
    self->open = found;
    return self->queues->memory + self->free[self->free_count - 1] + found->header.size_bytes;
}

static void xsk_commit(lunar_port *port, uint32_t size_bytes, uint64_t transmit_ns) {
    xsk *self = (xsk *)port;
    lunar_xsk_queue *queue = self->queues;
    uint64_t frame = self->free[--self->free_count];
    (void)transmit_ns; /* no driver is told yet: it goes now */
    uint32_t frame_bytes = lunar_frame_build(&self->open->header, queue->memory + frame, size_bytes);
    *lunar_ring_slot(&queue->tx, queue->tx.own++) = (struct xdp_desc){.addr = frame, .len = frame_bytes};
    self->port.sent++;
    self->port.sent_bytes += size_bytes;
}

static void xsk_cancel(lunar_port *port) { ((xsk *)port)->open = NULL; }

/* ---- before sleep, opening, closing */

static bool xsk_prepare_sleep(lunar_port *port) {
    xsk *self = (xsk *)port;
    for (uint32_t i = 0; i < self->queue_count; i++) {
        lunar_xsk_queue *queue = &self->queues[i];
        int error = 0;
        socklen_t size_bytes = sizeof error;
        lunar_xsk_queue_refill(queue); /* or the descriptor says that there is something */
        if (lunar_ring_needs_wakeup(&queue->fill))
            (void)recvfrom(queue->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
        if (getsockopt(queue->fd, SOL_SOCKET, SO_ERROR, &error, &size_bytes) == 0 && error)
            self->gone = -ENODEV; /* said once, and only of a removed interface */
    }
    if (self->starved)
        reclaim(self);
    lunar_xsk_refresh(port);
    watch(self);
    return !xsk_has_input(port) && !self->gone;
}

void lunar_xsk_refresh(lunar_port *port) {
    xsk *self = (xsk *)port;
    uint64_t dropped = 0;
    for (uint32_t i = 0; i < self->queue_count; i++)
        dropped += lunar_xsk_queue_dropped(&self->queues[i]);
    if (dropped > port->dropped) /* an interface that is gone tells no more */
        port->dropped = dropped;
}

static void xsk_close(lunar_port *port) {
    xsk *self = (xsk *)port;
    lunar_filter_close(&self->filter);
    for (uint32_t i = 0; i < self->queue_count; i++)
        lunar_xsk_queue_close(&self->queues[i]);
    if (port->fd >= 0)
        close(port->fd);
    free(self->queues);
    free(self->free);
    free(self);
}

static const lunar_port_kind KIND = {
    .receive = xsk_receive,
    .release = xsk_release,
    .has_input = xsk_has_input,
    .begin = xsk_begin,
    .commit = xsk_commit,
    .cancel = xsk_cancel,
    .flush = xsk_flush,
    .prepare_sleep = xsk_prepare_sleep,
    .close = xsk_close,
};

static int open_queues(xsk *self, const lunar_xsk_options *options, lunar_reason *reason) {
    uint32_t rx_frames = options->rx_frames ? options->rx_frames : 2048;
    uint32_t largest = self->interface.mtu + LINK_BYTES + KERNEL_HEADROOM;
    lunar_xsk_queue_options each = {.interface = options->interface,
                                    .frame_bytes = largest <= 2048 ? 2048 : 4096,
                                    .rx_frames = rx_frames,
                                    .copy = options->copy || !self->filter.native};
    uint32_t room = each.frame_bytes - KERNEL_HEADROOM - LINK_BYTES;
    self->port.largest_bytes = (self->interface.mtu < room ? self->interface.mtu : room) - lunar_frame_overhead(4);
    for (uint32_t queue = 0; queue < self->interface.queues; queue++) {
        each.queue = queue;
        each.tx_frames = queue ? 0 : self->tx_frames;
        int error = lunar_xsk_queue_open(&self->queues[queue], &each, reason);
        if (error)
            return error;
        self->queue_count = queue + 1;
        if ((error = lunar_filter_serve(&self->filter, queue, self->queues[queue].fd)))
            return lunar_reason_give(reason, error, "the filter takes no socket for queue %u: %s", queue,
                                     strerror(-error));
    }
    for (uint32_t i = 0; i < self->tx_frames; i++)
        self->free[self->free_count++] = (uint64_t)(rx_frames + self->tx_frames - 1 - i) * each.frame_bytes;
    return 0;
}

static int listen_to_own(xsk *self, lunar_reason *reason) {
    int error = 0;
    if (memcmp(self->from.ipv4, NO_ADDRESS, 4) != 0)
        error = lunar_filter_listen(&self->filter, 4, self->from.ipv4);
    if (!error && memcmp(self->from.ipv6, NO_ADDRESS, 16) != 0)
        error = lunar_filter_listen(&self->filter, 6, self->from.ipv6);
    return error ? lunar_reason_give(reason, error, "the filter takes no address: %s", strerror(-error)) : 0;
}

static bool is_power(uint32_t number) { return number && !(number & (number - 1)) && number <= 1 << 20; }

static int set_up(xsk *self, const lunar_xsk_options *options, lunar_reason *reason) {
    int error = lunar_interface_look_up(&self->interface, options->interface);
    if (error)
        return lunar_reason_give(reason, error, "no Ethernet interface has index %u: %s", options->interface,
                                 strerror(-error));
    if (!options->port || !is_power(self->tx_frames) || (options->rx_frames && !is_power(options->rx_frames)))
        return lunar_reason_give(reason, -EINVAL, "port 0, or a number of frames that is no power of two");
    if (self->interface.queues > MOST_QUEUES)
        return lunar_reason_give(reason, -E2BIG, "%s has %u queues, and %d can be served", self->interface.name,
                                 self->interface.queues, MOST_QUEUES);
    memcpy(self->from.mac, self->interface.mac, 6);
    memcpy(self->from.ipv4, options->ipv4, 4);
    memcpy(self->from.ipv6, options->ipv6, 16);
    self->from.port = options->port;
    self->queues = calloc(self->interface.queues, sizeof *self->queues);
    self->free = calloc(self->tx_frames, sizeof *self->free);
    self->port.fd = epoll_create1(EPOLL_CLOEXEC);
    if (!self->queues || !self->free || self->port.fd < 0)
        return lunar_reason_give(reason, -ENOMEM, "no memory, or no descriptor left");
    error = lunar_filter_open(&self->filter, &self->interface, options->port, options->mode, reason);
    if (!error)
        error = open_queues(self, options, reason);
    return error ? error : listen_to_own(self, reason);
}

int lunar_xsk_open(lunar_port **port, const lunar_xsk_options *options, lunar_reason *reason) {
    xsk *self = calloc(1, sizeof *self);
    if (!self)
        return lunar_reason_give(reason, -ENOMEM, "no memory");
    self->port = (lunar_port){.kind = &KIND, .fd = -1, .port = options->port};
    self->filter = (lunar_filter){.program = -1, .link = -1, .sockets = -1, .addresses = -1, .counters = -1};
    self->tx_frames = options->tx_frames ? options->tx_frames : 1024;
    int error = set_up(self, options, reason);
    if (error)
        xsk_close(&self->port);
    else
        *port = &self->port;
    return error;
}

void lunar_xsk_describe(const lunar_port *port, lunar_xsk_description *description) {
    const xsk *self = (const xsk *)port;
    *description = (lunar_xsk_description){
        .native = self->filter.native,
        .zero_copy = self->queues->zero_copy,
        .frags = self->filter.frags,
        .queues = self->queue_count,
        .frame_bytes = self->queues->frame_bytes,
        .program_id = self->filter.program_id,
        .not_native = self->filter.not_native.text,
    };
    for (uint32_t i = 0; i < self->queue_count; i++)
        description->memory_bytes += self->queues[i].memory_bytes;
}

lunar_filter *lunar_xsk_filter(lunar_port *port) { return &((xsk *)port)->filter; }
