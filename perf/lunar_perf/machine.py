"""What the figures were measured on: without it, they mean nothing."""

from __future__ import annotations

import os
import platform
import resource
import time
from importlib import metadata
from pathlib import Path

_PACKAGES = (
    *("lunar-mom", "iceoryx2", "pyzmq", "uvloop", "eclipse-zenoh", "cyclonedds"),
    *("numpy", "flatbuffers", "protobuf", "msgspec", "pycapnp"),
)


def describe() -> dict[str, object]:
    """The machine, its kernel and interpreter, and how busy it is now; JSON-ready."""
    return {
        "cpu": _cpu_model(),
        "cores": sorted(os.sched_getaffinity(0)),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "virtual": _is_virtual(),
        "governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "load_average_1m": round(os.getloadavg()[0], 2),
    }


def versions() -> dict[str, str]:
    """Versions of Lunar and of the peers that are installed."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


class Background:
    """How much of the machine went to processes that are not ours, from construction on.

    Ours are this process and its children that have ended.
    """

    def __init__(self) -> None:
        self._at_s, self._busy_s, self._own_s = time.monotonic(), _busy_s(), _own_s()

    def cores(self) -> float:
        """Cores kept busy by others, on average so far; 0 where the kernel does not say."""
        elapsed_s = time.monotonic() - self._at_s
        others_s = (_busy_s() - self._busy_s) - (_own_s() - self._own_s)
        return max(0.0, others_s / elapsed_s) if elapsed_s > 0 else 0.0


def _busy_s() -> float:
    # proc(5), /proc/stat: user, nice, system, idle, iowait, irq, softirq, steal; guest time is part of user time.
    fields = _read("/proc/stat").partition("\n")[0].split()[1:9]
    if len(fields) < 8:
        return 0.0
    ticks = [int(field) for field in fields]
    return (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")


def _own_s() -> float:
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _cpu_model() -> str:
    for line in _read("/proc/cpuinfo").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _is_virtual() -> bool:
    return "hypervisor" in _read("/proc/cpuinfo")


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
