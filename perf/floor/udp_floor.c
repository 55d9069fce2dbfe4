/* The floor of UDP: ping-pong and flood on one socket that is polled, never slept on.
 *
 * `--backend connected` (default) knows one peer and spares the kernel the route for each datagram; `unconnected` is
 * how one socket serves many peers.
 */
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "floor.h"

enum { IDLE_NS = 500000000, BUFFER_BYTES = 1 << 23 };

typedef struct {
    struct sockaddr_in there;
    socklen_t there_bytes; /* 0: connected */
} peer;

static int open_socket(const floor_options *options, peer *to) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(FLOOR_PORT)}, there = here;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), bytes = BUFFER_BYTES;
    memcpy(&here.sin_addr, options->here, 4);
    memcpy(&there.sin_addr, options->there, 4);
    to->there = there;
    to->there_bytes = strcmp(options->backend, "unconnected") == 0 ? sizeof there : 0;
    if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof here) ||
        (!to->there_bytes && connect(fd, (struct sockaddr *)&there, sizeof there)))
        fail_with("no UDP socket: %s", strerror(errno));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    return fd;
}

static inline ssize_t put(int fd, const peer *to, const uint8_t *bytes, size_t size_bytes) {
    if (!to->there_bytes)
        return send(fd, bytes, size_bytes, MSG_DONTWAIT);
    return sendto(fd, bytes, size_bytes, MSG_DONTWAIT, (const struct sockaddr *)&to->there, to->there_bytes);
}

static inline ssize_t take(int fd, const peer *to, uint8_t *bytes) {
    struct sockaddr_in from;
    socklen_t from_bytes = sizeof from;
    ssize_t got;
    if (!to->there_bytes)
        while ((got = recv(fd, bytes, 2048, MSG_DONTWAIT)) < 0)
            relax();
    else
        while ((got = recvfrom(fd, bytes, 2048, MSG_DONTWAIT, (struct sockaddr *)&from, &from_bytes)) < 0)
            relax();
    return got;
}

static void ping(int fd, const peer *to, const floor_options *options) {
    uint8_t bytes[2048] = {0};
    uint64_t *times_ns = calloc(options->count + WARM_UP, sizeof *times_ns);
    if (!times_ns)
        fail_with("no memory");
    for (uint32_t round = 0; round < options->count + WARM_UP; round++) {
        uint64_t start = now_ns();
        (void)put(fd, to, bytes, options->size_bytes);
        (void)take(fd, to, bytes);
        times_ns[round] = now_ns() - start;
    }
    print_times(options, to->there_bytes ? "udp_floor ping unconnected" : "udp_floor ping", times_ns);
    free(times_ns);
}

static void pong(int fd, const peer *to) {
    uint8_t bytes[2048];
    for (;;) {
        ssize_t got = take(fd, to, bytes);
        (void)put(fd, to, bytes, (size_t)got);
    }
}

static void flood(int fd, const peer *to, const floor_options *options) {
    uint8_t bytes[2048] = {0};
    uint64_t start = now_ns(), end = start + (uint64_t)(options->seconds * 1e9), sent = 0;
    while (sent % 64 || now_ns() < end)
        sent += put(fd, to, bytes, options->size_bytes) > 0;
    print_rate(options, "udp_floor flood", sent, 0, now_ns() - start);
}

static void sink(int fd, const floor_options *options) {
    uint8_t bytes[2048];
    uint64_t first = 0, last = 0, received = 0;
    for (;;) {
        if (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
            last = now_ns();
            first = first ? first : last;
            received++;
        } else if (first && now_ns() - last > IDLE_NS) {
            break;
        }
    }
    print_rate(options, "udp_floor sink", received, 0, last - first);
}

int main(int count, char **arguments) {
    floor_options options = read_options(count, arguments);
    peer to;
    int fd = open_socket(&options, &to);
    if (strcmp(options.mode, "ping") == 0) {
        ping(fd, &to, &options);
    } else if (strcmp(options.mode, "flood") == 0) {
        flood(fd, &to, &options);
    } else {
        print_ready();
        if (strcmp(options.mode, "pong") == 0)
            pong(fd, &to);
        sink(fd, &options);
    }
    close(fd);
    return 0;
}
