/* Registers: r6 the context, r7 where the IP header ends up being looked for (moves on over a tag and over IPv4's
 * options), r8 the end of the frame, r9 the verdict.  r0 to r5 are spent by calls.  On the stack: at -16 the address
 * that is asked for, at -24 the counter's number. */
#include "program.h"

#include <arpa/inet.h>


enum { LABELS = 8, FIXUPS = 32, ETHERNET = 14, LOOKUP = 1, REDIRECT = 51 };

typedef enum { UNTAGGED, IPV4, IPV6, OURS, PASS, COUNT, LEAVE } label;

typedef struct {
    struct bpf_insn *at;
    uint32_t count, fixups;
    uint32_t labels[LABELS];
    struct {
        uint32_t at;
        label to;
    } fixup[FIXUPS];
} assembler;

static void emit(assembler *to, int code, int destination, int source, int offset, int immediate) {
    to->at[to->count++] = (struct bpf_insn){.code = (uint8_t)code,
                                            .dst_reg = (uint8_t)destination & 15,
                                            .src_reg = (uint8_t)source & 15,
                                            .off = (int16_t)offset,
                                            .imm = immediate};
}

static void place(assembler *to, label here) { to->labels[here] = to->count; }

static void jump(assembler *to, int condition, int left, int immediate, label target) {
    to->fixup[to->fixups].at = to->count;
    to->fixup[to->fixups++].to = target;
    emit(to, BPF_JMP | condition | BPF_K, left, 0, 0, immediate);
}

static void always(assembler *to, label target) { jump(to, BPF_JA, 0, 0, target); }

static void move(assembler *to, int left, int right) { emit(to, BPF_ALU64 | BPF_MOV | BPF_X, left, right, 0, 0); }

static void set(assembler *to, int left, int value) { emit(to, BPF_ALU64 | BPF_MOV | BPF_K, left, 0, 0, value); }

static void compute(assembler *to, int operation, int left, int value) {
    emit(to, BPF_ALU64 | operation | BPF_K, left, 0, 0, value);
}

static void load(assembler *to, int width, int left, int base, int offset) {
    emit(to, BPF_LDX | BPF_MEM | width, left, base, offset, 0);
}

static void store(assembler *to, int width, int base, int offset, int value) {
    emit(to, BPF_STX | BPF_MEM | width, base, value, offset, 0);
}

static void store_number(assembler *to, int width, int offset, int number) {
    emit(to, BPF_ST | BPF_MEM | width, BPF_REG_10, 0, offset, number);
}

static void load_map(assembler *to, int left, int map) {
    emit(to, BPF_LD | BPF_DW | BPF_IMM, left, BPF_PSEUDO_MAP_FD, 0, map);
    emit(to, 0, 0, 0, 0, 0); /* its upper half */
}

static void call_helper(assembler *to, int function) { emit(to, BPF_JMP | BPF_CALL, 0, 0, 0, function); }

/* Frames that are shorter than r7 + bytes pass. */
static void demand(assembler *to, int bytes) {
    move(to, BPF_REG_0, BPF_REG_7);
    compute(to, BPF_ADD, BPF_REG_0, bytes);
    to->fixup[to->fixups].at = to->count;
    to->fixup[to->fixups++].to = PASS;
    emit(to, BPF_JMP | BPF_JGT | BPF_X, BPF_REG_0, BPF_REG_8, 0, 0);
}

static void write_ethernet(assembler *to) {
    move(to, BPF_REG_6, BPF_REG_1);
    load(to, BPF_W, BPF_REG_7, BPF_REG_6, 0); /* xdp_md.data */
    load(to, BPF_W, BPF_REG_8, BPF_REG_6, 4); /* xdp_md.data_end */
    demand(to, ETHERNET);
    load(to, BPF_H, BPF_REG_1, BPF_REG_7, 12);
    jump(to, BPF_JNE, BPF_REG_1, htons(0x8100), UNTAGGED);
    compute(to, BPF_ADD, BPF_REG_7, 4);
    demand(to, ETHERNET);
    load(to, BPF_H, BPF_REG_1, BPF_REG_7, 12);
    place(to, UNTAGGED);
    jump(to, BPF_JEQ, BPF_REG_1, htons(0x0800), IPV4);
    jump(to, BPF_JEQ, BPF_REG_1, htons(0x86dd), IPV6);
    always(to, PASS);
}

static void write_ipv4(assembler *to, uint16_t port) {
    place(to, IPV4);
    demand(to, ETHERNET + 20);
    load(to, BPF_B, BPF_REG_2, BPF_REG_7, ETHERNET + 9);
    jump(to, BPF_JNE, BPF_REG_2, 17, PASS);
    load(to, BPF_H, BPF_REG_2, BPF_REG_7, ETHERNET + 6);
    compute(to, BPF_AND, BPF_REG_2, htons(0x3fff)); /* more fragments, or an offset */
    jump(to, BPF_JNE, BPF_REG_2, 0, PASS);
    load(to, BPF_B, BPF_REG_1, BPF_REG_7, ETHERNET);
    jump(to, BPF_JLT, BPF_REG_1, 0x45, PASS); /* the version and the least length in one */
    jump(to, BPF_JGT, BPF_REG_1, 0x4f, PASS);
    store_number(to, BPF_DW, -16, 0);
    store_number(to, BPF_W, -8, (int)htonl(0x0000ffff));
    load(to, BPF_W, BPF_REG_2, BPF_REG_7, ETHERNET + 16);
    store(to, BPF_W, BPF_REG_10, -4, BPF_REG_2);
    compute(to, BPF_AND, BPF_REG_1, 15);
    compute(to, BPF_LSH, BPF_REG_1, 2);
    emit(to, BPF_ALU64 | BPF_ADD | BPF_X, BPF_REG_7, BPF_REG_1, 0, 0);
    demand(to, ETHERNET + 8);
    load(to, BPF_H, BPF_REG_1, BPF_REG_7, ETHERNET + 2);
    jump(to, BPF_JEQ, BPF_REG_1, htons(port), OURS);
    always(to, PASS);
}

static void write_ipv6(assembler *to, uint16_t port) {
    place(to, IPV6);
    demand(to, ETHERNET + 40 + 8);
    load(to, BPF_B, BPF_REG_1, BPF_REG_7, ETHERNET + 6);
    jump(to, BPF_JNE, BPF_REG_1, 17, PASS);
    load(to, BPF_H, BPF_REG_1, BPF_REG_7, ETHERNET + 40 + 2);
    jump(to, BPF_JNE, BPF_REG_1, htons(port), PASS);
    load(to, BPF_B, BPF_REG_1, BPF_REG_7, ETHERNET);
    compute(to, BPF_RSH, BPF_REG_1, 4);
    jump(to, BPF_JNE, BPF_REG_1, 6, PASS);
    for (int word = 0; word < 4; word++) { /* by words: the address need not be aligned to more */
        load(to, BPF_W, BPF_REG_1, BPF_REG_7, ETHERNET + 24 + 4 * word);
        store(to, BPF_W, BPF_REG_10, -16 + 4 * word, BPF_REG_1);
    }
}

static void write_verdict(assembler *to, const lunar_program_inputs *inputs) {
    place(to, OURS);
    load_map(to, BPF_REG_1, inputs->addresses);
    move(to, BPF_REG_2, BPF_REG_10);
    compute(to, BPF_ADD, BPF_REG_2, -16);
    call_helper(to, LOOKUP);
    jump(to, BPF_JEQ, BPF_REG_0, 0, PASS);
    load_map(to, BPF_REG_1, inputs->sockets);
    load(to, BPF_W, BPF_REG_2, BPF_REG_6, 16); /* xdp_md.rx_queue_index */
    set(to, BPF_REG_3, XDP_PASS);              /* the answer when there is no socket */
    call_helper(to, REDIRECT);
    move(to, BPF_REG_9, BPF_REG_0);
    store_number(to, BPF_W, -24, LUNAR_PROGRAM_TAKEN);
    jump(to, BPF_JEQ, BPF_REG_9, XDP_REDIRECT, COUNT);
    store_number(to, BPF_W, -24, LUNAR_PROGRAM_UNSERVED);
    always(to, COUNT);
    place(to, PASS);
    set(to, BPF_REG_9, XDP_PASS);
    store_number(to, BPF_W, -24, LUNAR_PROGRAM_PASSED);
}

static void write_count(assembler *to, int counters) {
    place(to, COUNT);
    load_map(to, BPF_REG_1, counters);
    move(to, BPF_REG_2, BPF_REG_10);
    compute(to, BPF_ADD, BPF_REG_2, -24);
    call_helper(to, LOOKUP);
    jump(to, BPF_JEQ, BPF_REG_0, 0, LEAVE);
    load(to, BPF_DW, BPF_REG_1, BPF_REG_0, 0);
    compute(to, BPF_ADD, BPF_REG_1, 1);
    store(to, BPF_DW, BPF_REG_0, 0, BPF_REG_1);
    place(to, LEAVE);
    move(to, BPF_REG_0, BPF_REG_9);
    emit(to, BPF_JMP | BPF_EXIT, 0, 0, 0, 0);
}

uint32_t lunar_program_write(struct bpf_insn instructions[LUNAR_PROGRAM_MOST], const lunar_program_inputs *inputs) {
    assembler to = {.at = instructions};
    write_ethernet(&to);
    write_ipv4(&to, inputs->port);
    write_ipv6(&to, inputs->port);
    write_verdict(&to, inputs);
    write_count(&to, inputs->counters);
    for (uint32_t i = 0; i < to.fixups; i++) /* counted from the instruction after the jump */
        instructions[to.fixup[i].at].off = (int16_t)(to.labels[to.fixup[i].to] - to.fixup[i].at - 1);
    return to.count;
}
