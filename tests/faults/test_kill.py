"""kill -9 of talkers and listeners at random moments under load: who lives goes on, whole, and nothing stays behind."""

import os
import random
import re
import select
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.faults

# Only to detect blocking; a busy machine may well pause a process for a second.
LONGEST_GAP_S = 5.0
AT_ONCE = 3
# Others on the machine use shared memory, too; a thousand leaked pools would be several times this.
LOOSELY_BYTES = 256 << 20
MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ (\d+)\s+/memfd:(\S+)")


def descriptors(pid: int) -> Counter[str]:
    """What a process has open, by kind."""
    found: Counter[str] = Counter()
    for name in os.listdir(f"/proc/{pid}/fd"):
        try:
            target = os.readlink(f"/proc/{pid}/fd/{name}").removeprefix("/memfd:").removesuffix(" (deleted)")
            found[target.split(":[")[0]] += 1  # without the number of a socket or pipe
        except FileNotFoundError:  # closed meanwhile
            continue
    return found


def shared_memory(pid: int) -> dict[str, dict[int, int]]:
    """The memfds that a process maps: by name, the size of each inode."""
    found: dict[str, dict[int, int]] = {}
    for match in MAPPING.finditer(Path(f"/proc/{pid}/maps").read_text()):
        low, high, inode, name = match.groups()
        found.setdefault(name, {})[int(inode)] = int(high, 16) - int(low, 16)
    return found


def shmem_bytes() -> int:
    line = re.search(r"Shmem:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    assert line is not None
    return int(line[1]) * 1024


class Victims:
    """Forked actors, killed one after another; some are stopped first."""

    def __init__(self, nursery, mode: str, seed: int) -> None:
        self._nursery = nursery
        self._mode = mode
        self._chance = random.Random(seed)
        self._due: list[tuple[float, int, signal.Signals]] = []
        self._alive = 0

    def kill(self, count: int) -> None:
        """Kills so many, each at a moment of its own: a third of them while they are being set up."""
        for number in range(count):
            while self._alive < min(AT_ONCE, count - number):
                self._raise_one()
            while self._next() != signal.SIGKILL:
                continue

    def _next(self) -> signal.Signals:
        self._due.sort()
        at, pid, fate = self._due.pop(0)
        select.select([], [], [], max(0.0, at - time.monotonic()))
        os.kill(pid, fate)
        if fate == signal.SIGKILL:
            self._alive -= 1
            self._nursery.tell(f"reap {pid}")
            assert self._nursery.hear() == -signal.SIGKILL, "a victim ended before it was killed"
        return fate

    def _raise_one(self) -> None:
        role = self._chance.choice(["talker", "talker", "listener", "listener", "idle"])
        mode = self._chance.choice([self._mode, "lunar", "blocking"])
        self._nursery.tell(f"fork {role} {mode} {self._chance.randrange(1 << 30)}")
        pid = self._nursery.hear()
        assert isinstance(pid, int)
        self._alive += 1
        now, lives_s = time.monotonic(), self._chance.random() * self._chance.choice([0.015, 0.1, 0.4])
        self._due.append((now + lives_s, pid, signal.SIGKILL))
        if self._chance.random() < 0.2:
            self._due.append((now + lives_s * self._chance.random(), pid, signal.SIGSTOP))


def sockets(runtime_dir: Path) -> list[Path]:
    return [path for path in runtime_dir.rglob("*") if not path.is_dir()]


def ask(program) -> dict[str, Any]:
    program.tell("report")
    said = program.hear()
    assert isinstance(said, dict)
    return said


@pytest.mark.parametrize(("mode", "short", "full"), [("lunar", 20, 400), ("blocking", 10, 300), ("uvloop", 10, 300)])
def test_survivors_of_random_kills_under_load(start, until, rounds, runtime_dir, mode, short, full):
    shmem_before = shmem_bytes()
    seed = random.randrange(1 << 30)
    print(f"seed {seed}")
    listener = start("actors.py", "listener", mode, str(seed))
    assert listener.hear() == "there"
    talker = start("actors.py", "talker", mode, str(seed + 1))
    assert talker.hear() == "there"
    nursery = start("actors.py", "nursery", mode, "0")
    assert nursery.hear() == "there"

    def at_rest() -> bool:
        return all(ask(program)["matches"] == [1, 1] for program in (talker, listener))

    until(at_rest, "the survivors are matched")
    until(lambda: ask(listener)["publishers"] == 1, "the first samples")
    before = [descriptors(program.pid) for program in (talker, listener)]
    Victims(nursery, mode, seed).kill(rounds(short, full))

    until(at_rest, "the survivors have noticed every death")
    talker.tell("finish")
    until(lambda: ask(talker)["finished"], "the talker comes to an end")
    talked = ask(talker)
    until(
        lambda: ask(listener)["newest"].get(talked["id"]) == talked["published"],
        "the listener has everything that the talker published",
    )
    heard = ask(listener)
    print(f"{talked['published']} published; heard from {heard['publishers']} publishers")
    assert heard["publishers"] >= rounds(1, full // 20)
    assert heard["faults"] == []
    assert (talked["lost"], heard["lost"]) == (0, 0)
    assert max(talked["longest_gap_s"], heard["longest_gap_s"]) < LONGEST_GAP_S

    listener.tell("finish")
    until(lambda: ask(listener)["held"] == 0, "the listener lets go of what it held")
    after = [descriptors(program.pid) for program in (talker, listener)]
    talkers, listeners = (shared_memory(program.pid) for program in (talker, listener))
    # The talker keeps what its pools have grown to, and nothing else.
    assert after[0].pop("lunar-segment") == len(talkers["lunar-segment"])
    before[0].pop("lunar-segment")
    assert after == before
    assert sum(talkers["lunar-segment"].values()) == ask(talker)["pool_bytes"]
    assert listeners["lunar-segment"].items() <= talkers["lunar-segment"].items()
    assert len(talkers["lunar-queue"]) == 2
    assert len(talkers["lunar-bells"]) == 2
    assert [talkers[name] for name in ("lunar-queue", "lunar-bells")] == [
        listeners[name] for name in ("lunar-queue", "lunar-bells")
    ]
    # Who was killed before it met anybody has left its socket file to the next that comes.
    newcomer = start("lunar.Node('newcomer')\nsay('there')\nheard()")
    assert newcomer.hear() == "there"
    until(lambda: len(sockets(runtime_dir)) == 3, "the socket files of the dead are gone")
    for program in (talker, listener, nursery):
        program.close()
    assert shmem_bytes() < shmem_before + LOOSELY_BYTES
