#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif
#ifndef F_SEAL_FUTURE_WRITE
#define F_SEAL_FUTURE_WRITE 0x0010
#endif

/* Up to here a mapping is populated eagerly. */
#define POPULATE_BYTES ((size_t)1 << 20)

int lunar_memory_create(const char *name, size_t size_bytes) {
    int fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (fd < 0 && errno == EINVAL) /* kernels before 6.3 */
        fd = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
    if (fd < 0)
        return -errno;
    if (ftruncate(fd, (off_t)size_bytes) < 0) {
        int error = errno;
        close(fd);
        return -error;
    }
    return fd;
}

int lunar_memory_seal(int fd, int read_only) {
    int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | (read_only ? F_SEAL_FUTURE_WRITE : 0);
    return fcntl(fd, F_ADD_SEALS, seals) < 0 ? -errno : 0;
}

int lunar_memory_check(int fd, size_t size_bytes) {
    struct stat status;
    struct statfs system;
    int seals = fcntl(fd, F_GET_SEALS); /* first: a file system may be slow to answer others */
    if (seals < 0 || !(seals & F_SEAL_SHRINK))
        return -EPERM;
    /* Of huge pages there may be none left when one that was punched out is touched: SIGBUS. */
    if (fstatfs(fd, &system) < 0)
        return -errno;
    if (system.f_type != TMPFS_MAGIC)
        return -EPERM;
    if (fstat(fd, &status) < 0)
        return -errno;
    return status.st_size >= 0 && (size_t)status.st_size == size_bytes ? 0 : -EINVAL;
}

static int is_populated(int fd, size_t size_bytes) {
    struct stat status;
    return fstat(fd, &status) == 0 && (size_t)status.st_blocks * 512 >= size_bytes;
}

int lunar_memory_map(int fd, size_t size_bytes, int writable, int received, void **address) {
    int flags = MAP_SHARED;
    if (size_bytes <= POPULATE_BYTES && (!received || is_populated(fd, size_bytes)))
        flags |= MAP_POPULATE;
    void *mapped = mmap(NULL, size_bytes, writable ? PROT_READ | PROT_WRITE : PROT_READ, flags, fd, 0);
    if (mapped == MAP_FAILED)
        return -errno;
    *address = mapped;
    return 0;
}

void lunar_memory_unmap(void *address, size_t size_bytes) {
    if (address)
        munmap(address, size_bytes);
}
