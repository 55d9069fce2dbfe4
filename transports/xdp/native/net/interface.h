/* What this kernel knows of a network interface: asked when a port is opened, never in between. */
#ifndef LUNAR_XDP_INTERFACE_H
#define LUNAR_XDP_INTERFACE_H

#include <net/if.h>
#include <stdint.h>

typedef struct {
    char name[IF_NAMESIZE];
    uint32_t index;
    uint32_t mtu;
    uint32_t queues; /* it receives by */
    uint8_t mac[6];
    uint8_t up;             /* whether it is set up, whatever its carrier says */
    uint32_t native_program; /* id of the XDP program in its driver; 0: none */
    uint32_t generic_program;
} lunar_interface;

/* 0, or a negative errno: ENODEV when it is not there, EAFNOSUPPORT when it is no Ethernet. */
int lunar_interface_look_up(lunar_interface *interface, uint32_t index);

#endif
