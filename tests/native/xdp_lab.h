/* A network namespace of the test's own with cables in it, by netlink; it goes with the process. */
#ifndef LUNAR_XDP_LAB_H
#define LUNAR_XDP_LAB_H

#include <errno.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "check.h"

typedef struct {
    struct nlmsghdr header;
    struct ifinfomsg link;
    char attributes[512];
} lab_message;

static inline void *lab_end(lab_message *message) {
    return (char *)message + NLMSG_ALIGN(message->header.nlmsg_len);
}

static inline struct rtattr *lab_add(lab_message *message, uint16_t type, const void *value, size_t size_bytes) {
    struct rtattr *attribute = lab_end(message);
    attribute->rta_type = type;
    attribute->rta_len = (uint16_t)RTA_LENGTH(size_bytes);
    if (size_bytes)
        memcpy(RTA_DATA(attribute), value, size_bytes);
    message->header.nlmsg_len = NLMSG_ALIGN(message->header.nlmsg_len) + RTA_ALIGN(attribute->rta_len);
    return attribute;
}

static inline void lab_close(lab_message *message, struct rtattr *attribute) {
    attribute->rta_len = (uint16_t)((char *)lab_end(message) - (char *)attribute);
}

static inline lab_message lab_start(uint16_t type, uint16_t flags, const char *name) {
    lab_message message = {
        .header = {.nlmsg_len = NLMSG_LENGTH(sizeof(struct ifinfomsg)),
                   .nlmsg_type = type,
                   .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags},
        .link = {.ifi_index = name ? (int)if_nametoindex(name) : 0},
    };
    return message;
}

static inline int lab_ask(lab_message *message) {
    struct {
        struct nlmsghdr header;
        struct nlmsgerr error;
        char rest[1024];
    } answer;
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    CHECK(fd >= 0 && send(fd, message, message->header.nlmsg_len, 0) >= 0);
    CHECK(recv(fd, &answer, sizeof answer, 0) > 0 && answer.header.nlmsg_type == NLMSG_ERROR);
    close(fd);
    return answer.error.error;
}

/* False, and why: the test is left out. */
static inline bool lab_enter(const char *test) {
    if (unshare(CLONE_NEWNET) == 0)
        return true;
    printf("%s: skipped: a network namespace needs root: %s\n", test, strerror(errno));
    return false;
}

static inline void lab_add_cable(const char *near, const char *far, uint32_t queues) {
    lab_message message = lab_start(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, NULL);
    lab_add(&message, IFLA_IFNAME, near, strlen(near) + 1);
    lab_add(&message, IFLA_NUM_RX_QUEUES, &queues, 4);
    lab_add(&message, IFLA_NUM_TX_QUEUES, &queues, 4);
    struct rtattr *info = lab_add(&message, IFLA_LINKINFO, NULL, 0);
    lab_add(&message, IFLA_INFO_KIND, "veth", 5);
    struct rtattr *data = lab_add(&message, IFLA_INFO_DATA, NULL, 0);
    struct ifinfomsg link = {0};
    struct rtattr *peer = lab_add(&message, VETH_INFO_PEER, &link, sizeof link);
    lab_add(&message, IFLA_IFNAME, far, strlen(far) + 1);
    lab_add(&message, IFLA_NUM_RX_QUEUES, &queues, 4);
    lab_add(&message, IFLA_NUM_TX_QUEUES, &queues, 4);
    lab_close(&message, peer);
    lab_close(&message, data);
    lab_close(&message, info);
    CHECK(lab_ask(&message) == 0);
}

static inline void lab_set_up(const char *name, bool up) {
    lab_message message = lab_start(RTM_NEWLINK, 0, name);
    message.link.ifi_change = IFF_UP;
    message.link.ifi_flags = up ? IFF_UP : 0;
    CHECK(lab_ask(&message) == 0);
}

static inline void lab_set_mtu(const char *name, uint32_t mtu) {
    lab_message message = lab_start(RTM_NEWLINK, 0, name);
    lab_add(&message, IFLA_MTU, &mtu, 4);
    CHECK(lab_ask(&message) == 0);
}

static inline void lab_remove(const char *name) {
    lab_message message = lab_start(RTM_DELLINK, 0, name);
    CHECK(lab_ask(&message) == 0);
}

#endif
