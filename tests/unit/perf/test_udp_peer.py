"""Bare UDP as a peer: it echoes, counts, and ends also where its last word is lost."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

from lunar_perf.meter import Meter
from lunar_perf.peers.udp_blocking import open_peer
from lunar_perf.work import Work


def test_round_trips() -> None:
    work, done = Work(64, count=20, warmup=2), threading.Event()
    with ThreadPoolExecutor(2) as threads:
        ping = threads.submit(open_peer("udp").ping, work, Meter())
        pong = threads.submit(open_peer("udp").pong, work, Meter(), done)
        times = ping.result(timeout=20)
        done.set()
        pong.result(timeout=20)
    assert len(times) == 20
    assert all(times)


def test_what_was_received_is_counted() -> None:
    work, done = Work(1000, warmup=2, duration_s=0.1), threading.Event()
    with ThreadPoolExecutor(2) as threads:
        sender = threads.submit(open_peer("udp").send, work, Meter(), done)
        receiver = threads.submit(open_peer("udp").receive, work, Meter())
        tally = receiver.result(timeout=20)
        time.sleep(0.12)  # the end is said again to nobody
        done.set()
        sent = sender.result(timeout=20)
    assert 0 < tally.received <= sent
    assert tally.received + tally.lost(sent) == sent
    assert tally.elapsed_s > 0
