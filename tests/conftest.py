"""What every test gets: a runtime directory of its own, and the means to prove that nothing was left behind."""

import gc
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from blockbuster import BlockBuster, blockbuster_ctx

# A run at full count may take this long a test; its own shorter time-out would end it.
FULL_TIMEOUT_S = 1800


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--full", action="store_true", help="fault and fuzz tests at full count instead of a short one")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--full"):
        for item in items:
            item.add_marker(pytest.mark.timeout(FULL_TIMEOUT_S), append=False)


@pytest.fixture(scope="session")
def rounds(request: pytest.FixtureRequest) -> Callable[[int, int], int]:
    """``rounds(short, full)``: how often to repeat; the second number in `make faults`."""
    full: bool = request.config.getoption("--full")
    return lambda short_count, full_count: full_count if full else short_count


@pytest.fixture(autouse=True)
def runtime_dir(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A runtime directory that nobody else sees, inherited by the processes that the test starts.

    Directly under /tmp because a Unix socket's path has room for 107 bytes only: pytest's ``tmp_path`` is too long.
    """
    for name in ("LUNAR_GROUP", "LUNAR_INTERFACES", "LUNAR_PEERS", "LUNAR_POOL_BYTES", "LUNAR_RANGE"):
        monkeypatch.delenv(name, raising=False)
    path = Path(tempfile.mkdtemp(prefix="lunar-", dir="/tmp"))
    monkeypatch.setenv("LUNAR_RUNTIME_DIR", str(path))
    monkeypatch.setenv("LUNAR_DOMAIN", "0")
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def no_leaks(runtime_dir: Path) -> Iterator[Callable[[], list[str]]]:
    """Fail a test that leaves descriptors, shared mappings, runtime files or child processes behind.

    The value is the check itself, for tests that also look in between: what is held more than before the test. The
    event loop of an asynchronous test is part of that: such a test compares two calls.
    """
    gc.collect()  # what an earlier test left in a reference cycle would hide as much of this one's
    before = _held(runtime_dir)

    def new() -> list[str]:
        gc.collect()  # a sample that waits in a reference cycle is not a leak
        return _difference(before, _held(runtime_dir))

    yield new
    assert new() == []


@pytest.fixture
def never_blocks() -> Iterator[BlockBuster]:
    """Fail a test in which Lunar makes a blocking call (sleep, file, socket) on a thread that runs an event loop."""
    with blockbuster_ctx(scanned_modules=["lunar", "lunar_shm"]) as blockbuster:
        yield blockbuster


def _held(runtime_dir: Path) -> list[str]:
    """Name everything that this process holds, one entry a thing, without what differs from run to run."""
    held = [f"descriptor of {_kind(target)}" for target in _descriptor_targets()]
    # A mapping keeps its memfd's pages although its descriptor is closed.
    maps = Path("/proc/self/maps").read_text().splitlines()
    held += [f"mapping of {line.split('/memfd:', 1)[1]}" for line in maps if "/memfd:" in line]
    # The domain's folder stays for the next who comes.
    held += [f"file {path.relative_to(runtime_dir)}" for path in runtime_dir.rglob("*") if not path.is_dir()]
    held += [f"process {child.pid}" for child in psutil.Process().children(recursive=True)]
    return held


def _descriptor_targets() -> Iterator[str]:
    for name in os.listdir("/proc/self/fd"):
        try:
            yield os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:  # the descriptor of the listing itself
            continue


def _kind(target: str) -> str:
    """``socket:[123]`` -> ``socket``: an inode's number says nothing, only how many there are."""
    return target.split(":[", 1)[0]


def _difference(before: list[str], after: list[str]) -> list[str]:
    return sorted((Counter(after) - Counter(before)).elements())
