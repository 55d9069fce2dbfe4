"""What `lunar doctor` checks of the host: interpreter, kernel, and the limits that the bus lives within.

Each function is one examination. Files and limits that a test cannot change on a real host are arguments.
"""

from __future__ import annotations

import fcntl
import importlib.metadata
import importlib.util
import mmap
import os
import platform
import resource
import socket
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

from lunar.cli.diagnosis import Check, Examination
from lunar.cli.quantities import format_bytes

_MIN_PYTHON = (3, 11)
_MIN_KERNEL = (5, 1)
_F_ADD_SEALS = 1033
_F_SEAL_SHRINK = 0x0002
# Not in Python's fcntl module before 3.13; include/uapi/linux/fcntl.h, Linux 5.1.
_F_SEAL_FUTURE_WRITE = 0x0010
_FEW_DESCRIPTORS = 1024


def check_python() -> Iterator[Check]:
    """Checks the interpreter: CPython of a version that Lunar supports."""
    text = f"{platform.python_implementation()} {platform.python_version()}"
    if platform.python_implementation() != "CPython" or sys.version_info < _MIN_PYTHON:
        yield Check("python", "failed", f"{text} is not supported", "use CPython 3.11 or later")
    else:
        yield Check("python", "ok", text)


def check_kernel(release: str | None = None) -> Iterator[Check]:
    """Checks the kernel: Linux, new enough to seal memory against future writing.

    Args:
        release: As `uname -r` prints it; by default this host's.
    """
    release = platform.release() if release is None else release
    text = f"{platform.system()} {release} on {platform.machine()}"
    numbers = tuple(int(part) for part in release.split("-")[0].split(".")[:2] if part.isdigit())
    if platform.system() != "Linux" or numbers < _MIN_KERNEL:
        yield Check("kernel", "failed", f"{text} is not supported", "use Linux 5.1 or later")
    else:
        yield Check("kernel", "ok", text)


def check_sealed_memory() -> Iterator[Check]:
    """Checks that memory can be shared read-only: a memfd that is sealed against shrinking and future writing."""
    remedy = "allow memfd_create and F_SEAL_FUTURE_WRITE (Linux 5.1), which a container's seccomp profile may forbid"
    try:
        descriptor = os.memfd_create("lunar-doctor", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError as error:
        yield Check("sealed memory", "failed", f"memfd_create: {error.strerror}", remedy)
        return
    try:
        os.ftruncate(descriptor, mmap.PAGESIZE)
        fcntl.fcntl(descriptor, _F_ADD_SEALS, _F_SEAL_SHRINK | _F_SEAL_FUTURE_WRITE)
        try:
            mmap.mmap(descriptor, mmap.PAGESIZE).close()
        except PermissionError:
            yield Check("sealed memory", "ok", "memfd with F_SEAL_SHRINK and F_SEAL_FUTURE_WRITE")
        else:
            yield Check("sealed memory", "failed", "a sealed memfd can still be mapped for writing", remedy)
    except OSError as error:
        yield Check("sealed memory", "failed", f"sealing a memfd: {error.strerror}", remedy)
    finally:
        os.close(descriptor)


def check_descriptor_passing() -> Iterator[Check]:
    """Checks that descriptors and credentials cross a Unix socket, and that an eventfd can wake a sleeper."""
    remedy = "allow Unix sockets, SCM_RIGHTS and eventfd, which a container's seccomp profile may forbid"
    try:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ours, theirs:
            descriptor = os.eventfd(1, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
            try:
                socket.send_fds(ours, [b"x"], [descriptor])
            finally:
                os.close(descriptor)
            _, passed, _, _ = socket.recv_fds(theirs, 1, 1)
            count = os.eventfd_read(passed[0])
            os.close(passed[0])
            _, uid, _ = struct.unpack("3i", theirs.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    except (OSError, IndexError) as error:
        yield Check("unix sockets", "failed", f"passing a descriptor: {error}", remedy)
        return
    if count != 1 or uid != os.geteuid():
        yield Check("unix sockets", "failed", "a descriptor or the sender's identity did not arrive unharmed", remedy)
    else:
        yield Check("unix sockets", "ok", "SCM_RIGHTS, SO_PEERCRED and eventfd")


def check_descriptors(soft: int | None = None) -> Iterator[Check]:
    """Checks the limit of open files: every match and every segment of shared memory takes descriptors.

    Args:
        soft: The limit in force; by default this process's.
    """
    own_soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = own_soft if soft is None else soft
    text = f"{_limit(soft)} open files a process (can be raised to {_limit(hard)})"
    if soft != resource.RLIM_INFINITY and soft < _FEW_DESCRIPTORS:
        yield Check("open files", "warning", f"few: {text}", "ulimit -n 4096, or LimitNOFILE= in the systemd unit")
    else:
        yield Check("open files", "ok", text)


def check_memory(pool_bytes: int, available_bytes: int | None = None) -> Iterator[Check]:
    """Checks that one publisher's pool fits into what is free, in this host's memory and in this control group.

    Args:
        pool_bytes: Most that a publisher's pool may take.
        available_bytes: What is free; by default what the kernel says.
    """
    available_bytes = _available_bytes() if available_bytes is None else available_bytes
    text = f"{format_bytes(available_bytes)} free; a publisher may take up to {format_bytes(pool_bytes)}"
    if available_bytes < pool_bytes:
        remedy = "set LUNAR_POOL_BYTES lower, so that a publisher says so before the host runs out of memory"
        yield Check("memory", "warning", text, remedy)
    else:
        yield Check("memory", "ok", text)


def check_cores(cores: int | None = None) -> Iterator[Check]:
    """Checks for how many threads can run at once: on one core a spinning reader only keeps the writer from running.

    Args:
        cores: How many; by default those that this process may use.
    """
    cores = len(os.sched_getaffinity(0)) if cores is None else cores
    if cores < 2:
        remedy = 'give it two cores, or set resources="frugal" in the QoS so that nobody spins'
        yield Check(
            "cores", "warning", "1: spinning for a message is pointless here, it keeps the sender waiting", remedy
        )
    else:
        yield Check("cores", "ok", f"{cores}; a reader that spins leaves the others to the senders")


def check_uvloop() -> Iterator[Check]:
    """Says whether uvloop is there, which `lunar.run(loop="uvloop")` needs and nothing else."""
    if importlib.util.find_spec("uvloop") is None:
        yield Check("uvloop", "ok", "not installed; not needed (pip install lunar-mom[uvloop] for loop='uvloop')")
    else:
        yield Check("uvloop", "ok", f"{importlib.metadata.version('uvloop')}, for loop='uvloop'")


def _available_bytes() -> int:
    meminfo = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    available_bytes = int(meminfo["MemAvailable"].split()[0]) * 1024
    limit = _read_number(Path("/sys/fs/cgroup/memory.max"))
    used = _read_number(Path("/sys/fs/cgroup/memory.current"))
    return available_bytes if limit is None or used is None else min(available_bytes, max(0, limit - used))


def _read_number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # not mounted, or "max"
        return None


def _limit(count: int) -> str:
    return "any number of" if count == resource.RLIM_INFINITY else f"{count:,}"


EXAMINATIONS: tuple[tuple[str, Examination], ...] = (
    ("python", check_python),
    ("kernel", check_kernel),
    ("sealed memory", check_sealed_memory),
    ("unix sockets", check_descriptor_passing),
    ("open files", check_descriptors),
    ("cores", check_cores),
    ("uvloop", check_uvloop),
)
"""The examinations of this module, in the order of their report."""
