#include "bpf.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Every union member is smaller than the whole, and the kernel wants the rest to be zero. */
static int bpf_call(int command, union bpf_attr *attributes) {
    long answer = syscall(SYS_bpf, command, attributes, sizeof *attributes);
    return answer < 0 ? -errno : (int)answer;
}

static uint64_t address_of(const void *pointer) { return (uint64_t)(uintptr_t)pointer; }

static void name_it(char *field, const char *name) {
    size_t size_bytes = strnlen(name, LUNAR_BPF_NAME_BYTES - 1);
    memcpy(field, name, size_bytes); /* the NUL is there: all was zero */
}

int lunar_bpf_map(uint32_t type, uint32_t key_bytes, uint32_t value_bytes, uint32_t entries, const char *name) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_type = type;
    attributes.key_size = key_bytes;
    attributes.value_size = value_bytes;
    attributes.max_entries = entries;
    name_it(attributes.map_name, name);
    return bpf_call(BPF_MAP_CREATE, &attributes);
}

static int element(int command, int map, const void *key, const void *value) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.map_fd = (uint32_t)map;
    attributes.key = address_of(key);
    attributes.value = address_of(value);
    return bpf_call(command, &attributes);
}

int lunar_bpf_set(int map, const void *key, const void *value) {
    return element(BPF_MAP_UPDATE_ELEM, map, key, value);
}

int lunar_bpf_get(int map, const void *key, void *value) { return element(BPF_MAP_LOOKUP_ELEM, map, key, value); }

int lunar_bpf_unset(int map, const void *key) { return element(BPF_MAP_DELETE_ELEM, map, key, NULL); }

int lunar_bpf_load(const struct bpf_insn *instructions, uint32_t count, uint32_t flags, const char *name, char *log,
                   uint32_t log_bytes) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.prog_type = BPF_PROG_TYPE_XDP;
    attributes.expected_attach_type = BPF_XDP;
    attributes.insns = address_of(instructions);
    attributes.insn_cnt = count;
    attributes.license = address_of("Apache-2.0"); /* nothing that is called here is for GPL programs alone */
    attributes.prog_flags = flags;
    name_it(attributes.prog_name, name);
    int program = bpf_call(BPF_PROG_LOAD, &attributes);
    if (program >= 0 || !log)
        return program;
    log[0] = 0;
    attributes.log_buf = address_of(log);
    attributes.log_size = log_bytes;
    attributes.log_level = 1;
    return bpf_call(BPF_PROG_LOAD, &attributes);
}

int lunar_bpf_link(int program, uint32_t interface, uint32_t flags) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.link_create.prog_fd = (uint32_t)program;
    attributes.link_create.target_ifindex = interface;
    attributes.link_create.attach_type = BPF_XDP;
    attributes.link_create.flags = flags;
    return bpf_call(BPF_LINK_CREATE, &attributes);
}

int lunar_bpf_knows_links(void) {
    int answer = lunar_bpf_link(-1, 0, 0);
    return answer == -EBADF ? 0 : answer;
}

int lunar_bpf_program(int program, char name[LUNAR_BPF_NAME_BYTES], uint32_t *id) {
    struct bpf_prog_info info;
    union bpf_attr attributes;
    memset(&info, 0, sizeof info);
    memset(&attributes, 0, sizeof attributes);
    attributes.info.bpf_fd = (uint32_t)program;
    attributes.info.info_len = sizeof info;
    attributes.info.info = address_of(&info);
    int answer = bpf_call(BPF_OBJ_GET_INFO_BY_FD, &attributes);
    if (answer < 0)
        return answer;
    memcpy(name, info.name, LUNAR_BPF_NAME_BYTES);
    name[LUNAR_BPF_NAME_BYTES - 1] = 0;
    *id = info.id;
    return 0;
}

int lunar_bpf_program_by_id(uint32_t id) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.prog_id = id;
    return bpf_call(BPF_PROG_GET_FD_BY_ID, &attributes);
}

int lunar_bpf_next_program(uint32_t *id) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.start_id = *id;
    int answer = bpf_call(BPF_PROG_GET_NEXT_ID, &attributes);
    if (answer == 0)
        *id = attributes.next_id;
    return answer;
}

int lunar_bpf_try(int program, const void *frame, uint32_t size_bytes) {
    union bpf_attr attributes;
    memset(&attributes, 0, sizeof attributes);
    attributes.test.prog_fd = (uint32_t)program;
    attributes.test.data_in = address_of(frame);
    attributes.test.data_size_in = size_bytes;
    attributes.test.repeat = 1;
    int answer = bpf_call(BPF_PROG_TEST_RUN, &attributes);
    return answer < 0 ? answer : (int)attributes.test.retval;
}
