#include "socket.h"

#include <errno.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "frame.h"

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

/* ---- sleeping: only who sleeps has the epoll instance watch the socket, because the kernel wakes what watches for
 * each datagram, and its sender pays for that */

static void watch(udp *self) {
    struct epoll_event event = {.events = EPOLLIN | (self->starved ? EPOLLOUT : 0)};
    self->looks = 0;
    if (self->watched && self->watches_tx == self->starved)
        return;
    (void)epoll_ctl(self->port.fd, self->watched ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, self->socket, &event);
    self->watches_tx = self->starved;
    self->watched = true;
}

static inline void look(udp *self) {
    if (self->watched && ++self->looks > LOOKS_AWAKE) {
        (void)epoll_ctl(self->port.fd, EPOLL_CTL_DEL, self->socket, NULL);
        self->watched = false;
    }
}

/* ---- receiving */

/* Datagrams in the queue tell what was so when they came: less than was told by the socket itself since. */
static void count_dropped(udp *self, uint32_t overflow) {
    if ((int32_t)(overflow - self->overflow) <= 0)
        return;
    self->port.dropped += overflow - self->overflow;
    self->overflow = overflow;
}

static void ask_dropped(udp *self) {
    uint32_t memory[SK_MEMINFO_VARS];
    socklen_t size_bytes = sizeof memory;
    if (getsockopt(self->socket, SOL_SOCKET, SO_MEMINFO, memory, &size_bytes) == 0 &&
        size_bytes > SK_MEMINFO_DROPS * sizeof *memory)
        count_dropped(self, memory[SK_MEMINFO_DROPS]);
}

static void read_control(udp *self, uint32_t slot) {
    struct msghdr *message = &self->received[slot].msg_hdr;
    self->segment_bytes[slot] = self->received[slot].msg_len;
    for (struct cmsghdr *each = CMSG_FIRSTHDR(message); each; each = CMSG_NXTHDR(message, each)) {
        if (each->cmsg_level == SOL_UDP && each->cmsg_type == UDP_GRO) {
            int segment_bytes;
            memcpy(&segment_bytes, CMSG_DATA(each), sizeof segment_bytes);
            if (segment_bytes > 0)
                self->segment_bytes[slot] = (uint32_t)segment_bytes;
        } else if (each->cmsg_level == SOL_SOCKET && each->cmsg_type == SO_RXQ_OVFL) {
            uint32_t overflow;
            memcpy(&overflow, CMSG_DATA(each), sizeof overflow);
            count_dropped(self, overflow);
        }
    }
}

/* One, into the next slot, by the cheapest call there is: polled until something comes, it is most of a round trip. */
static int fetch_one(udp *self) {
    uint32_t slot = self->filled;
    socklen_t size_bytes = sizeof(address);
    ssize_t got = recvfrom(self->socket, self->received_at[slot].iov_base, SLOT_BYTES, MSG_DONTWAIT,
                           &self->senders[slot].any, &size_bytes);
    if (got < 0)
        return -1;
    self->received[slot].msg_len = self->segment_bytes[slot] = (uint32_t)got;
    return 1;
}

static int fetch_many(udp *self, uint32_t batch) {
    struct mmsghdr *into = self->received + self->filled;
    for (uint32_t i = 0; i < batch; i++) {
        into[i].msg_hdr.msg_namelen = sizeof(address);
        into[i].msg_hdr.msg_controllen = sizeof(control);
    }
    int got = recvmmsg(self->socket, into, batch, MSG_DONTWAIT, NULL);
    for (int i = 0; i < got; i++)
        read_control(self, self->filled + (uint32_t)i);
    return got;
}

/* What is there, into free slots: as many as came at once the last time, and one more time that.  Joining is asked for
 * when they have come that fast for the first time, because after that they must all be received with what says so. */
static void fetch(udp *self) {
    if (self->cursor == self->filled && !self->held)
        self->cursor = self->filled = 0;
    uint32_t room = SLOTS - self->filled, batch = self->batch < room ? self->batch : room;
    if (!batch)
        return;
    int got = batch == 1 && !self->gro ? fetch_one(self) : fetch_many(self, batch), on = 1;
    if (got < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNREFUSED && errno != EHOSTUNREACH)
        self->error = -errno;
    if (got == SLOTS && self->offload && !self->gro)
        self->gro = setsockopt(self->socket, SOL_UDP, UDP_GRO, &on, sizeof on) == 0;
    self->filled += got > 0 ? (uint32_t)got : 0;
    self->batch = got == (int)batch ? (2 * batch < SLOTS ? 2 * batch : SLOTS) : got > 0 ? (uint32_t)got : 1;
}

static bool udp_has_input(lunar_port *port) {
    udp *self = (udp *)port;
    look(self);
    if (self->cursor == self->filled && !self->error)
        fetch(self);
    return self->cursor != self->filled || self->error;
}

static void read_sender(const address *from, lunar_datagram *datagram) {
    memset(datagram->address, 0, sizeof datagram->address);
    datagram->family = 4;
    if (from->any.sa_family == AF_INET) {
        datagram->port = ntohs(from->ipv4.sin_port);
        memcpy(datagram->address, &from->ipv4.sin_addr, 4);
        return;
    }
    datagram->port = ntohs(from->ipv6.sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&from->ipv6.sin6_addr)) {
        memcpy(datagram->address, from->ipv6.sin6_addr.s6_addr + 12, 4);
        return;
    }
    datagram->family = 6;
    memcpy(datagram->address, &from->ipv6.sin6_addr, 16);
}

static int udp_receive(lunar_port *port, lunar_datagram *datagrams, int most) {
    udp *self = (udp *)port;
    int count = 0;
    if (!udp_has_input(port))
        return 0;
    while (count < most && self->cursor != self->filled) {
        uint32_t slot = self->cursor, left = self->received[slot].msg_len - self->offset;
        uint32_t size_bytes = self->segment_bytes[slot] < left ? self->segment_bytes[slot] : left;
        lunar_datagram *datagram = &datagrams[count++];
        datagram->bytes = self->slots + (size_t)slot * SLOT_BYTES + self->offset;
        datagram->size_bytes = size_bytes;
        read_sender(&self->senders[slot], datagram);
        port->received_bytes += size_bytes;
        self->offset += size_bytes;
        if (self->offset >= self->received[slot].msg_len) {
            self->cursor++;
            self->offset = 0;
        }
    }
    self->held |= count > 0;
    port->received += (uint64_t)count;
    int error = count ? 0 : self->error; /* after all that came before it */
    if (error)
        self->error = 0;
    return error ? error : count;
}

static void udp_release(lunar_port *port) { ((udp *)port)->held = false; }

/* ---- sending */

static bool fill_address(const udp *self, address *to, const lunar_destination *destination) {
    memset(to, 0, sizeof *to);
    if (self->family == 4) {
        to->ipv4.sin_family = AF_INET;
        to->ipv4.sin_port = htons(destination->port);
        memcpy(&to->ipv4.sin_addr, destination->address, 4);
        return destination->family == 4;
    }
    to->ipv6.sin6_family = AF_INET6;
    to->ipv6.sin6_port = htons(destination->port);
    if (destination->family == 4) {
        to->ipv6.sin6_addr.s6_addr[10] = to->ipv6.sin6_addr.s6_addr[11] = 0xff;
        memcpy(to->ipv6.sin6_addr.s6_addr + 12, destination->address, 4);
    } else {
        memcpy(&to->ipv6.sin6_addr, destination->address, 16);
    }
    if (IN6_IS_ADDR_LINKLOCAL(&to->ipv6.sin6_addr) || IN6_IS_ADDR_MC_LINKLOCAL(&to->ipv6.sin6_addr))
        to->ipv6.sin6_scope_id = self->interface;
    return destination->family == 4 || destination->family == 6;
}

static socklen_t address_bytes(const udp *self) {
    return self->family == 4 ? sizeof(struct sockaddr_in) : sizeof(struct sockaddr_in6);
}

/* Whether the kernel has no room now, as opposed to: does not want it. */
static bool is_full(int error) { return error == EAGAIN || error == EWOULDBLOCK; }

static bool concerns_all(int error) { return error == ENETDOWN || error == ENODEV || error == ENXIO || error == EBADF; }

static void set_priority(udp *self, uint8_t priority) {
    int value = priority;
    if (self->priority != priority && setsockopt(self->socket, SOL_SOCKET, SO_PRIORITY, &value, sizeof value) == 0)
        self->priority = priority;
}

/* A run, one datagram after the other; 0, or what stopped it: a negative errno with the rest still there. */
static int send_singly(udp *self, run *each) {
    while (each->count) {
        uint32_t size_bytes = each->count > 1 ? each->segment_bytes : each->size_bytes;
        ssize_t sent = sendto(self->socket, self->arena + each->start, size_bytes, MSG_DONTWAIT | MSG_NOSIGNAL,
                              &each->address.any, address_bytes(self));
        if (sent < 0 && errno == ECONNREFUSED) /* of an earlier one; said once */
            continue;
        if (sent < 0 && (is_full(errno) || concerns_all(errno)))
            return -errno;
        if (sent < 0)
            self->port.unsent++;
        else
            self->port.sent++, self->port.sent_bytes += size_bytes;
        each->start += size_bytes;
        each->size_bytes -= size_bytes;
        each->count--;
    }
    return 0;
}

static void describe_run(udp *self, run *each, struct mmsghdr *message, struct iovec *bytes, control *said) {
    *bytes = (struct iovec){self->arena + each->start, each->size_bytes};
    message->msg_hdr = (struct msghdr){
        .msg_name = &each->address, .msg_namelen = address_bytes(self), .msg_iov = bytes, .msg_iovlen = 1};
    if (each->count == 1)
        return;
    uint16_t segment_bytes = (uint16_t)each->segment_bytes;
    message->msg_hdr.msg_control = said;
    message->msg_hdr.msg_controllen = CMSG_SPACE(sizeof segment_bytes);
    memset(said, 0, sizeof *said);
    said->header.cmsg_level = SOL_UDP;
    said->header.cmsg_type = UDP_SEGMENT;
    said->header.cmsg_len = CMSG_LEN(sizeof segment_bytes);
    memcpy(CMSG_DATA(&said->header), &segment_bytes, sizeof segment_bytes);
}

/* Runs from the first one on, as far as they have the same priority; how many were sent whole, or a negative errno. */
static int send_runs(udp *self) {
    struct mmsghdr messages[RUNS];
    struct iovec bytes[RUNS];
    control said[RUNS];
    run *first = &self->runs[self->first_run];
    uint32_t count = 0;
    for (; self->first_run + count < self->run_count; count++) {
        if (first[count].to.priority != first->to.priority)
            break;
        describe_run(self, &first[count], &messages[count], &bytes[count], &said[count]);
    }
    set_priority(self, first->to.priority);
    int sent;
    if (count == 1 && first->count == 1)
        sent = sendto(self->socket, bytes->iov_base, bytes->iov_len, MSG_DONTWAIT | MSG_NOSIGNAL, &first->address.any,
                      address_bytes(self));
    else
        sent = sendmmsg(self->socket, messages, count, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (sent < 0)
        return -errno;
    if (count == 1)
        sent = 1; /* sendto has counted bytes */
    for (int i = 0; i < sent; i++) {
        self->port.sent += first[i].count;
        self->port.sent_bytes += first[i].size_bytes;
    }
    return sent;
}

static int give_up(udp *self, int error) {
    for (; self->first_run < self->run_count; self->first_run++)
        self->port.unsent += self->runs[self->first_run].count;
    return error;
}

static int udp_flush(lunar_port *port) {
    udp *self = (udp *)port;
    int result = 0;
    while (self->first_run < self->run_count) {
        int sent = send_runs(self);
        if (sent == -EINTR)
            continue;
        if (sent < 0 && !is_full(-sent) && !concerns_all(-sent)) {
            /* Once more, one by one: perhaps only some are not wanted, or runs are not (EIO: no checksum offload). */
            if (sent == -EIO || sent == -EOPNOTSUPP)
                self->gso = false;
            sent = send_singly(self, &self->runs[self->first_run]);
            sent = sent ? sent : 1;
        }
        if (sent < 0 && is_full(-sent))
            return 0;
        if (sent < 0)
            result = give_up(self, sent);
        else
            self->first_run += (uint32_t)sent;
    }
    self->first_run = self->run_count = self->tail = 0;
    self->starved = false;
    return result;
}

static uint8_t *udp_begin(lunar_port *port, const lunar_destination *to, uint32_t *room_bytes) {
    udp *self = (udp *)port;
    uint32_t overhead = lunar_frame_overhead(to->family);
    *room_bytes = 0;
    if (!overhead || to->mtu <= overhead || (to->family == 6 && self->family == 4))
        return NULL;
    uint32_t room = to->mtu - overhead;
    *room_bytes = room = room < MOST_BYTES ? room : MOST_BYTES;
    if (self->tail + room > ARENA_BYTES || self->run_count == RUNS) {
        (void)udp_flush(port);
        if (self->tail + room > ARENA_BYTES || self->run_count == RUNS) {
            self->starved = true;
            return NULL;
        }
    }
    self->to = *to;
    return self->arena + self->tail;
}

/* Whether a datagram of that size may follow: as long as all are equal, and one that is shorter ends it. */
static bool goes_with(const udp *self, const run *last, uint32_t size_bytes) {
    return self->gso && size_bytes && last->count < MOST_SEGMENTS && size_bytes <= last->segment_bytes &&
           last->size_bytes == last->count * last->segment_bytes && last->size_bytes + size_bytes <= MOST_BYTES &&
           memcmp(&last->to, &self->to, sizeof self->to) == 0;
}

static void udp_commit(lunar_port *port, uint32_t size_bytes, uint64_t transmit_ns) {
    udp *self = (udp *)port;
    (void)transmit_ns;
    run *last = self->run_count > self->first_run ? &self->runs[self->run_count - 1] : NULL;
    if (last && goes_with(self, last, size_bytes)) {
        last->size_bytes += size_bytes;
        last->count++;
    } else {
        run *next = &self->runs[self->run_count++];
        *next = (run){.to = self->to, .start = self->tail, .size_bytes = size_bytes, .segment_bytes = size_bytes};
        next->count = 1;
        (void)fill_address(self, &next->address, &self->to);
    }
    self->tail += size_bytes;
}

static void udp_cancel(lunar_port *port) { (void)port; }

/* ---- before sleep, opening, closing */

static bool udp_prepare_sleep(lunar_port *port) {
    udp *self = (udp *)port;
    watch(self);
    ask_dropped(self); /* the last ones may be followed by none that would tell */
    return !udp_has_input(port);
}

static void udp_close(lunar_port *port) {
    udp *self = (udp *)port;
    if (port->fd >= 0)
        close(port->fd);
    if (self->socket >= 0)
        close(self->socket);
    if (self->slots)
        munmap(self->slots, (size_t)SLOTS * SLOT_BYTES + ARENA_BYTES);
    free(self);
}

static const lunar_port_kind KIND = {
    .receive = udp_receive,
    .release = udp_release,
    .has_input = udp_has_input,
    .begin = udp_begin,
    .commit = udp_commit,
    .cancel = udp_cancel,
    .flush = udp_flush,
    .prepare_sleep = udp_prepare_sleep,
    .close = udp_close,
};

/* Only touched pages are there: small messages that come one by one use one slot. */
static int make_memory(udp *self) {
    void *memory = mmap(NULL, (size_t)SLOTS * SLOT_BYTES + ARENA_BYTES, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return -errno;
    self->slots = memory;
    self->arena = self->slots + (size_t)SLOTS * SLOT_BYTES;
    for (uint32_t slot = 0; slot < SLOTS; slot++) {
        self->received_at[slot] = (struct iovec){self->slots + (size_t)slot * SLOT_BYTES, SLOT_BYTES};
        self->received[slot].msg_hdr = (struct msghdr){.msg_name = &self->senders[slot],
                                                       .msg_iov = &self->received_at[slot],
                                                       .msg_iovlen = 1,
                                                       .msg_control = &self->received_control[slot]};
    }
    return 0;
}

static void set_option(int fd, int level, int option, int value) {
    (void)setsockopt(fd, level, option, &value, sizeof value);
}

/* All of these are for speed or for counting, and older kernels lack some: what is refused is done without. */
static void set_options(udp *self, const lunar_socket_options *options) {
    int fd = self->socket, bytes = options->buffer_bytes ? (int)options->buffer_bytes : 8 << 20, on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes))
        set_option(fd, SOL_SOCKET, SO_RCVBUF, bytes);
    if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes))
        set_option(fd, SOL_SOCKET, SO_SNDBUF, bytes);
    set_option(fd, SOL_SOCKET, SO_RXQ_OVFL, on);
    set_option(fd, IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DO);
    if (self->family == 6)
        set_option(fd, IPPROTO_IPV6, IPV6_MTU_DISCOVER, IPV6_PMTUDISC_DO);
    if (options->no_offload)
        return;
    int none = 0;
    self->gso = setsockopt(fd, SOL_UDP, UDP_SEGMENT, &none, sizeof none) == 0;
    self->offload = true;
}

static int bind_it(udp *self, const lunar_socket_options *options) {
    lunar_destination here = {.family = options->family, .port = options->port};
    address bound;
    socklen_t size_bytes = sizeof bound;
    memcpy(here.address, options->address, sizeof here.address);
    (void)fill_address(self, &bound, &here);
    if (bind(self->socket, &bound.any, address_bytes(self)) || getsockname(self->socket, &bound.any, &size_bytes))
        return -errno;
    self->port.port = ntohs(self->family == 4 ? bound.ipv4.sin_port : bound.ipv6.sin6_port);
    return 0;
}

static int set_up(udp *self, const lunar_socket_options *options, lunar_reason *reason) {
    if (options->family != 4 && options->family != 6)
        return lunar_reason_give(reason, -EAFNOSUPPORT, "family %u is neither 4 nor 6", options->family);
    self->family = options->family;
    self->interface = options->interface;
    self->socket = socket(self->family == 4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (self->socket < 0)
        return lunar_reason_give(reason, -errno, "no UDP socket: %s", strerror(errno));
    if (self->family == 6)
        set_option(self->socket, IPPROTO_IPV6, IPV6_V6ONLY, 0);
    int error = bind_it(self, options);
    if (error)
        return lunar_reason_give(reason, error, "UDP port %u cannot be had: %s", options->port, strerror(-error));
    set_options(self, options);
    if ((error = make_memory(self)))
        return lunar_reason_give(reason, error, "no memory for datagrams: %s", strerror(-error));
    self->port.fd = epoll_create1(EPOLL_CLOEXEC);
    if (self->port.fd < 0)
        return lunar_reason_give(reason, -errno, "epoll: %s", strerror(errno));
    return 0;
}

int lunar_socket_open(lunar_port **port, const lunar_socket_options *options, lunar_reason *reason) {
    udp *self = calloc(1, sizeof *self);
    if (!self)
        return lunar_reason_give(reason, -ENOMEM, "no memory");
    self->port = (lunar_port){.kind = &KIND, .fd = -1, .largest_bytes = MOST_BYTES};
    self->socket = -1;
    self->batch = 1;
    int error = set_up(self, options, reason);
    if (error)
        udp_close(&self->port);
    else
        *port = &self->port;
    return error;
}

int lunar_socket_fd(const lunar_port *port) { return ((const udp *)port)->socket; }
