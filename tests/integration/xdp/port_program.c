/* A port at the end of a pipe: one command a line, one answer a line, so that a test can have one on each host.
 *
 *   open xdp LINK IPV4 PORT native|generic|best    open udp IPV4 PORT    occupy LINK
 *   send IPV4 PORT MAC COUNT SIZE                  receive COUNT         counters    programs PREFIX
 */
#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bpf.h"
#include "socket.h"
#include "xsk.h"

enum { MOST = 64, PATIENCE_MS = 5000 };

static lunar_port *port;
static bool is_xdp;

static void refuse(int error, const char *reason) { printf("error %d %s\n", -error, reason); }

static void open_xdp(const char *link, const char *address, unsigned number, const char *mode) {
    lunar_reason reason = {""};
    lunar_xsk_description is;
    lunar_xsk_options options = {.interface = if_nametoindex(link), .port = (uint16_t)number};
    options.mode = strcmp(mode, "native") == 0    ? LUNAR_FILTER_NATIVE
                   : strcmp(mode, "generic") == 0 ? LUNAR_FILTER_GENERIC
                                                  : LUNAR_FILTER_BEST;
    inet_pton(AF_INET, address, options.ipv4);
    int error = lunar_xsk_open(&port, &options, &reason);
    if (error) {
        refuse(error, reason.text);
        return;
    }
    is_xdp = true;
    lunar_xsk_describe(port, &is);
    printf("ok %s %u %u\n", is.native ? "native" : "generic", is.queues, is.program_id);
}

static void open_udp(const char *address, unsigned number) {
    lunar_reason reason = {""};
    lunar_socket_options options = {.family = 4, .port = (uint16_t)number};
    inet_pton(AF_INET, address, options.address);
    int error = lunar_socket_open(&port, &options, &reason);
    if (error)
        refuse(error, reason.text);
    else
        printf("ok udp\n");
}

/* Another's program, for as long as this process lives. */
static void occupy(const char *link) {
    static const struct bpf_insn pass[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = XDP_PASS},
                                           {.code = BPF_JMP | BPF_EXIT}};
    int program = lunar_bpf_load(pass, 2, 0, "firewall", NULL, 0);
    int error = program < 0 ? program : lunar_bpf_link(program, if_nametoindex(link), 0);
    if (error < 0)
        refuse(error, "no program");
    else
        printf("ok\n");
}

static void send_some(const char *address, unsigned number, const char *mac, unsigned count, unsigned size_bytes) {
    unsigned m[6] = {0};
    lunar_destination to = {.family = 4, .port = (uint16_t)number, .mtu = 1500};
    inet_pton(AF_INET, address, to.address);
    sscanf(mac, "%x:%x:%x:%x:%x:%x", m, m + 1, m + 2, m + 3, m + 4, m + 5);
    for (int i = 0; i < 6; i++)
        to.mac[i] = (uint8_t)m[i];
    unsigned sent = 0;
    for (; sent < count; sent++) {
        uint32_t room;
        uint8_t *payload = port->kind->begin(port, &to, &room);
        if (!payload || room < size_bytes)
            break;
        memset(payload, (int)(sent % 251), size_bytes);
        port->kind->commit(port, size_bytes, 0);
    }
    printf("ok %u %d\n", sent, -port->kind->flush(port));
}

/* Sleeps until so many have come; each must be all of one byte. */
static void receive_some(unsigned count) {
    lunar_datagram datagrams[MOST];
    unsigned received = 0, wrong = 0;
    while (received < count) {
        unsigned left = count - received;
        int got = port->kind->receive(port, datagrams, left < MOST ? (int)left : MOST);
        if (got < 0) {
            refuse(got, "receive");
            return;
        }
        for (int i = 0; i < got; i++)
            for (uint32_t at = 1; at < datagrams[i].size_bytes; at++)
                wrong += datagrams[i].bytes[at] != datagrams[i].bytes[0];
        received += (unsigned)got;
        port->kind->release(port);
        struct pollfd ear = {.fd = port->fd, .events = POLLIN};
        if (!got && port->kind->prepare_sleep(port) && poll(&ear, 1, PATIENCE_MS) == 0)
            break;
    }
    printf("ok %u %u\n", received, wrong);
}

static void tell_counters(void) {
    lunar_datagram datagram;
    lunar_filter_counters filter = {0};
    (void)port->kind->receive(port, &datagram, 0);
    (void)port->kind->prepare_sleep(port);
    if (is_xdp)
        (void)lunar_filter_read(lunar_xsk_filter(port), &filter);
    printf("ok %llu %llu %llu %llu %llu\n", (unsigned long long)port->rejected, (unsigned long long)port->dropped,
           (unsigned long long)filter.taken, (unsigned long long)filter.passed, (unsigned long long)filter.unserved);
}

/* How many loaded programs of the whole machine have a name that begins so. */
static void count_programs(const char *prefix) {
    unsigned found = 0;
    for (uint32_t id = 0; lunar_bpf_next_program(&id) == 0;) {
        char name[LUNAR_BPF_NAME_BYTES];
        int program = lunar_bpf_program_by_id(id);
        uint32_t same;
        if (program < 0)
            continue;
        found += lunar_bpf_program(program, name, &same) == 0 && strncmp(name, prefix, strlen(prefix)) == 0;
        close(program);
    }
    printf("ok %u\n", found);
}

int main(void) {
    char line[256], a[64], b[64], c[64];
    unsigned n, m, k;
    setvbuf(stdout, NULL, _IOLBF, 0);
    while (fgets(line, sizeof line, stdin)) {
        if (sscanf(line, "open xdp %63s %63s %u %63s", a, b, &n, c) == 4)
            open_xdp(a, b, n, c);
        else if (sscanf(line, "open udp %63s %u", a, &n) == 2)
            open_udp(a, n);
        else if (sscanf(line, "occupy %63s", a) == 1)
            occupy(a);
        else if (sscanf(line, "programs %63s", a) == 1)
            count_programs(a);
        else if (port && sscanf(line, "send %63s %u %63s %u %u", a, &n, b, &m, &k) == 5)
            send_some(a, n, b, m, k);
        else if (port && sscanf(line, "receive %u", &n) == 1)
            receive_some(n);
        else if (port && strcmp(line, "counters\n") == 0)
            tell_counters();
        else
            printf("error 22 not understood\n");
    }
    if (port)
        port->kind->close(port);
    return 0;
}
