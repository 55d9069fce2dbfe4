/* The floor of AF_XDP: ping-pong and flood whose loops touch rings and nothing else.
 *
 * Opening the socket and the filter is Lunar's; what is measured is written here by hand.  The frames are made before;
 * who answers swaps the addresses in the frame that came and sends that same frame.  The pings' answers are recognized
 * by nothing: one comes for each.  Both sides spin.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "filter.h"
#include "floor.h"
#include "frame.h"
#include "xsk_queue.h"

enum { RX_FRAMES = 2048, TX_FRAMES = 1024, FRAME_BYTES = 2048, IDLE_NS = 500000000 };

typedef struct {
    lunar_xsk_queue queue;
    lunar_filter filter;
    uint64_t free[TX_FRAMES];
    uint32_t free_count, frame_bytes;
} raw;

static void open_raw(raw *self, const floor_options *options) {
    lunar_reason reason = {""};
    lunar_interface interface;
    lunar_frame_header header;
    if (lunar_interface_look_up(&interface, if_nametoindex(options->link)))
        fail_with("%s is no Ethernet interface", options->link);
    if (lunar_filter_open(&self->filter, &interface, FLOOR_PORT,
                          options->generic ? LUNAR_FILTER_GENERIC : LUNAR_FILTER_NATIVE, &reason))
        fail_with("%s", reason.text);
    lunar_xsk_queue_options queue = {.interface = interface.index,
                                     .frame_bytes = FRAME_BYTES,
                                     .rx_frames = RX_FRAMES,
                                     .tx_frames = TX_FRAMES,
                                     .copy = options->generic};
    if (lunar_xsk_queue_open(&self->queue, &queue, &reason))
        fail_with("%s", reason.text);
    if (lunar_filter_serve(&self->filter, 0, self->queue.fd) || lunar_filter_listen(&self->filter, 4, options->here))
        fail_with("the filter takes no socket or no address");
    lunar_frame_source from = {.port = FLOOR_PORT};
    lunar_destination to = {.family = 4, .port = FLOOR_PORT, .mtu = 1500};
    memcpy(from.mac, interface.mac, 6);
    memcpy(from.ipv4, options->here, 4);
    memcpy(to.mac, options->there_mac, 6);
    memcpy(to.address, options->there, 4);
    lunar_frame_prepare(&header, &from, &to);
    for (uint32_t i = 0; i < TX_FRAMES; i++) {
        self->free[i] = (uint64_t)(RX_FRAMES + i) * FRAME_BYTES;
        self->frame_bytes = lunar_frame_build(&header, self->queue.memory + self->free[i], options->size_bytes);
    }
    self->free_count = TX_FRAMES;
}

static inline void wake(raw *self) { (void)sendto(self->queue.fd, NULL, 0, MSG_DONTWAIT, NULL, 0); }

/* A completed frame goes to `free` if it is one for sending, else (of pong) back to be received into. */
static inline void complete(raw *self) {
    lunar_ring *completion = &self->queue.completion, *fill = &self->queue.fill;
    uint32_t done = lunar_ring_waiting(completion);
    if (!done)
        return;
    for (; done; done--) {
        uint64_t frame = *lunar_ring_frame(completion, completion->own++);
        if (frame >= (uint64_t)RX_FRAMES * FRAME_BYTES)
            self->free[self->free_count++] = frame;
        else
            *lunar_ring_frame(fill, fill->own++) = frame & ~(uint64_t)(FRAME_BYTES - 1);
    }
    lunar_ring_give_back(completion, completion->own);
    if (fill->told != fill->own)
        lunar_ring_submit(fill);
}

static inline void send_one(raw *self, uint64_t frame, uint32_t frame_bytes) {
    lunar_ring *tx = &self->queue.tx;
    *lunar_ring_slot(tx, tx->own++) = (struct xdp_desc){.addr = frame, .len = frame_bytes};
}

/* Take what has come and give the frames back; how many. */
static inline uint32_t take_all(raw *self) {
    lunar_ring *rx = &self->queue.rx, *fill = &self->queue.fill;
    uint32_t count = lunar_ring_waiting(rx);
    if (!count)
        return 0;
    for (uint32_t i = 0; i < count; i++)
        *lunar_ring_frame(fill, fill->own++) = lunar_ring_slot(rx, rx->own++)->addr & ~(uint64_t)(FRAME_BYTES - 1);
    lunar_ring_give_back(rx, rx->own);
    lunar_ring_submit(fill);
    return count;
}

static void ping(raw *self, const floor_options *options) {
    uint64_t *times_ns = calloc(options->count + WARM_UP, sizeof *times_ns);
    if (!times_ns)
        fail_with("no memory");
    for (uint32_t round = 0; round < options->count + WARM_UP; round++) {
        uint64_t start = now_ns();
        send_one(self, self->free[--self->free_count], self->frame_bytes);
        lunar_ring_submit(&self->queue.tx);
        wake(self);
        while (!take_all(self))
            relax();
        times_ns[round] = now_ns() - start;
        complete(self);
    }
    print_times(options, "xdp_floor ping", times_ns);
    free(times_ns);
}

static inline void turn_round(uint8_t *frame) {
    uint8_t mac[6], ip[4], port[2];
    memcpy(mac, frame, 6);
    memcpy(frame, frame + 6, 6);
    memcpy(frame + 6, mac, 6);
    memcpy(ip, frame + 26, 4);
    memcpy(frame + 26, frame + 30, 4);
    memcpy(frame + 30, ip, 4);
    memcpy(port, frame + 34, 2);
    memcpy(frame + 34, frame + 36, 2);
    memcpy(frame + 36, port, 2);
}

static void pong(raw *self) {
    lunar_ring *rx = &self->queue.rx;
    for (;;) {
        uint32_t count = lunar_ring_waiting(rx);
        if (!count) {
            relax();
            continue;
        }
        for (; count; count--) {
            const struct xdp_desc *slot = lunar_ring_slot(rx, rx->own++);
            turn_round(self->queue.memory + slot->addr);
            send_one(self, slot->addr, slot->len);
        }
        lunar_ring_give_back(rx, rx->own);
        lunar_ring_submit(&self->queue.tx);
        wake(self);
        complete(self);
    }
}

static void flood(raw *self, const floor_options *options) {
    lunar_ring *tx = &self->queue.tx;
    uint64_t start = now_ns(), end = start + (uint64_t)(options->seconds * 1e9), sent = 0, now = start;
    while (now < end) {
        while (self->free_count < options->burst)
            complete(self);
        for (uint32_t i = 0; i < options->burst; i++)
            send_one(self, self->free[--self->free_count], self->frame_bytes);
        lunar_ring_submit(tx);
        do
            wake(self);
        while (lunar_ring_pending(tx));
        sent += options->burst;
        if (sent % 1024 < options->burst)
            now = now_ns();
    }
    print_rate(options, "xdp_floor flood", sent, 0, now_ns() - start);
}

/* Until nothing has come for half a second. */
static void sink(raw *self, const floor_options *options) {
    uint64_t first = 0, last = 0, received = 0, now = 0;
    for (;;) {
        uint32_t count = take_all(self);
        if (count) {
            last = now_ns();
            first = first ? first : last;
            received += count;
        } else if (first && (now = now_ns()) - last > IDLE_NS) {
            break;
        } else {
            relax();
        }
    }
    print_rate(options, "xdp_floor sink", received, lunar_xsk_queue_dropped(&self->queue), last - first);
}

int main(int count, char **arguments) {
    static raw self;
    floor_options options = read_options(count, arguments);
    open_raw(&self, &options);
    if (strcmp(options.mode, "ping") == 0) {
        ping(&self, &options);
    } else if (strcmp(options.mode, "flood") == 0) {
        flood(&self, &options);
    } else {
        print_ready();
        if (strcmp(options.mode, "pong") == 0)
            pong(&self);
        sink(&self, &options);
    }
    lunar_filter_close(&self.filter);
    lunar_xsk_queue_close(&self.queue);
    return 0;
}
