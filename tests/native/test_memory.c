/* Shared memory that a peer passes: what is taken for it, and what is not touched. */
#include "memory.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"

#define SIZE_BYTES ((size_t)65536)

static int made(int seals, size_t size_bytes) {
    int fd = lunar_memory_create("test", size_bytes);
    CHECK(fd >= 0);
    if (seals)
        CHECK(fcntl(fd, F_ADD_SEALS, seals) == 0);
    return fd;
}

static void check(int fd, size_t size_bytes, int expected) {
    CHECK(fd >= 0);
    CHECK(lunar_memory_check(fd, size_bytes) == expected);
    close(fd);
}

static void only_sealed_memory_is_taken(void) {
    int pipes[2], pair[2];
    check(made(F_SEAL_SHRINK, SIZE_BYTES), SIZE_BYTES, 0);
    check(made(F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL, SIZE_BYTES), SIZE_BYTES, 0);
    check(made(0, SIZE_BYTES), SIZE_BYTES, -EPERM);
    check(made(F_SEAL_GROW, SIZE_BYTES), SIZE_BYTES, -EPERM);
    check(made(F_SEAL_GROW | F_SEAL_SEAL, SIZE_BYTES), SIZE_BYTES, -EPERM);
    check(made(F_SEAL_SHRINK, SIZE_BYTES - 1), SIZE_BYTES, -EINVAL);
    check(made(F_SEAL_SHRINK, SIZE_BYTES + 1), SIZE_BYTES, -EINVAL);
    check(made(F_SEAL_SHRINK, 0), SIZE_BYTES, -EINVAL);
    check(memfd_create("test", MFD_CLOEXEC), 0, -EPERM);
    check(open("/dev/zero", O_RDWR), SIZE_BYTES, -EPERM);
    check(open("/", O_RDONLY | O_DIRECTORY), SIZE_BYTES, -EPERM);
    check(open("/", O_PATH), SIZE_BYTES, -EPERM);
    check(open("/tmp", O_TMPFILE | O_RDWR, 0600), 0, -EPERM);
    CHECK(pipe(pipes) == 0 && socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0);
    for (int i = 0; i < 2; i++) {
        check(pipes[i], 0, -EPERM);
        check(pair[i], 0, -EPERM);
    }
    CHECK(lunar_memory_check(-1, 0) == -EPERM);
}

/* Their pages may be punched out, and then there may be none left to take their place. */
static void huge_pages_are_not_taken(void) {
    size_t size_bytes = (size_t)2 << 20;
    int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB);
    if (fd < 0) {
        printf("skipped: no huge pages: %m\n");
        return;
    }
    CHECK(ftruncate(fd, (off_t)size_bytes) == 0);
    CHECK(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    check(fd, size_bytes, -EPERM);
}

static void sealed_for_reading_nobody_else_writes(void) {
    void *address = NULL, *other = NULL;
    int fd = made(0, SIZE_BYTES);
    CHECK(lunar_memory_map(fd, SIZE_BYTES, 1, 0, &address) == 0);
    CHECK(lunar_memory_seal(fd, 1) == 0);
    CHECK(lunar_memory_map(fd, SIZE_BYTES, 1, 1, &other) == -EPERM);
    CHECK(lunar_memory_map(fd, SIZE_BYTES, 0, 1, &other) == 0);
    *(volatile char *)address = 7; /* who mapped it before still does */
    CHECK(*(volatile char *)other == 7);
    CHECK(ftruncate(fd, 0) < 0 && errno == EPERM);
    CHECK(ftruncate(fd, 2 * SIZE_BYTES) < 0 && errno == EPERM);
    CHECK(pwrite(fd, "x", 1, 0) < 0 && errno == EPERM);
    CHECK(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, SIZE_BYTES) < 0 && errno == EPERM);
    CHECK(mprotect(other, SIZE_BYTES, PROT_READ | PROT_WRITE) < 0);
    lunar_memory_unmap(address, SIZE_BYTES);
    lunar_memory_unmap(other, SIZE_BYTES);
    lunar_memory_unmap(NULL, SIZE_BYTES);
    close(fd);
}

static size_t owned_bytes(int fd) {
    struct stat status;
    CHECK(fstat(fd, &status) == 0);
    return (size_t)status.st_blocks * 512;
}

static void what_is_received_is_not_paid_for(void) {
    void *address = NULL;
    for (int received = 0; received < 2; received++) {
        for (int writable = 0; writable < 2; writable++) {
            int fd = made(F_SEAL_SHRINK, SIZE_BYTES);
            CHECK(lunar_memory_map(fd, SIZE_BYTES, writable, received, &address) == 0);
            CHECK(!received || owned_bytes(fd) == 0);
            CHECK(received || !writable || owned_bytes(fd) == SIZE_BYTES);
            lunar_memory_unmap(address, SIZE_BYTES);
            close(fd);
        }
    }
}

static void errors_are_told(void) {
    void *address = NULL;
    CHECK(lunar_memory_map(-1, SIZE_BYTES, 1, 0, &address) == -EBADF);
    CHECK(lunar_memory_create("test", SIZE_MAX) == -EINVAL);
    CHECK(lunar_memory_seal(-1, 0) == -EBADF);
    int fd = open("/dev/zero", O_RDWR);
    CHECK(lunar_memory_seal(fd, 0) < 0);
    close(fd);
    CHECK(!address);
}

int main(void) {
    only_sealed_memory_is_taken();
    huge_pages_are_not_taken();
    sealed_for_reading_nobody_else_writes();
    what_is_received_is_not_paid_for();
    errors_are_told();
    printf("memory: ok\n");
    return 0;
}
