#include "interface.h"

#include <errno.h>
#include <linux/ethtool.h>
#include <linux/if_arp.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/sockios.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ANSWER_BYTES = 32768 };

static void read_programs(lunar_interface *interface, struct rtattr *attribute, int left) {
    uint32_t plain = 0;
    uint8_t attached = XDP_ATTACHED_NONE;
    for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
        size_t size_bytes = RTA_PAYLOAD(attribute);
        if (attribute->rta_type == IFLA_XDP_DRV_PROG_ID && size_bytes >= 4)
            memcpy(&interface->native_program, RTA_DATA(attribute), 4);
        else if (attribute->rta_type == IFLA_XDP_SKB_PROG_ID && size_bytes >= 4)
            memcpy(&interface->generic_program, RTA_DATA(attribute), 4);
        else if (attribute->rta_type == IFLA_XDP_PROG_ID && size_bytes >= 4)
            memcpy(&plain, RTA_DATA(attribute), 4);
        else if (attribute->rta_type == IFLA_XDP_ATTACHED && size_bytes >= 1)
            memcpy(&attached, RTA_DATA(attribute), 1);
    }
    if (attached == XDP_ATTACHED_SKB && !interface->generic_program)
        interface->generic_program = plain;
    else if (attached == XDP_ATTACHED_DRV && !interface->native_program)
        interface->native_program = plain;
}

static int read_link(lunar_interface *interface, struct nlmsghdr *message) {
    const struct ifinfomsg *link = NLMSG_DATA(message);
    if (link->ifi_type != ARPHRD_ETHER)
        return -EAFNOSUPPORT;
    interface->up = (link->ifi_flags & IFF_UP) != 0;
    struct rtattr *attribute = IFLA_RTA(link);
    int left = (int)IFLA_PAYLOAD(message);
    for (; RTA_OK(attribute, left); attribute = RTA_NEXT(attribute, left)) {
        size_t size_bytes = RTA_PAYLOAD(attribute);
        uint16_t type = attribute->rta_type & NLA_TYPE_MASK;
        if (type == IFLA_MTU && size_bytes >= 4)
            memcpy(&interface->mtu, RTA_DATA(attribute), 4);
        else if (type == IFLA_ADDRESS && size_bytes >= 6)
            memcpy(interface->mac, RTA_DATA(attribute), 6);
        else if (type == IFLA_IFNAME && size_bytes >= 1 && size_bytes <= IF_NAMESIZE)
            memcpy(interface->name, RTA_DATA(attribute), size_bytes);
        else if (type == IFLA_XDP)
            read_programs(interface, RTA_DATA(attribute), (int)size_bytes);
    }
    interface->name[IF_NAMESIZE - 1] = 0;
    return 0;
}

static int ask_netlink(lunar_interface *interface) {
    struct {
        struct nlmsghdr header;
        struct ifinfomsg link;
    } question = {
        .header = {.nlmsg_len = sizeof question, .nlmsg_type = RTM_GETLINK, .nlmsg_flags = NLM_F_REQUEST},
        .link = {.ifi_family = AF_UNSPEC, .ifi_index = (int)interface->index},
    };
    _Alignas(struct nlmsghdr) char answer[ANSWER_BYTES];
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0)
        return -errno;
    ssize_t got = send(fd, &question, sizeof question, 0) < 0 ? -1 : recv(fd, answer, sizeof answer, 0);
    int error = got < 0 ? -errno : 0;
    close(fd);
    if (error)
        return error;
    struct nlmsghdr *message = (struct nlmsghdr *)answer;
    if (!NLMSG_OK(message, (uint32_t)got))
        return -EPROTO;
    if (message->nlmsg_type == NLMSG_ERROR)
        return ((struct nlmsgerr *)NLMSG_DATA(message))->error;
    return message->nlmsg_type == RTM_NEWLINK ? read_link(interface, message) : -EPROTO;
}

/* A driver that does not tell has one. */
static uint32_t ask_queues(const lunar_interface *interface) {
    struct ethtool_channels channels = {.cmd = ETHTOOL_GCHANNELS};
    struct ifreq request = {.ifr_data = (char *)&channels};
    memcpy(request.ifr_name, interface->name, IF_NAMESIZE);
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return 1;
    bool told = ioctl(fd, SIOCETHTOOL, &request) == 0;
    close(fd);
    uint32_t queues = told ? channels.combined_count + channels.rx_count : 1;
    return queues ? queues : 1;
}

int lunar_interface_look_up(lunar_interface *interface, uint32_t index) {
    memset(interface, 0, sizeof *interface);
    interface->index = index;
    if (!index)
        return -ENODEV;
    int error = ask_netlink(interface);
    if (!error)
        interface->queues = ask_queues(interface);
    return error;
}
