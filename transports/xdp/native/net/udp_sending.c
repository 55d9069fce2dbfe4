#include <errno.h>
#include <string.h>

#include "frame.h"
#include "udp.h"

bool lunar_udp_fill_address(const udp *self, address *to, const lunar_destination *destination) {
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

socklen_t lunar_udp_address_bytes(const udp *self) {
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
                              &each->address.any, lunar_udp_address_bytes(self));
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
        .msg_name = &each->address, .msg_namelen = lunar_udp_address_bytes(self), .msg_iov = bytes, .msg_iovlen = 1};
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
                      lunar_udp_address_bytes(self));
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

int lunar_udp_flush(lunar_port *port) {
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

uint8_t *lunar_udp_begin(lunar_port *port, const lunar_destination *to, uint32_t *room_bytes) {
    udp *self = (udp *)port;
    uint32_t overhead = lunar_frame_overhead(to->family);
    *room_bytes = 0;
    if (!overhead || to->mtu <= overhead || (to->family == 6 && self->family == 4))
        return NULL;
    uint32_t room = to->mtu - overhead;
    *room_bytes = room = room < MOST_BYTES ? room : MOST_BYTES;
    if (self->tail + room > ARENA_BYTES || self->run_count == RUNS) {
        (void)lunar_udp_flush(port);
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

void lunar_udp_commit(lunar_port *port, uint32_t size_bytes, uint64_t transmit_ns) {
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
        (void)lunar_udp_fill_address(self, &next->address, &self->to);
    }
    self->tail += size_bytes;
}

void lunar_udp_cancel(lunar_port *port) { (void)port; }
