"""The floors can be measured here at all; how fast is nobody's business in a test."""

import os

from lunar_perf.floor import memcpy_bytes_per_s


def test_memcpy_leaves_the_cores_and_descriptors_as_they_were() -> None:
    cores, descriptors = os.sched_getaffinity(0), len(os.listdir("/proc/self/fd"))
    assert memcpy_bytes_per_s(4096, 3, duration_s=0.01) > 0
    assert os.sched_getaffinity(0) == cores
    assert len(os.listdir("/proc/self/fd")) == descriptors
