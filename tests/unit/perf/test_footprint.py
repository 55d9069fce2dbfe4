"""What is read of a process from outside."""

import os
import threading
import time

import psutil
import pytest
from lunar_perf.footprint import process_start_s, voluntary_switches


def test_going_to_sleep_is_counted_over_all_threads() -> None:
    go, asleep, rounds = threading.Semaphore(0), threading.Semaphore(0), 20

    def sleeper() -> None:
        for _ in range(rounds):
            asleep.release()
            go.acquire()

    before, threads_before = voluntary_switches(os.getpid())
    thread = threading.Thread(target=sleeper)
    thread.start()
    for _ in range(rounds):
        asleep.acquire()
        if thread.is_alive():
            assert voluntary_switches(os.getpid())[1] == threads_before + 1
        go.release()
    thread.join()
    # The other thread's count is gone with it; each hand-over put this one to sleep or the other.
    assert voluntary_switches(os.getpid())[0] >= before


def test_a_process_s_start_is_where_the_kernel_says() -> None:
    start_s = process_start_s(os.getpid(), os.sysconf("SC_CLK_TCK"))
    age_s = time.time() - psutil.Process().create_time()
    assert time.monotonic() - start_s == pytest.approx(age_s, abs=1.0)


def test_a_name_with_spaces_and_brackets_does_not_confuse_it() -> None:
    stat = "7 (a ) b) S " + " ".join(["0"] * 18) + " 12345 0 0"
    offset_s = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    assert process_start_s(7, 100, stat) == pytest.approx(123.45 - offset_s, abs=0.1)
