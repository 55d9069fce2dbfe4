/* Ports: one suite for all kinds (AF_XDP native and generic on a cable, UDP on loopback), then what is each
 * one's own. */
#include "../../transports/xdp/native/net/bpf.c"
#include "../../transports/xdp/native/net/filter.c"
#include "../../transports/xdp/native/net/frame.c"
#include "../../transports/xdp/native/net/interface.c"
#include "../../transports/xdp/native/net/program.c"
#include "../../transports/xdp/native/net/xsk.c"
#include "../../transports/xdp/native/net/xsk_queue.c"

/* Its own names, where both have some. */
#define KIND UDP_KIND
#define set_up udp_set_up
#define bind_it udp_bind_it
#define make_memory udp_make_memory
#define look udp_look
#define LOOKS_AWAKE UDP_LOOKS_AWAKE
#include "../../transports/xdp/native/net/socket.c"
#include "../../transports/xdp/native/net/udp_receiving.c"
#include "../../transports/xdp/native/net/udp_sending.c"
#undef set_up

#include <linux/if_packet.h>
#include <poll.h>
#include <sys/ioctl.h>

#include "check.h"
#include "fuzz.h"
#include "xdp_lab.h"

#define PORT 4712
#define BURST 256
#define PATIENCE_MS 5000

typedef struct {
    const char *name;
    uint8_t family;
    uint16_t vlan, mtu;
    lunar_filter_mode mode; /* of AF_XDP */
    bool udp, no_offload;
} subject;

typedef struct {
    lunar_port *port;
    lunar_destination self; /* how others reach it */
} end;

static const uint8_t LOOPBACK[2][16] = {{127, 0, 0, 1}, {[15] = 1}};
static const uint8_t NEAR[2][16] = {{198, 18, 0, 1}, {0xfd, [15] = 1}};
static const uint8_t FAR[2][16] = {{198, 18, 0, 2}, {0xfd, [15] = 2}};

static lunar_xsk_options xsk_options(const char *link, lunar_filter_mode mode) {
    lunar_xsk_options options = {.interface = if_nametoindex(link), .port = PORT, .mode = mode};
    bool near = strcmp(link, "near") == 0;
    memcpy(options.ipv4, near ? NEAR[0] : FAR[0], 4);
    memcpy(options.ipv6, near ? NEAR[1] : FAR[1], 16);
    return options;
}

static end open_end(const subject *of, const char *link) {
    lunar_reason reason = {""};
    bool near = strcmp(link, "near") == 0;
    end made = {.self = {.family = of->family, .vlan = of->vlan, .priority = 3, .mtu = of->mtu, .port = PORT}};
    if (of->udp) {
        lunar_socket_options options = {.family = of->family, .no_offload = of->no_offload};
        CHECK(lunar_socket_open(&made.port, &options, &reason) == 0);
        memcpy(made.self.address, LOOPBACK[of->family == 6], 16);
        made.self.port = made.port->port;
        return made;
    }
    lunar_xsk_options options = xsk_options(link, of->mode);
    int error = lunar_xsk_open(&made.port, &options, &reason);
    if (error)
        fprintf(stderr, "%s\n", reason.text);
    CHECK(error == 0);
    memcpy(made.self.mac, ((xsk *)made.port)->interface.mac, 6);
    memcpy(made.self.address, (near ? NEAR : FAR)[of->family == 6], 16);
    return made;
}

static bool put(lunar_port *port, const lunar_destination *to, uint64_t number, uint32_t size_bytes) {
    uint32_t room = 0;
    uint8_t *payload = port->kind->begin(port, to, &room);
    CHECK(room >= size_bytes);
    if (!payload)
        return false;
    for (uint32_t i = 0; i < size_bytes; i++)
        payload[i] = (uint8_t)(number + i);
    if (size_bytes >= 8)
        memcpy(payload, &number, 8);
    port->kind->commit(port, size_bytes, 0);
    return true;
}

/* Sleeps on the descriptor until there is something. */
static int get(lunar_port *port, lunar_datagram *datagrams, int most) {
    for (;;) {
        int count = port->kind->receive(port, datagrams, most);
        if (count)
            return count;
        struct pollfd ear = {.fd = port->fd, .events = POLLIN};
        if (port->kind->prepare_sleep(port))
            CHECK(poll(&ear, 1, PATIENCE_MS) == 1);
    }
}

static void expect(lunar_port *port, uint64_t first, uint64_t count, uint32_t size_bytes, const end *from) {
    lunar_datagram datagrams[BURST];
    while (count) {
        int got = get(port, datagrams, (int)(count < BURST ? count : BURST));
        CHECK(got > 0);
        for (int i = 0; i < got; i++, first++, count--) {
            uint64_t number = first;
            CHECK(datagrams[i].size_bytes == size_bytes);
            if (size_bytes >= 8)
                memcpy(&number, datagrams[i].bytes, 8);
            CHECK(number == first);
            for (uint32_t at = 8; at < size_bytes; at++)
                CHECK(datagrams[i].bytes[at] == (uint8_t)(number + at));
            CHECK(datagrams[i].port == from->port->port && datagrams[i].family == from->self.family);
            CHECK(memcmp(datagrams[i].address, from->self.address, 16) == 0);
        }
        port->kind->release(port);
    }
}

/* One cannot see what is on its way: so only as many at once as there is room for. */
static void there_and_back(const subject *of) {
    end near = open_end(of, "near"), far = open_end(of, "far");
    uint64_t sent = 0, bytes = 0, state = fuzz_seed();
    uint32_t room;
    uint8_t *payload = near.port->kind->begin(near.port, &far.self, &room);
    CHECK(payload && room == of->mtu - lunar_frame_overhead(of->family));
    near.port->kind->cancel(near.port);
    CHECK(near.port->kind->flush(near.port) == 0 && near.port->sent == 0);
    CHECK(!far.port->kind->has_input(far.port));
    for (int round = 0; round < 60; round++) {
        end *from = round % 2 ? &far : &near, *to = round % 2 ? &near : &far;
        uint64_t burst = 1 + fuzz_below(&state, BURST), first = sent;
        uint32_t size = round < 3 ? (uint32_t)round : (uint32_t)fuzz_below(&state, room + 1);
        for (uint64_t i = 0; i < burst; i++, sent++, bytes += size)
            CHECK(put(from->port, &to->self, sent, size));
        CHECK(from->port->kind->flush(from->port) == 0);
        expect(to->port, first, burst, size, from);
    }
    CHECK(near.port->sent + far.port->sent == sent && near.port->received + far.port->received == sent);
    CHECK(near.port->sent_bytes + far.port->sent_bytes == bytes);
    CHECK(near.port->received_bytes + far.port->received_bytes == bytes);
    CHECK(near.port->rejected + far.port->rejected + near.port->dropped + far.port->dropped == 0);
    CHECK(near.port->unsent + far.port->unsent == 0);
    near.port->kind->close(near.port);
    far.port->kind->close(far.port);
}

/* Sizes that differ, several destinations and priorities in one flush; received a few at a time, released late. */
static void a_mixture(const subject *of) {
    end near = open_end(of, "near"), far = open_end(of, "far");
    static const uint32_t sizes[] = {100, 100, 100, 60, 60, 100, 0, 0, 100, 101, 8, 8, 8, 7, 500, 90, 50, 50, 90};
    uint32_t count = sizeof sizes / sizeof *sizes, at = 0;
    lunar_destination urgent = far.self;
    urgent.priority = 7;
    for (uint32_t i = 0; i < count; i++)
        CHECK(put(near.port, i % 5 == 4 ? &urgent : &far.self, i, sizes[i]));
    CHECK(near.port->kind->flush(near.port) == 0);
    lunar_datagram datagrams[32];
    while (at < count)
        at += (uint32_t)get(far.port, datagrams + at, at + 2 < count ? 2 : (int)(count - at));
    for (uint32_t i = 0; i < count; i++) { /* all of them are still there */
        CHECK(datagrams[i].size_bytes == sizes[i]);
        for (uint32_t byte = 8; byte < sizes[i]; byte++)
            CHECK(datagrams[i].bytes[byte] == (uint8_t)(i + byte));
    }
    far.port->kind->release(far.port);
    near.port->kind->close(near.port);
    far.port->kind->close(far.port);
}

static void a_destination_that_is_none(const subject *of) {
    end near = open_end(of, "near");
    lunar_destination wrong[3] = {near.self, near.self, near.self};
    uint32_t room = 1;
    wrong[0].family = 5;
    memset(&wrong[1], 0, sizeof wrong[1]);
    wrong[2].mtu = 20;
    for (int i = 0; i < 3; i++, room = 1) {
        CHECK(!near.port->kind->begin(near.port, &wrong[i], &room) && room == 0);
        CHECK(near.port->kind->flush(near.port) == 0);
    }
    near.port->kind->close(near.port);
}

/* Also after a long time awake, and again; and nothing is readable when there is nothing. */
static void asleep_and_awake(const subject *of) {
    end near = open_end(of, "near"), far = open_end(of, "far");
    lunar_datagram datagram;
    for (uint64_t round = 0; round < 5; round++) {
        struct pollfd ear = {.fd = far.port->fd, .events = POLLIN};
        for (int i = 0; i < 10000; i++)
            CHECK(!far.port->kind->has_input(far.port));
        CHECK(far.port->kind->prepare_sleep(far.port) && poll(&ear, 1, 0) == 0);
        CHECK(put(near.port, &far.self, round, 64) && near.port->kind->flush(near.port) == 0);
        CHECK(poll(&ear, 1, PATIENCE_MS) == 1);
        CHECK(far.port->kind->has_input(far.port) && !far.port->kind->prepare_sleep(far.port));
        CHECK(far.port->kind->receive(far.port, &datagram, 1) == 1);
        far.port->kind->release(far.port);
        CHECK(far.port->kind->prepare_sleep(far.port) && poll(&ear, 1, 0) == 0);
    }
    near.port->kind->close(near.port);
    far.port->kind->close(far.port);
}

/* Who does not receive loses, and learns how many. */
static void what_is_dropped_is_counted(const subject *of) {
    end near = open_end(of, "near"), far = open_end(of, "far");
    uint64_t sent = 0, most = of->udp ? 200000 : 8192;
    while (sent < most) {
        for (int i = 0; i < 64; i++, sent++)
            for (int tries = 0; !put(near.port, &far.self, sent, 64); tries++)
                CHECK(near.port->kind->flush(near.port) == 0 && tries < 1000 * PATIENCE_MS);
        CHECK(near.port->kind->flush(near.port) == 0);
    }
    lunar_datagram datagrams[BURST];
    for (int count = 1; count > 0;) {
        count = far.port->kind->receive(far.port, datagrams, BURST);
        far.port->kind->release(far.port);
        if (!count && far.port->received + far.port->dropped < near.port->sent) {
            (void)far.port->kind->prepare_sleep(far.port); /* asks the kernel */
            if (far.port->received + far.port->dropped < near.port->sent)
                count = get(far.port, datagrams, BURST);
        }
    }
    CHECK(far.port->dropped && far.port->received + far.port->dropped == near.port->sent);
    near.port->kind->close(near.port);
    far.port->kind->close(far.port);
}

/* ---- AF_XDP's own */

static void write_raw(const char *link, const uint8_t *frame, size_t size_bytes) {
    struct sockaddr_ll to = {.sll_family = AF_PACKET, .sll_ifindex = (int)if_nametoindex(link), .sll_halen = 6};
    int fd = socket(AF_PACKET, SOCK_RAW, 0);
    CHECK(fd >= 0 && sendto(fd, frame, size_bytes, 0, (struct sockaddr *)&to, sizeof to) == (ssize_t)size_bytes);
    close(fd);
}

static void hostile_frames_are_rejected(const subject *of) {
    end near = open_end(of, "near"), far = open_end(of, "far");
    lunar_frame_header header;
    uint8_t frame[256] = {0};
    CHECK(lunar_frame_prepare(&header, &((xsk *)near.port)->from, &far.self));
    static const struct {
        uint8_t at, value;
    } lies[] = {{17, 255}, {17, 27}, {38, 255}, {39, 7}, {39, 73}, {24, 1}};
    for (size_t i = 0; i < sizeof lies / sizeof *lies; i++) {
        uint32_t size = lunar_frame_build(&header, frame, 64);
        frame[lies[i].at] = lies[i].value;
        write_raw("near", frame, size);
    }
    CHECK(put(near.port, &far.self, 5, 64) && near.port->kind->flush(near.port) == 0);
    expect(far.port, 5, 1, 64, &near);
    while (far.port->rejected < sizeof lies / sizeof *lies) { /* they may come by another queue, later */
        struct pollfd ear = {.fd = far.port->fd, .events = POLLIN};
        lunar_datagram datagram;
        if (far.port->kind->prepare_sleep(far.port))
            CHECK(poll(&ear, 1, PATIENCE_MS) == 1);
        CHECK(far.port->kind->receive(far.port, &datagram, 1) == 0);
        far.port->kind->release(far.port);
    }
    CHECK(far.port->rejected == sizeof lies / sizeof *lies && far.port->received == 1);
    near.port->kind->close(near.port);
    far.port->kind->close(far.port);
}

/* Frames that are longer than one of ours are dropped and counted, not cut. */
static void with_a_large_mtu(const subject *of) {
    static uint8_t frame[14 + 9000];
    lab_set_mtu("near", 9000);
    lab_set_mtu("far", 9000);
    end near = open_end(of, "near"), far = open_end(of, "far");
    lunar_frame_header header;
    lunar_destination to = far.self;
    lunar_datagram datagram;
    uint32_t room, largest = far.port->largest_bytes;
    CHECK(largest == 4096 - 256 - 18 - 28);
    to.mtu = 9000;
    CHECK(near.port->kind->begin(near.port, &to, &room) && room == 4096 - 18 - lunar_frame_overhead(of->family));
    near.port->kind->cancel(near.port);
    CHECK(lunar_frame_prepare(&header, &((xsk *)near.port)->from, &to));
    write_raw("near", frame, lunar_frame_build(&header, frame, 8000));
    CHECK(put(near.port, &to, 1, largest) && near.port->kind->flush(near.port) == 0);
    CHECK(get(far.port, &datagram, 1) == 1 && datagram.size_bytes == largest);
    CHECK(datagram.bytes[largest - 1] == (uint8_t)largest);
    far.port->kind->release(far.port);
    for (int tries = 0; far.port->dropped == 0; tries++) { /* by another queue, perhaps later */
        struct pollfd ear = {.fd = far.port->fd, .events = POLLIN};
        CHECK(tries < PATIENCE_MS && far.port->kind->prepare_sleep(far.port));
        (void)poll(&ear, 1, 1);
    }
    CHECK(far.port->dropped == 1 && far.port->received == 1 && far.port->rejected == 0);
    near.port->kind->close(near.port);
    far.port->kind->close(far.port);
    lab_set_mtu("near", 1500);
    lab_set_mtu("far", 1500);
}

static void a_link_that_goes_down(const subject *of) {
    end near = open_end(of, "near"), far = open_end(of, "far");
    lab_set_up("near", false);
    CHECK(put(near.port, &far.self, 1, 64) && near.port->kind->flush(near.port) == -ENETDOWN);
    uint64_t number = 2;
    while (put(near.port, &far.self, number, 64)) /* it is not without end */
        number++;
    CHECK(number < 5000);
    lab_set_up("near", true);
    /* What waited goes now; then all is as before. */
    for (int tries = 0; !put(near.port, &far.self, number, 64); tries++)
        CHECK(near.port->kind->flush(near.port) == 0 && tries < PATIENCE_MS);
    CHECK(near.port->kind->flush(near.port) == 0);
    expect(far.port, 1, number, 64, &near);
    lab_set_up("far", false); /* no carrier: they are lost, and nobody here can know */
    CHECK(put(near.port, &far.self, 1, 64) && near.port->kind->flush(near.port) == 0);
    lab_set_up("far", true);
    CHECK(put(near.port, &far.self, 2, 64) && near.port->kind->flush(near.port) == 0);
    expect(far.port, 2, 1, 64, &near);
    near.port->kind->close(near.port);
    far.port->kind->close(far.port);
}

static void an_interface_that_goes(const subject *of) {
    lab_add_cable("left", "right", 1);
    lab_set_up("left", true);
    lab_set_up("right", true);
    lunar_xsk_options options = xsk_options("left", of->mode);
    end left = {.self = {.family = 4, .mtu = 1500, .port = PORT, .address = {198, 18, 0, 9}}};
    CHECK(lunar_xsk_open(&left.port, &options, NULL) == 0);
    CHECK(!left.port->kind->has_input(left.port) && left.port->kind->prepare_sleep(left.port));
    memcpy(options.ipv4, FAR[0], 4);
    lab_remove("left");
    lunar_datagram datagram;
    CHECK(put(left.port, &left.self, 1, 64));
    CHECK(left.port->kind->flush(left.port) < 0 && left.port->kind->flush(left.port) == -ENODEV);
    CHECK(!left.port->kind->prepare_sleep(left.port) && left.port->kind->has_input(left.port));
    CHECK(left.port->kind->receive(left.port, &datagram, 1) == -ENODEV);
    left.port->kind->release(left.port);
    left.port->kind->close(left.port);
}

static void who_has_it_is_told(const subject *of) {
    end near = open_end(of, "near");
    lunar_xsk_options options = xsk_options("near", of->mode);
    lunar_xsk_description description;
    lunar_reason reason;
    lunar_port *second = NULL;
    lunar_xsk_describe(near.port, &description);
    CHECK(description.native == (of->mode == LUNAR_FILTER_NATIVE) && !description.zero_copy && description.queues == 2);
    CHECK(lunar_xsk_open(&second, &options, &reason) == -EBUSY && !second);
    CHECK(strstr(reason.text, "another Lunar process"));
    near.port->kind->close(near.port);
    options.port = 0;
    CHECK(lunar_xsk_open(&second, &options, &reason) == -EINVAL);
    options.port = PORT, options.rx_frames = 3;
    CHECK(lunar_xsk_open(&second, &options, &reason) == -EINVAL);
    options.interface = 4711;
    CHECK(lunar_xsk_open(&second, &options, &reason) == -ENODEV);
    options.interface = if_nametoindex("lo");
    CHECK(lunar_xsk_open(&second, &options, &reason) == -EAFNOSUPPORT);
}

/* ---- UDP's own */

static void too_long_for_its_path(void) {
    const subject of = {.name = "udp", .family = 4, .udp = true, .mtu = 60000};
    end near = open_end(&of, "near"), far = open_end(&of, "far");
    lab_set_mtu("lo", 1500);
    for (int i = 0; i < 3; i++)
        CHECK(put(near.port, &far.self, 1, 4000));
    CHECK(put(near.port, &far.self, 7, 64));
    CHECK(near.port->kind->flush(near.port) == 0 && near.port->unsent == 3 && near.port->sent == 1);
    expect(far.port, 7, 1, 64, &near);
    lab_set_mtu("lo", 65536);
    near.port->kind->close(near.port);
    far.port->kind->close(far.port);
}

static void a_port_that_is_taken(void) {
    const subject of = {.name = "udp", .family = 6, .udp = true, .mtu = 1500};
    end first = open_end(&of, "near");
    lunar_socket_options options = {.family = 6, .port = first.port->port};
    lunar_reason reason;
    lunar_port *second = NULL;
    CHECK(lunar_socket_open(&second, &options, &reason) == -EADDRINUSE && !second);
    options.family = 5;
    CHECK(lunar_socket_open(&second, &options, &reason) == -EAFNOSUPPORT);
    first.port->kind->close(first.port);
}

int main(void) {
    static const subject subjects[] = {
        {.name = "native", .family = 4, .mtu = 1500, .mode = LUNAR_FILTER_NATIVE},
        {.name = "native, IPv6, VLAN", .family = 6, .vlan = 7, .mtu = 1400, .mode = LUNAR_FILTER_NATIVE},
        {.name = "generic", .family = 4, .mtu = 1500, .mode = LUNAR_FILTER_GENERIC},
        {.name = "udp", .family = 4, .udp = true, .mtu = 9000},
        {.name = "udp, IPv6", .family = 6, .udp = true, .mtu = 1500},
        {.name = "udp, no offload", .family = 4, .udp = true, .no_offload = true, .mtu = 1500},
    };
    lunar_reason reason;
    if (!lab_enter("ports"))
        return 0;
    lab_set_up("lo", true);
    lab_add_cable("near", "far", 2);
    lab_set_up("near", true);
    lab_set_up("far", true);
    bool xdp = lunar_filter_probe(&reason) == 0;
    if (!xdp)
        printf("ports: AF_XDP skipped: %s\n", reason.text);
    for (size_t i = 0; i < sizeof subjects / sizeof *subjects; i++) {
        const subject *of = &subjects[i];
        if (!of->udp && !xdp)
            continue;
        printf("%s\n", of->name);
        fflush(stdout);
        there_and_back(of);
        a_mixture(of);
        a_destination_that_is_none(of);
        asleep_and_awake(of);
        if (!of->udp || of->no_offload) /* what the kernel has joined it counts as one */
            what_is_dropped_is_counted(of);
        if (of->udp)
            continue;
        if (of->family == 4) {
            hostile_frames_are_rejected(of);
            with_a_large_mtu(of);
        }
        a_link_that_goes_down(of);
        an_interface_that_goes(of);
        who_has_it_is_told(of);
    }
    too_long_for_its_path();
    a_port_that_is_taken();
    printf("ports: ok\n");
    return 0;
}
