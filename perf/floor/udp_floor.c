/* The floor of UDP: ping-pong and flood on one connected socket that is polled, never slept on. */
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "floor.h"

enum { IDLE_NS = 500000000, BUFFER_BYTES = 1 << 23 };

static int open_socket(const floor_options *options) {
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_port = htons(FLOOR_PORT)}, there = here;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), bytes = BUFFER_BYTES;
    memcpy(&here.sin_addr, options->here, 4);
    memcpy(&there.sin_addr, options->there, 4);
    if (fd < 0 || bind(fd, (struct sockaddr *)&here, sizeof here) || connect(fd, (struct sockaddr *)&there, sizeof there))
        fail_with("no UDP socket: %s", strerror(errno));
    (void)setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    return fd;
}

static inline ssize_t take(int fd, uint8_t *bytes) {
    ssize_t got;
    while ((got = recv(fd, bytes, 2048, MSG_DONTWAIT)) < 0)
        relax();
    return got;
}

static void ping(int fd, const floor_options *options) {
    uint8_t bytes[2048] = {0};
    uint64_t *times_ns = calloc(options->count + WARM_UP, sizeof *times_ns);
    if (!times_ns)
        fail_with("no memory");
    for (uint32_t round = 0; round < options->count + WARM_UP; round++) {
        uint64_t start = now_ns();
        (void)send(fd, bytes, options->size_bytes, MSG_DONTWAIT);
        (void)take(fd, bytes);
        times_ns[round] = now_ns() - start;
    }
    print_times(options, "udp_floor ping", times_ns);
    free(times_ns);
}

static void pong(int fd) {
    uint8_t bytes[2048];
    for (;;) {
        ssize_t got = take(fd, bytes);
        (void)send(fd, bytes, (size_t)got, MSG_DONTWAIT);
    }
}

static void flood(int fd, const floor_options *options) {
    uint8_t bytes[2048] = {0};
    uint64_t start = now_ns(), end = start + (uint64_t)(options->seconds * 1e9), sent = 0;
    while (sent % 64 || now_ns() < end)
        sent += send(fd, bytes, options->size_bytes, MSG_DONTWAIT) > 0;
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
    int fd = open_socket(&options);
    if (strcmp(options.mode, "ping") == 0) {
        ping(fd, &options);
    } else if (strcmp(options.mode, "flood") == 0) {
        flood(fd, &options);
    } else {
        print_ready();
        if (strcmp(options.mode, "pong") == 0)
            pong(fd);
        sink(fd, &options);
    }
    close(fd);
    return 0;
}
