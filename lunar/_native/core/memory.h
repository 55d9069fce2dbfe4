/* Memory that can be handed to another process: sealed memfds.
 *
 * Nothing here has a name in a file system, so nothing is left behind when its last holder dies.  A mapping of
 * a file that its owner can still truncate is a SIGBUS waiting in the reader; therefore whoever maps a
 * received descriptor first checks that it is sealed against shrinking.
 */
#ifndef LUNAR_MEMORY_H
#define LUNAR_MEMORY_H

#include <stddef.h>
#include <stdint.h>

/* All return 0 (or a descriptor) or a negative errno. */

/* A new memfd of `size_bytes`, not yet sealed.  The caller owns the descriptor. */
int lunar_memory_create(const char *name, size_t size_bytes);

/* Forbid resizing for ever; with `read_only`, also forbid mappings made after this call to write. */
int lunar_memory_seal(int fd, int read_only);

/* For a descriptor that a peer passed: -EPERM when it is not an ordinary memfd sealed against shrinking, -EINVAL when it
 * is not `size_bytes` long. */
int lunar_memory_check(int fd, size_t size_bytes);

/* Map the whole; small mappings are populated at once so that the first messages meet no page fault.  Of `received`
 * memory nothing is populated that its owner has not: it would be us who pays for it. */
int lunar_memory_map(int fd, size_t size_bytes, int writable, int received, void **address);
void lunar_memory_unmap(void *address, size_t size_bytes);

#endif
