/* A port over a UDP socket: where there is no privilege or no driver for AF_XDP.  The two send to one another.
 *
 * Theory.  Few system calls for many datagrams.  Received: recvmmsg, one at a time as long as they come one by one, up
 * to 32 when they come faster; the kernel may join what belongs together (UDP_GRO), and it is taken apart here.  Sent:
 * what is committed lies side by side in one buffer, and datagrams of equal size to one destination become one run,
 * which the kernel or the NIC cuts (UDP_SEGMENT).  `flush` sends all runs with one sendmmsg.
 *
 * Nothing is fragmented: a datagram that is too long for its path is given up and counted (`unsent`), and so are those
 * to a destination that the kernel refuses.  What the kernel drops it counts as it had it: datagrams that it had
 * joined count as one in `dropped`.
 */
#ifndef LUNAR_XDP_SOCKET_H
#define LUNAR_XDP_SOCKET_H

#include "port.h"
#include "reason.h"

typedef struct {
    uint8_t family;         /* 4, or 6: which takes IPv4 too */
    uint16_t port;          /* 0: one that is free */
    uint8_t address[16];    /* to bind to; zero: any */
    uint32_t interface;     /* to send by to link-local addresses of IPv6; 0: none */
    uint32_t buffer_bytes;  /* of the kernel, in each direction; 0: 8 MiB, or what is allowed */
    bool no_offload;        /* without UDP_GRO and UDP_SEGMENT */
} lunar_socket_options;

/* 0 and the port, or a negative errno and the reason. */
int lunar_socket_open(lunar_port **port, const lunar_socket_options *options, lunar_reason *reason);

/* The UDP socket, to join multicast groups with. */
int lunar_socket_fd(const lunar_port *port);

#endif
