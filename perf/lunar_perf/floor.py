"""The floors under every figure: how fast memory is copied here, and how fast two cores can signal each other."""

from __future__ import annotations

import ctypes
import mmap
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lunar_perf.pinning import pin, place

_BATCH = 16


def memcpy_bytes_per_s(size_bytes: int, slots: int, duration_s: float = 0.3) -> float:
    """Rate of memmove from one private buffer into shared memory, on the core that senders are pinned to.

    Args:
        size_bytes: of one copy.
        slots: destinations taken in turn, as a publisher's pool of that many chunks is; 1 stays in cache as long as
            it can.
        duration_s: how long to measure.

    Raises:
        OSError: no memory.
    """
    source = ctypes.create_string_buffer(os.urandom(min(size_bytes, 1 << 20)), size_bytes)
    with shared_memory(size_bytes * slots) as base, _pinned():
        targets = [base + slot * size_bytes for slot in range(slots)]
        copy, address = ctypes.memmove, ctypes.addressof(source)
        for target in targets:
            copy(target, address, size_bytes)
        copies, before = 0, time.perf_counter()
        while (elapsed_s := time.perf_counter() - before) < duration_s:
            for index in range(copies, copies + _BATCH):
                copy(targets[index % slots], address, size_bytes)
            copies += _BATCH
    return copies * size_bytes / elapsed_s


@contextmanager
def shared_memory(size_bytes: int) -> Iterator[int]:
    """Address of a mapping of that size, of the same kind as a publisher's pool."""
    descriptor = os.memfd_create("lunar-perf-floor", os.MFD_CLOEXEC)
    try:
        os.ftruncate(descriptor, size_bytes)
        with mmap.mmap(descriptor, size_bytes) as area:
            anchor = ctypes.c_char.from_buffer(area)
            try:
                yield ctypes.addressof(anchor)
            finally:
                del anchor
    finally:
        os.close(descriptor)


@contextmanager
def _pinned() -> Iterator[None]:
    before = os.sched_getaffinity(0)
    pin(place(1).first)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


_SPIN_SOURCE = r"""
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

// Reading the clock costs as much as a round trip, so a group of them is timed at once.
enum { GROUP = 100, GROUPS = 2000, WARM_UP = 100 };
static _Alignas(128) atomic_uint_fast64_t there;
static _Alignas(128) atomic_uint_fast64_t back;
static double round_trips_ns[GROUPS];
static int cores[2];

static void pin(int core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    pthread_setaffinity_np(pthread_self(), sizeof set, &set);
}

static uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static void *pong(void *unused) {
    pin(cores[1]);
    for (uint64_t turn = 1; turn <= GROUP * (WARM_UP + GROUPS); turn++) {
        while (atomic_load_explicit(&there, memory_order_acquire) != turn) {}
        atomic_store_explicit(&back, turn, memory_order_release);
    }
    return unused;
}

static int ascending(const void *left, const void *right) {
    double a = *(const double *)left, b = *(const double *)right;
    return (a > b) - (a < b);
}

int main(int argc, char **argv) {
    if (argc != 3) return 2;
    cores[0] = atoi(argv[1]);
    cores[1] = atoi(argv[2]);
    pin(cores[0]);
    pthread_t thread;
    if (pthread_create(&thread, NULL, pong, NULL) != 0) return 1;
    uint64_t turn = 0;
    for (int group = -WARM_UP; group < GROUPS; group++) {
        uint64_t before = now_ns();
        for (int trip = 0; trip < GROUP; trip++) {
            atomic_store_explicit(&there, ++turn, memory_order_release);
            while (atomic_load_explicit(&back, memory_order_acquire) != turn) {}
        }
        if (group >= 0) round_trips_ns[group] = (double)(now_ns() - before) / GROUP;
    }
    pthread_join(thread, NULL);
    qsort(round_trips_ns, GROUPS, sizeof round_trips_ns[0], ascending);
    printf("%.1f\n", round_trips_ns[GROUPS / 2]);
    return 0;
}
"""


def spin_round_trip_us() -> float | None:
    """Median round trip of two C threads that spin on a cache line each way; None without a compiler or second core.

    No library can be faster than this, in any language.
    """
    compiler, placement = shutil.which("cc"), place(1)
    if compiler is None or placement.note:
        return None
    with tempfile.TemporaryDirectory(prefix="lunar-perf-") as folder:
        source, program = Path(folder, "spin.c"), Path(folder, "spin")
        source.write_text(_SPIN_SOURCE)
        try:
            subprocess.run(
                [compiler, "-O2", "-pthread", str(source), "-o", str(program)], check=True, capture_output=True
            )
            command = [str(program), str(placement.first), str(placement.others[0])]
            done = subprocess.run(command, check=True, capture_output=True, timeout=30)
        except (subprocess.SubprocessError, OSError):
            return None
    return float(done.stdout) / 1000
