/* bpf(2), as much of it as the filter needs.  All return 0 or a descriptor (close-on-exec), or a negative errno. */
#ifndef LUNAR_XDP_BPF_H
#define LUNAR_XDP_BPF_H

#include <linux/bpf.h>
#include <stddef.h>
#include <stdint.h>

#define LUNAR_BPF_NAME_BYTES 16 /* with its NUL; letters, digits, '_' and '.' */

int lunar_bpf_map(uint32_t type, uint32_t key_bytes, uint32_t value_bytes, uint32_t entries, const char *name);
int lunar_bpf_set(int map, const void *key, const void *value);
int lunar_bpf_get(int map, const void *key, void *value);
int lunar_bpf_unset(int map, const void *key);

/* An XDP program.  `log` takes what the verifier says, if it is not NULL; it is told only when it refuses. */
int lunar_bpf_load(const struct bpf_insn *instructions, uint32_t count, uint32_t flags, const char *name, char *log,
                   uint32_t log_bytes);

/* Attach an XDP program: it stays for as long as the descriptor of the link that is returned. */
int lunar_bpf_link(int program, uint32_t interface, uint32_t flags);

/* Whether this kernel knows links for XDP: -EINVAL if it does not know them at all. */
int lunar_bpf_knows_links(void);

/* The name and the id of a program, by its descriptor. */
int lunar_bpf_program(int program, char name[LUNAR_BPF_NAME_BYTES], uint32_t *id);
int lunar_bpf_program_by_id(uint32_t id);

/* The id after this one of all programs that this machine has loaded; -ENOENT after the last one. */
int lunar_bpf_next_program(uint32_t *id);

/* Run a loaded program on a frame in memory; what it returns. */
int lunar_bpf_try(int program, const void *frame, uint32_t size_bytes);

#endif
