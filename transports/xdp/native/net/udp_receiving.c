#include <errno.h>
#include <linux/sock_diag.h>
#include <string.h>
#include <sys/epoll.h>

#include "udp.h"

/* ---- sleeping: only who sleeps has the epoll instance watch the socket, because the kernel wakes what watches for
 * each datagram, and its sender pays for that */

void lunar_udp_watch(udp *self) {
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

void lunar_udp_ask_dropped(udp *self) {
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

bool lunar_udp_has_input(lunar_port *port) {
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

int lunar_udp_receive(lunar_port *port, lunar_datagram *datagrams, int most) {
    udp *self = (udp *)port;
    int count = 0;
    if (!lunar_udp_has_input(port))
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

void lunar_udp_release(lunar_port *port) { ((udp *)port)->held = false; }
