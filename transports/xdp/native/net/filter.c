#include "filter.h"

#include <errno.h>
#include <linux/if_link.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bpf.h"
#include "program.h"

#ifndef BPF_F_XDP_HAS_FRAGS
#define BPF_F_XDP_HAS_FRAGS (1U << 5)
#endif

enum { MOST_ADDRESSES = 1024, LOG_BYTES = 1 << 16 };

static int explain_bpf(lunar_reason *reason, int error, const char *what) {
    if (error == -EPERM)
        return lunar_reason_give(reason, error,
                                 "%s needs CAP_BPF and CAP_NET_ADMIN (before Linux 5.8 CAP_SYS_ADMIN); before 5.11 it "
                                 "may also be the limit of locked memory",
                                 what);
    if (error == -ENOSYS)
        return lunar_reason_give(reason, error, "this kernel has no bpf(2), which %s needs", what);
    return lunar_reason_give(reason, error, "%s: %s", what, strerror(-error));
}

int lunar_filter_probe(lunar_reason *reason) {
    int fd = socket(AF_XDP, SOCK_RAW | SOCK_CLOEXEC, 0);
    if (fd < 0 && errno == EPERM)
        return lunar_reason_give(reason, -EPERM, "an AF_XDP socket needs CAP_NET_RAW");
    if (fd < 0)
        return lunar_reason_give(reason, -errno, "this kernel has no AF_XDP sockets (CONFIG_XDP_SOCKETS): %s",
                                 strerror(errno));
    close(fd);
    fd = lunar_bpf_map(BPF_MAP_TYPE_XSKMAP, 4, 4, 1, "lunar_probe");
    if (fd < 0)
        return explain_bpf(reason, fd, "a map of AF_XDP sockets");
    close(fd);
    int error = lunar_bpf_knows_links();
    if (error)
        return lunar_reason_give(reason, -EOPNOTSUPP, "this kernel has no BPF links for XDP: Linux 5.9 is the first");
    return 0;
}

static int load_program(lunar_filter *filter, uint16_t port, bool frags, lunar_reason *reason) {
    struct bpf_insn instructions[LUNAR_PROGRAM_MOST];
    lunar_program_inputs inputs = {
        .port = port, .sockets = filter->sockets, .addresses = filter->addresses, .counters = filter->counters};
    uint32_t count = lunar_program_write(instructions, &inputs);
    char name[LUNAR_BPF_NAME_BYTES], *log = calloc(1, LOG_BYTES);
    snprintf(name, sizeof name, "lunar_%d", (int)getpid());
    filter->program = lunar_bpf_load(instructions, count, frags ? BPF_F_XDP_HAS_FRAGS : 0, name, log, LOG_BYTES);
    int error = filter->program < 0 ? filter->program : 0;
    if (error == -EPERM || error == -ENOSYS) {
        explain_bpf(reason, error, "the filter");
    } else if (error) {
        size_t said = log ? strlen(log) : 0; /* its end says why */
        lunar_reason_give(reason, error, "this kernel refuses the filter: %s: %s", strerror(-error),
                          said > 400 ? log + said - 400 : said ? log : "it says nothing");
    }
    free(log);
    return error;
}

int lunar_filter_load(lunar_filter *filter, uint16_t port, uint32_t queues, bool frags, lunar_reason *reason) {
    char name[LUNAR_BPF_NAME_BYTES];
    *filter = (lunar_filter){.program = -1, .link = -1, .sockets = -1, .addresses = -1, .counters = -1};
    filter->sockets = lunar_bpf_map(BPF_MAP_TYPE_XSKMAP, 4, 4, queues, "lunar_sockets");
    filter->addresses = lunar_bpf_map(BPF_MAP_TYPE_HASH, 16, 4, MOST_ADDRESSES, "lunar_addresses");
    filter->counters = lunar_bpf_map(BPF_MAP_TYPE_PERCPU_ARRAY, 4, 8, LUNAR_PROGRAM_COUNTERS, "lunar_counters");
    int error = filter->sockets < 0     ? filter->sockets
                : filter->addresses < 0 ? filter->addresses
                : filter->counters < 0  ? filter->counters
                                        : 0;
    if (error)
        explain_bpf(reason, error, "a BPF map");
    else
        error = load_program(filter, port, frags, reason);
    if (!error)
        error = lunar_bpf_program(filter->program, name, &filter->program_id);
    filter->frags = frags;
    if (error)
        lunar_filter_close(filter);
    return error;
}

static int tell_who_is_there(uint32_t interface_index, int error, lunar_reason *reason) {
    lunar_interface now;
    char name[LUNAR_BPF_NAME_BYTES] = "";
    uint32_t id = 0;
    if (lunar_interface_look_up(&now, interface_index) == 0)
        id = now.native_program ? now.native_program : now.generic_program;
    int program = id ? lunar_bpf_program_by_id(id) : -1;
    if (program >= 0) {
        (void)lunar_bpf_program(program, name, &id);
        close(program);
    }
    if (!id)
        return lunar_reason_give(reason, -EBUSY, "%s is taken by another program: %s", now.name, strerror(-error));
    if (strncmp(name, "lunar_", 6) == 0)
        return lunar_reason_give(reason, -EBUSY, "%s is served by another Lunar process, %s (XDP program %u)", now.name,
                                 name + 6, id);
    return lunar_reason_give(reason, -EBUSY, "%s has another XDP program, %s (id %u)", now.name,
                             *name ? name : "without a name", id);
}

/* One mode.  As a program that takes frames in several buffers, although ours needs only the first one: drivers refuse
 * others with a large MTU, refuse to raise the MTU as long as one is there, or take offloads away from all other
 * traffic. Kernels before 5.18 know no such programs. */
static int attach(lunar_filter *filter, const lunar_interface *interface, uint16_t port, bool native,
                  lunar_reason *reason) {
    if (lunar_filter_load(filter, port, interface->queues, true, NULL)) {
        int error = lunar_filter_load(filter, port, interface->queues, false, reason);
        if (error)
            return error;
    }
    filter->link = lunar_bpf_link(filter->program, interface->index, native ? XDP_FLAGS_DRV_MODE : XDP_FLAGS_SKB_MODE);
    filter->native = native;
    if (filter->link >= 0)
        return 0;
    int error = filter->link;
    lunar_filter_close(filter);
    if (error == -EBUSY || error == -EEXIST)
        return tell_who_is_there(interface->index, error, reason);
    return lunar_reason_give(reason, error, "%s takes no XDP program in %s mode: %s", interface->name,
                             native ? "native" : "generic", strerror(-error));
}

int lunar_filter_open(lunar_filter *filter, const lunar_interface *interface, uint16_t port, lunar_filter_mode mode,
                      lunar_reason *reason) {
    lunar_reason not_native = {"asked for"};
    int error = -EOPNOTSUPP;
    if (mode != LUNAR_FILTER_GENERIC) {
        error = attach(filter, interface, port, true, &not_native);
        if (error && (mode == LUNAR_FILTER_NATIVE || error == -EBUSY || error == -EPERM))
            return lunar_reason_give(reason, error, "%s", not_native.text);
    }
    if (error)
        error = attach(filter, interface, port, false, reason);
    if (!error && !filter->native)
        filter->not_native = not_native;
    return error;
}

static void drop(int *fd) {
    if (*fd >= 0)
        close(*fd);
    *fd = -1;
}

void lunar_filter_close(lunar_filter *filter) {
    drop(&filter->link); /* first: no frame meets maps that are gone */
    drop(&filter->program);
    drop(&filter->sockets);
    drop(&filter->addresses);
    drop(&filter->counters);
}

int lunar_filter_serve(lunar_filter *filter, uint32_t queue, int socket) {
    return lunar_bpf_set(filter->sockets, &queue, &socket);
}

static bool write_key(uint8_t key[16], uint8_t family, const uint8_t *address) {
    static const uint8_t mapped[12] = {[10] = 0xff, 0xff};
    if (family == 4) {
        memcpy(key, mapped, sizeof mapped);
        memcpy(key + sizeof mapped, address, 4);
    } else if (family == 6) {
        memcpy(key, address, 16);
    }
    return family == 4 || family == 6;
}

int lunar_filter_listen(lunar_filter *filter, uint8_t family, const uint8_t *address) {
    uint8_t key[16];
    uint32_t value = 1;
    return write_key(key, family, address) ? lunar_bpf_set(filter->addresses, key, &value) : -EAFNOSUPPORT;
}

int lunar_filter_unlisten(lunar_filter *filter, uint8_t family, const uint8_t *address) {
    uint8_t key[16];
    int error = write_key(key, family, address) ? lunar_bpf_unset(filter->addresses, key) : -EAFNOSUPPORT;
    return error == -ENOENT ? 0 : error;
}

/* The kernel writes one value for each CPU that could ever be there, not for those that are. */
static uint32_t possible_cpus(void) {
    unsigned number = 0, last = 0;
    FILE *file = fopen("/sys/devices/system/cpu/possible", "re"); /* such as "0-3" or "0,2-5" */
    bool told = false;
    while (file && fscanf(file, "%u%*[-,]", &number) == 1) {
        told = true;
        last = number;
    }
    if (file)
        fclose(file);
    return told && last < 65536 ? last + 1 : 0;
}

int lunar_filter_read(const lunar_filter *filter, lunar_filter_counters *counters) {
    uint64_t sums[LUNAR_PROGRAM_COUNTERS] = {0};
    uint32_t cpus = possible_cpus();
    if (!cpus)
        return -ENOSYS;
    uint64_t *each = calloc(cpus, sizeof *each);
    int error = each ? 0 : -ENOMEM;
    for (uint32_t counter = 0; !error && counter < LUNAR_PROGRAM_COUNTERS; counter++) {
        error = lunar_bpf_get(filter->counters, &counter, each);
        for (uint32_t cpu = 0; !error && cpu < cpus; cpu++)
            sums[counter] += each[cpu];
    }
    free(each);
    *counters = (lunar_filter_counters){
        sums[LUNAR_PROGRAM_TAKEN], sums[LUNAR_PROGRAM_PASSED], sums[LUNAR_PROGRAM_UNSERVED]};
    return error;
}
