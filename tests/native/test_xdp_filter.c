/* The filter: what it takes and what it leaves, frame by frame; how it is attached, and that it goes with its owner. */
#include "../../transports/xdp/native/net/bpf.c"
#include "../../transports/xdp/native/net/filter.c"
#include "../../transports/xdp/native/net/frame.c"
#include "../../transports/xdp/native/net/interface.c"
#include "../../transports/xdp/native/net/program.c"

#include <signal.h>
#include <sys/wait.h>

#include "check.h"
#include "fuzz.h"
#include "xdp_lab.h"

#define PORT 4712

static const uint8_t IPV4_HERE[4] = {198, 18, 0, 2}, IPV6_HERE[16] = {0xfd, [15] = 2};

static uint32_t build(uint8_t *frame, uint8_t family, uint16_t vlan, uint32_t payload_bytes) {
    lunar_frame_header header;
    lunar_frame_source from = {.port = 9, .ipv4 = {198, 18, 0, 1}};
    lunar_destination to = {.family = family, .vlan = vlan, .port = PORT, .mtu = 1500};
    if (family == 4)
        memcpy(to.address, IPV4_HERE, 4);
    else
        memcpy(to.address, IPV6_HERE, 16);
    CHECK(lunar_frame_prepare(&header, &from, &to));
    memset(frame + header.size_bytes, 0xaa, payload_bytes);
    return lunar_frame_build(&header, frame, payload_bytes);
}

/* By its counters: what is for us passes nevertheless, because no socket is there in these tests. */
static bool takes(const lunar_filter *filter, const uint8_t *frame, uint32_t size_bytes) {
    lunar_filter_counters before, after;
    CHECK(lunar_filter_read(filter, &before) == 0);
    CHECK(lunar_bpf_try(filter->program, frame, size_bytes) == XDP_PASS);
    CHECK(lunar_filter_read(filter, &after) == 0);
    CHECK(after.taken == 0 && after.passed + after.unserved == before.passed + before.unserved + 1);
    return after.unserved > before.unserved;
}

static void what_it_takes(void) {
    lunar_filter filter;
    lunar_reason reason = {""};
    uint8_t frame[512] = {0};
    if (lunar_filter_load(&filter, PORT, 4, false, &reason))
        fprintf(stderr, "%s\n", reason.text);
    CHECK(filter.program >= 0);
    for (int family = 4; family <= 6; family += 2) {
        const uint8_t *address = family == 4 ? IPV4_HERE : IPV6_HERE;
        for (uint16_t vlan = 0; vlan < 2; vlan++) {
            uint32_t size = build(frame, (uint8_t)family, vlan, 30);
            CHECK(!takes(&filter, frame, size)); /* not our address, yet */
            CHECK(lunar_filter_listen(&filter, (uint8_t)family, address) == 0);
            CHECK(takes(&filter, frame, size));
            uint8_t *ip = frame + 14 + 4 * vlan, *udp = ip + (family == 4 ? 20 : 40);
            udp[3]++; /* another port */
            CHECK(!takes(&filter, frame, size));
            udp[3]--;
            ip[family == 4 ? 9 : 6] = 6; /* TCP */
            CHECK(!takes(&filter, frame, size));
            ip[family == 4 ? 9 : 6] = 17;
            ip[-1]++; /* another protocol */
            CHECK(!takes(&filter, frame, size));
            ip[-1]--;
            CHECK(takes(&filter, frame, size));
            CHECK(lunar_filter_unlisten(&filter, (uint8_t)family, address) == 0);
            CHECK(lunar_filter_unlisten(&filter, (uint8_t)family, address) == 0);
            CHECK(!takes(&filter, frame, size));
        }
    }
    CHECK(lunar_filter_listen(&filter, 4, IPV4_HERE) == 0);
    uint32_t size = build(frame, 4, 0, 30);
    frame[20] = 0x20; /* more fragments */
    CHECK(!takes(&filter, frame, size));
    frame[20] = 0x40, frame[21] = 1; /* a later one */
    CHECK(!takes(&filter, frame, size));
    frame[21] = 0;
    CHECK(takes(&filter, frame, size));
    memmove(frame + 14 + 20 + 40, frame + 14 + 20, size - 34); /* ten words of options */
    memset(frame + 34, 1, 40);
    CHECK(!takes(&filter, frame, size + 40));
    frame[14] = 0x4f;
    CHECK(takes(&filter, frame, size + 40));
    lunar_filter_close(&filter);
}

/* The program and the parser agree: what the program takes is a datagram, or was one until somebody lied. */
static void both_agree(void) {
    lunar_filter filter;
    CHECK(lunar_filter_load(&filter, PORT, 1, true, NULL) == 0);
    CHECK(lunar_filter_listen(&filter, 4, IPV4_HERE) == 0 && lunar_filter_listen(&filter, 6, IPV6_HERE) == 0);
    uint64_t state = fuzz_seed(), rounds = fuzz_rounds(2000), parsed = 0;
    for (uint64_t round = 0; round < rounds; round++) {
        uint8_t frame[512] = {0};
        uint32_t size = build(frame, fuzz_below(&state, 2) ? 4 : 6, (uint16_t)fuzz_below(&state, 2), 30);
        for (uint64_t changes = fuzz_below(&state, 3); changes; changes--)
            frame[fuzz_below(&state, 66)] = (uint8_t)fuzz_lie(&state, 20);
        lunar_datagram got;
        bool taken = takes(&filter, frame, size), good = lunar_frame_parse(frame, size, PORT, &got);
        parsed += good;
        if (!good || taken)
            continue;
        /* Good and not taken: it is to somebody else. */
        const uint8_t *ip = frame + (frame[12] == 0x81 ? 18 : 14);
        CHECK(got.family == 4 ? memcmp(ip + 16, IPV4_HERE, 4) : memcmp(ip + 24, IPV6_HERE, 16));
    }
    CHECK(parsed > rounds / 10);
    lunar_filter_close(&filter);
}

static lunar_interface look_up(const char *name) {
    lunar_interface interface;
    CHECK(lunar_interface_look_up(&interface, if_nametoindex(name)) == 0);
    return interface;
}

static void how_it_is_attached(void) {
    lunar_filter filter, second;
    lunar_reason reason = {""};
    lunar_interface near = look_up("near");
    CHECK(near.mtu == 1500 && near.queues == 2 && strcmp(near.name, "near") == 0 && !near.native_program);
    CHECK(lunar_filter_probe(&reason) == 0);
    CHECK(lunar_filter_open(&filter, &near, PORT, LUNAR_FILTER_BEST, &reason) == 0);
    CHECK(filter.native && filter.frags && look_up("near").native_program == filter.program_id);
    for (int mode = LUNAR_FILTER_BEST; mode <= LUNAR_FILTER_GENERIC; mode++) {
        char whose[64];
        snprintf(whose, sizeof whose, "another Lunar process, %d", (int)getpid());
        CHECK(lunar_filter_open(&second, &near, PORT, (lunar_filter_mode)mode, &reason) == -EBUSY);
        CHECK(strstr(reason.text, whose));
    }
    lunar_filter_close(&filter);
    CHECK(!look_up("near").native_program);
    CHECK(lunar_filter_open(&filter, &near, PORT, LUNAR_FILTER_GENERIC, &reason) == 0);
    CHECK(!filter.native && look_up("near").generic_program == filter.program_id);
    CHECK(lunar_filter_open(&second, &near, PORT, LUNAR_FILTER_NATIVE, &reason) == -EBUSY);
    lunar_filter_close(&filter);
    /* A program that does not call itself ours. */
    CHECK(lunar_filter_load(&filter, PORT, 1, false, &reason) == 0);
    static const struct bpf_insn pass[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = XDP_PASS},
                                           {.code = BPF_JMP | BPF_EXIT}};
    int program = lunar_bpf_load(pass, 2, 0, "firewall", NULL, 0), link;
    CHECK(program >= 0 && (link = lunar_bpf_link(program, near.index, XDP_FLAGS_DRV_MODE)) >= 0);
    CHECK(lunar_filter_open(&second, &near, PORT, LUNAR_FILTER_BEST, &reason) == -EBUSY);
    CHECK(strstr(reason.text, "near has another XDP program, firewall (id "));
    close(link);
    close(program);
    lunar_filter_close(&filter);
    lunar_interface none = near;
    none.index = 4711;
    CHECK(lunar_filter_open(&second, &none, PORT, LUNAR_FILTER_BEST, &reason) < 0);
    CHECK(lunar_interface_look_up(&none, 4711) == -ENODEV);
}

/* An administrator can raise it while the program is there. */
static void with_a_large_mtu(void) {
    lunar_filter filter;
    lunar_reason reason = {""};
    for (int before = 0; before < 2; before++) {
        lunar_interface near = look_up("near");
        CHECK(lunar_filter_open(&filter, &near, PORT, LUNAR_FILTER_NATIVE, &reason) == 0);
        lab_set_mtu("near", before ? 1500 : 9000);
        lab_set_mtu("far", before ? 1500 : 9000);
        lunar_filter_close(&filter);
    }
}

static void it_goes_with_its_owner(void) {
    int pipes[2];
    char byte;
    CHECK(pipe(pipes) == 0);
    pid_t owner = fork();
    if (owner == 0) {
        lunar_filter filter;
        lunar_interface near = look_up("near");
        CHECK(lunar_filter_open(&filter, &near, PORT, LUNAR_FILTER_BEST, NULL) == 0);
        CHECK(write(pipes[1], "", 1) == 1);
        for (;;)
            pause();
    }
    CHECK(owner > 0 && read(pipes[0], &byte, 1) == 1 && look_up("near").native_program);
    CHECK(kill(owner, SIGKILL) == 0 && waitpid(owner, NULL, 0) == owner);
    CHECK(!look_up("near").native_program);
    close(pipes[0]);
    close(pipes[1]);
}

/* Whoever lacks a capability is told which one. */
static void without_privilege(void) {
    pid_t user = fork();
    if (user == 0) {
        lunar_reason reason = {""};
        CHECK(setresuid(65534, 65534, 65534) == 0);
        CHECK(lunar_filter_probe(&reason) == -EPERM && strstr(reason.text, "CAP_NET_RAW"));
        lunar_filter filter;
        CHECK(lunar_filter_load(&filter, PORT, 1, false, &reason) == -EPERM && strstr(reason.text, "CAP_BPF"));
        _exit(0);
    }
    int status;
    CHECK(user > 0 && waitpid(user, &status, 0) == user && status == 0);
}

int main(void) {
    lunar_reason reason;
    if (!lab_enter("filter"))
        return 0;
    if (lunar_filter_probe(&reason)) {
        printf("filter: skipped: %s\n", reason.text);
        return 0;
    }
    lab_add_cable("near", "far", 2);
    lab_set_up("near", true);
    lab_set_up("far", true);
    what_it_takes();
    both_agree();
    how_it_is_attached();
    with_a_large_mtu();
    it_goes_with_its_owner();
    without_privilege();
    printf("filter: ok\n");
    return 0;
}
