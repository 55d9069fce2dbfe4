/* The same work through Lunar's ports: what they cost beside the raw floors. */
#include "floor.h"
#include "socket.h"
#include "xsk.h"

enum { IDLE_NS = 500000000, MOST = 64 };

static bool is_udp(const floor_options *options) { return strcmp(options->backend, "udp") == 0; }

static lunar_port *open_port(const floor_options *options) {
    lunar_reason reason = {""};
    lunar_port *port = NULL;
    int error;
    if (is_udp(options)) {
        lunar_socket_options socket = {.family = 4, .port = FLOOR_PORT};
        memcpy(socket.address, options->here, 4);
        error = lunar_socket_open(&port, &socket, &reason);
    } else {
        lunar_xsk_options xsk = {.interface = if_nametoindex(options->link),
                                 .port = FLOOR_PORT,
                                 .mode = options->generic ? LUNAR_FILTER_GENERIC : LUNAR_FILTER_NATIVE};
        memcpy(xsk.ipv4, options->here, 4);
        error = lunar_xsk_open(&port, &xsk, &reason);
    }
    if (error)
        fail_with("%s", reason.text);
    return port;
}

static inline void put(lunar_port *port, const lunar_destination *to, const uint8_t *bytes, uint32_t size_bytes) {
    uint32_t room;
    uint8_t *payload;
    while (!(payload = port->kind->begin(port, to, &room)))
        (void)port->kind->flush(port);
    memcpy(payload, bytes, size_bytes);
    port->kind->commit(port, size_bytes, 0);
}

static void ping(lunar_port *port, const lunar_destination *to, const floor_options *options) {
    uint8_t bytes[2048] = {0};
    lunar_datagram datagram;
    uint64_t *times_ns = calloc(options->count + WARM_UP, sizeof *times_ns);
    if (!times_ns)
        fail_with("no memory");
    for (uint32_t round = 0; round < options->count + WARM_UP; round++) {
        uint64_t start = now_ns();
        put(port, to, bytes, options->size_bytes);
        (void)port->kind->flush(port);
        while (!port->kind->has_input(port) || port->kind->receive(port, &datagram, 1) < 1)
            relax();
        port->kind->release(port);
        times_ns[round] = now_ns() - start;
    }
    print_times(options, is_udp(options) ? "port_floor ping udp" : "port_floor ping xdp", times_ns);
    free(times_ns);
}

static void pong(lunar_port *port, const lunar_destination *to) {
    lunar_datagram datagrams[MOST];
    for (;;) {
        int count = port->kind->has_input(port) ? port->kind->receive(port, datagrams, MOST) : 0;
        if (count < 1) {
            relax();
            continue;
        }
        for (int i = 0; i < count; i++)
            put(port, to, datagrams[i].bytes, datagrams[i].size_bytes);
        port->kind->release(port);
        (void)port->kind->flush(port);
    }
}

static void flood(lunar_port *port, const lunar_destination *to, const floor_options *options) {
    uint8_t bytes[2048] = {0};
    uint64_t start = now_ns(), end = start + (uint64_t)(options->seconds * 1e9), sent = 0, now = start;
    while (now < end) {
        for (uint32_t i = 0; i < options->burst; i++)
            put(port, to, bytes, options->size_bytes);
        (void)port->kind->flush(port);
        sent += options->burst;
        if (sent % 1024 < options->burst)
            now = now_ns();
    }
    print_rate(options, is_udp(options) ? "port_floor flood udp" : "port_floor flood xdp", port->sent, port->unsent,
               now_ns() - start);
}

static void sink(lunar_port *port, const floor_options *options) {
    lunar_datagram datagrams[MOST];
    uint64_t first = 0, last = 0, received = 0;
    for (;;) {
        int count = port->kind->receive(port, datagrams, MOST);
        port->kind->release(port);
        if (count > 0) {
            last = now_ns();
            first = first ? first : last;
            received += (uint64_t)count;
        } else if (first && now_ns() - last > IDLE_NS) {
            break;
        } else {
            relax();
        }
    }
    (void)port->kind->prepare_sleep(port); /* asks how many were dropped */
    print_rate(options, is_udp(options) ? "port_floor sink udp" : "port_floor sink xdp", received, port->dropped,
               last - first);
}

int main(int count, char **arguments) {
    floor_options options = read_options(count, arguments);
    lunar_port *port = open_port(&options);
    lunar_destination to = {.family = 4, .port = FLOOR_PORT, .mtu = 1500};
    memcpy(to.mac, options.there_mac, 6);
    memcpy(to.address, options.there, 4);
    if (strcmp(options.mode, "ping") == 0) {
        ping(port, &to, &options);
    } else if (strcmp(options.mode, "flood") == 0) {
        flood(port, &to, &options);
    } else {
        print_ready();
        if (strcmp(options.mode, "pong") == 0)
            pong(port, &to);
        sink(port, &options);
    }
    port->kind->close(port);
    return 0;
}
