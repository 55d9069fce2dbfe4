#include "socket.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#include "udp.h"

static bool udp_prepare_sleep(lunar_port *port) {
    udp *self = (udp *)port;
    lunar_udp_watch(self);
    lunar_udp_ask_dropped(self); /* the last ones may be followed by none that would tell */
    return !lunar_udp_has_input(port);
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
    .receive = lunar_udp_receive,
    .release = lunar_udp_release,
    .has_input = lunar_udp_has_input,
    .begin = lunar_udp_begin,
    .commit = lunar_udp_commit,
    .cancel = lunar_udp_cancel,
    .flush = lunar_udp_flush,
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
    (void)lunar_udp_fill_address(self, &bound, &here);
    if (bind(self->socket, &bound.any, lunar_udp_address_bytes(self)))
        return -errno;
    if (getsockname(self->socket, &bound.any, &size_bytes))
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
