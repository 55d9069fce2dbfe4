"""What is read of a process from outside."""

import os
import subprocess
import sys
import threading
import time

import psutil
import pytest
from lunar_perf.footprint import process_start_s, voluntary_switches

_SLEEPER = """
import sys, threading

threading.Thread(target=threading.Event().wait, daemon=True).start()
for line in sys.stdin:
    print(line, end="", flush=True)
"""


def test_going_to_sleep_is_counted_over_all_threads() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", _SLEEPER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for _ in range(20):
            before = voluntary_switches(process.pid)[0]
            process.stdin.write("on\n")
            process.stdin.flush()
            assert process.stdout.readline() == "on\n"
            give_up_at = time.monotonic() + 30
            while (counted := voluntary_switches(process.pid))[0] == before:
                assert time.monotonic() < give_up_at
            assert counted[1] == 2


def test_threads_that_end_while_they_are_counted_are_left_out() -> None:
    ending = threading.Event()

    def come_and_go() -> None:
        while not ending.is_set():
            brief = threading.Thread(target=int)
            brief.start()
            brief.join()

    churn = threading.Thread(target=come_and_go)
    churn.start()
    try:
        assert all(voluntary_switches(os.getpid())[1] >= 2 for _ in range(500))
    finally:
        ending.set()
        churn.join()


def test_a_process_s_start_is_where_the_kernel_says() -> None:
    start_s = process_start_s(os.getpid(), os.sysconf("SC_CLK_TCK"))
    age_s = time.time() - psutil.Process().create_time()
    assert time.monotonic() - start_s == pytest.approx(age_s, abs=1.0)


def test_a_name_with_spaces_and_brackets_does_not_confuse_it() -> None:
    stat = "7 (a ) b) S " + " ".join(["0"] * 18) + " 12345 0 0"
    offset_s = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    assert process_start_s(7, 100, stat) == pytest.approx(123.45 - offset_s, abs=0.1)
