"""What AF_XDP needs of this process and of an interface, what of it is missing, and what then.

`judge` is pure and says one of three things: AF_XDP it is; plain UDP, because AF_XDP lacks this and that; or nothing,
since the interface carries nothing at all, or the configuration insists on what is not there. Each thing that is
missing comes with its remedy. `look` collects what is to be known of the process, `lunar_xdp.links` what of the
interface.

What passes here may still be refused by the kernel, by a seccomp filter for example: only trying tells.

Sources: net/xdp/xsk.c, net/xdp/xdp_umem.c, kernel/bpf/syscall.c, capabilities(7).
"""

from __future__ import annotations

import errno
import os
import re
import resource
import socket
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TypeAlias

from lunar_xdp.links import Device
from lunar_xdp.settings import Backend, Settings

__all__ = ["KERNEL_FLOOR", "Process", "Shortfall", "Verdict", "allow_locked_memory", "judge", "look"]

Container: TypeAlias = Literal["", "docker", "podman", "kubernetes", "other"]

KERNEL_FLOOR: Final = (5, 10)
"""BPF links for XDP came with 5.9, a memory that sockets of several queues share with 5.10."""

CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK, CAP_SYS_ADMIN, CAP_SYS_RESOURCE, CAP_BPF = 12, 13, 14, 21, 24, 39

_NEEDED: Final = {CAP_NET_RAW: "net_raw", CAP_NET_ADMIN: "net_admin", CAP_BPF: "bpf"}
_WHAT_FOR: Final = {
    CAP_NET_RAW: "to open AF_XDP sockets",
    CAP_NET_ADMIN: "to attach an XDP program",
    CAP_BPF: "to load one",
}
_AF_XDP: Final = 44
_FIRST_USER_NAMESPACE: Final = 0xEFFFFFFD  # PROC_USER_INIT_INO
_MAPS_CHARGED_BEFORE: Final = (5, 11)
_MAPS_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Process:
    """What counts of this process and its kernel.

    Attributes:
        kernel: Its version, the first two numbers.
        sockets: The kernel knows AF_XDP.
        effective: The capabilities that it has, a bit each.
        bounding: Those that it, or what it starts, could be given.
        no_new_privileges: It cannot be given any by the file that it starts.
        user_namespace: It is in a user namespace of its own, as in a rootless container.
        container: What kind of container it is in.
        service: The systemd service that it belongs to, or "".
        memory_limit_bytes: How much memory it may lock, at most (the hard limit); None for any.
        executable: The file of its interpreter.
    """

    kernel: tuple[int, int]
    sockets: bool
    effective: int
    bounding: int
    no_new_privileges: bool
    user_namespace: bool
    container: Container
    service: str
    memory_limit_bytes: int | None
    executable: str

    def has(self, capability: int) -> bool:
        """Says whether it has a capability; CAP_SYS_ADMIN has always stood for CAP_BPF."""
        wanted = 1 << capability | (1 << CAP_SYS_ADMIN if capability == CAP_BPF else 0)
        return bool(self.effective & wanted)


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Something that is missing.

    Attributes:
        reason: What, and what it would be needed for.
        remedy: What to do about it.
    """

    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.reason}; remedy: {self.remedy}"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be used on an interface.

    Attributes:
        backend: "af_xdp" or "udp"; None if neither is possible.
        mode: Of "af_xdp": "native" or "generic" mode, "" if only trying can tell.
        shortfalls: Why it is not "af_xdp", or why nothing; empty if the configuration asks for "udp".
        remark: Something to know though nothing is missing, or "".
    """

    backend: Backend | None
    mode: Literal["", "native", "generic"] = ""
    shortfalls: tuple[Shortfall, ...] = ()
    remark: str = ""

    def __str__(self) -> str:
        why = ". ".join(str(each) for each in self.shortfalls)
        if self.backend is None:
            return f"not possible at all: {why}"
        if why:
            return f"falls back to udp: {why}"
        mode = f" in {self.mode} mode" if self.mode else ""
        return f"{self.backend}{mode}" + (f" ({self.remark})" if self.remark else "")


def judge(
    settings: Settings, process: Process, device: Device | None, interface: str, queue_bytes: int = 8 << 20
) -> Verdict:
    """Says what is to be used on an interface. Pure.

    Args:
        settings: What the configuration says.
        process: See `look`.
        device: What the interface offers; None if there is no such interface.
        interface: Its name.
        queue_bytes: How much memory one queue's frames take.
    """
    if device is None:
        return Verdict(None, "", (Shortfall(f"there is no interface {interface}", "name another one: `ip link`"),))
    if not device.link.running:
        return Verdict(None, "", (_not_running(device),))
    if settings.backend == "udp":
        return Verdict("udp", remark="as xdp.backend says")
    missing = (*_of_interface(settings, device, interface), *_of_process(settings, process, device, queue_bytes))
    if not missing:
        return _possible(settings, device)
    if settings.backend == "af_xdp":
        insists = Shortfall(
            "xdp.backend is 'af_xdp', and AF_XDP is not possible here", "mend that, or set it to 'auto'"
        )
        return Verdict(None, "", (insists, *missing))
    return Verdict("udp", "", missing)


def _possible(settings: Settings, device: Device) -> Verdict:
    if settings.mode == "generic":
        return Verdict("af_xdp", "generic", remark="as xdp.mode says")
    if device.native is False:
        remark = f"{device.link.name} ({device.driver or device.link.kind}) has no native mode"
        return Verdict("af_xdp", "generic", remark=remark)
    return Verdict("af_xdp", "native" if device.native else "")


# ---- the interface ---------------------------------------------------------------------------------------------------


def _not_running(device: Device) -> Shortfall:
    name = device.link.name
    if not device.link.up:
        return Shortfall(f"{name} is down", f"sudo ip link set {name} up")
    return Shortfall(f"{name} has no carrier", "plug in its cable, or see to what it is connected to")


def _of_interface(settings: Settings, device: Device, interface: str) -> Iterator[Shortfall]:
    link = device.link
    if link.loopback:
        yield Shortfall(f"{link.name} leads nowhere else: there is no network to be reached past the kernel", _ANOTHER)
        return
    if not link.mac:
        yield Shortfall(f"{link.name} carries no Ethernet frames", _ANOTHER)
        return
    if link.kind == "vlan":
        reason = f"{interface} is a VLAN whose frames AF_XDP cannot tag: within another VLAN, a provider's (802.1ad), "
        yield Shortfall(reason + "or of an interface in another network namespace", _ANOTHER)
    for program in link.programs:
        reason = f"XDP program {program.id} is on {link.name} already ({program.mode} mode)"
        remedy = f"see whose it is with `sudo bpftool prog show id {program.id}`, and end that"
        yield Shortfall(reason, f"{remedy}, or `sudo ip link set {link.name} xdp off`")
    if settings.mode == "native" and device.native is False:
        driver = device.driver or link.kind or "which does not tell its name"
        reason = f"the driver of {link.name} ({driver}) has no native mode, and xdp.mode is 'native'"
        yield Shortfall(reason, "set xdp.mode to 'auto' or 'generic'")
    beyond = [str(queue) for queue in settings.queues or () if queue >= device.rx_queues]
    if beyond:
        has = f"{link.name} has the queues 0 to {device.rx_queues - 1}" if device.rx_queues > 1 else "there is only 0"
        reason = f"xdp.queues names {', '.join(beyond)}, and {has}"
        yield Shortfall(reason, f"set xdp.queues to 'auto', or make more: `sudo ethtool -L {link.name} combined N`")


_ANOTHER: Final = "use another interface (LUNAR_INTERFACES), or leave it at udp"


# ---- the process -----------------------------------------------------------------------------------------------------


def _of_process(settings: Settings, process: Process, device: Device, queue_bytes: int) -> Iterator[Shortfall]:
    if process.kernel < KERNEL_FLOOR:
        running, floor = (".".join(map(str, version)) for version in (process.kernel, KERNEL_FLOOR))
        yield Shortfall(f"this is Linux {running}, and {floor} is needed", "run a newer kernel")
        return
    if not process.sockets:
        reason = "this kernel was built without AF_XDP, or something forbids its sockets (a seccomp filter)"
        yield Shortfall(reason, "run a kernel with CONFIG_XDP_SOCKETS=y")
        return
    if process.user_namespace:
        reason = (
            "this process is in a user namespace (as in a rootless container), whose capabilities do not count for BPF"
        )
        yield Shortfall(reason, "start it outside of that: in a container of root's, or in none")
        return
    lacking = [capability for capability in _NEEDED if not process.has(capability)]
    if lacking:
        each = ", ".join(f"CAP_{_NEEDED[capability].upper()} ({_WHAT_FOR[capability]})" for capability in lacking)
        yield Shortfall(f"this process lacks {each}", _capabilities_remedy(process, lacking))
    limit = process.memory_limit_bytes
    served = len(settings.queues) if settings.queues is not None else device.rx_queues
    # CAP_IPC_LOCK frees from the limit what sockets pin, but not what maps took before 5.11.
    needed = 0 if process.has(CAP_IPC_LOCK) else served * queue_bytes
    needed += _MAPS_BYTES if process.kernel < _MAPS_CHARGED_BEFORE else 0
    if limit is not None and limit < needed and not process.has(CAP_SYS_RESOURCE):
        reason = f"this process may lock {limit >> 10} KiB of memory, and AF_XDP needs {needed >> 10} KiB"
        yield Shortfall(reason, _memory_remedy(process))


def _capabilities_remedy(process: Process, lacking: list[int]) -> str:
    names = list(_NEEDED.values())
    upper = [name.upper() for name in names]
    systemd = f"AmbientCapabilities={' '.join(f'CAP_{name}' for name in upper)}"
    match process.container:
        case "docker" | "podman":
            return f"{process.container} run {' '.join(f'--cap-add {name}' for name in upper)}, and root within"
        case "kubernetes":
            return f"in the pod, securityContext.capabilities.add: [{', '.join(upper)}], and root within"
    if process.service:
        return f"in {process.service}: {systemd}"
    if any(not process.bounding >> capability & 1 for capability in lacking):
        return "start it from where they can be had: its bounding set excludes them (`capsh --print`)"
    setcap = f"sudo setcap {','.join(f'cap_{name}' for name in names)}+ep {process.executable}"
    if process.no_new_privileges:
        return f"start it without no_new_privs and `{setcap}`, or run it as root"
    return f"`{setcap}` (for everything that this interpreter runs), or in a systemd service {systemd}"


def _memory_remedy(process: Process) -> str:
    match process.container:
        case "docker" | "podman":
            return f"{process.container} run --ulimit memlock=-1"
        case "kubernetes":
            return "raise the node's limit: LimitMEMLOCK=infinity of its container runtime's service"
    if process.service:
        return f"in {process.service}: LimitMEMLOCK=infinity"
    return "raise `ulimit -l`: a line `* - memlock unlimited` in /etc/security/limits.conf, then log in anew"


# ---- what there is ---------------------------------------------------------------------------------------------------


def look() -> Process:
    """Collects what counts of this process; its capabilities are those of the calling thread."""
    status = dict(line.split(":\t", 1) for line in _read("/proc/thread-self/status").splitlines() if ":\t" in line)
    version = re.match(r"([0-9]+)\.([0-9]+)", os.uname().release)  # "6.1+", "5.10-rc1" and the like
    hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)[1]
    return Process(
        kernel=(int(version[1]), int(version[2])) if version else (0, 0),
        sockets=_has_sockets(),
        effective=int(status.get("CapEff", "0"), 16),
        bounding=int(status.get("CapBnd", "0"), 16),
        no_new_privileges=status.get("NoNewPrivs", "0").strip() == "1",
        user_namespace=_is_in_user_namespace(),
        container=_container(),
        service=_service(_read("/proc/self/cgroup")),
        memory_limit_bytes=None if hard == resource.RLIM_INFINITY else hard,
        executable=os.path.realpath(sys.executable),
    )


def _has_sockets() -> bool:
    try:
        socket.socket(_AF_XDP, socket.SOCK_RAW, 0).close()
    except OSError as error:
        return error.errno not in (errno.EAFNOSUPPORT, errno.ESOCKTNOSUPPORT)  # EPERM: it has, but not for us
    return True


def _is_in_user_namespace() -> bool:
    try:
        return os.stat("/proc/self/ns/user").st_ino != _FIRST_USER_NAMESPACE
    except FileNotFoundError:  # a kernel without user namespaces
        return False


def _container() -> Container:
    if os.environ.get("KUBERNETES_SERVICE_HOST"):
        return "kubernetes"
    if Path("/.dockerenv").exists():
        return "docker"
    if Path("/run/.containerenv").exists():
        return "podman"
    return "other" if os.environ.get("container") else ""  # noqa: SIM112 - systemd's interface for containers


def _service(cgroups: str) -> str:
    """The unit in the last line of /proc/self/cgroup, "0::/system.slice/x.service"; a user's own session is none."""
    unit = cgroups.strip().rpartition("/")[2]
    return unit if unit.endswith(".service") and not unit.startswith("user@") else ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def allow_locked_memory(size_bytes: int) -> bool:
    """Raises how much memory this process may lock, if that is too little and it may raise it.

    The kernel counts AF_XDP's memory for all of a user's processes together, unless they have CAP_IPC_LOCK.

    Returns:
        False if it stays too little.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if soft == resource.RLIM_INFINITY or soft >= size_bytes:
        return True
    enough = hard == resource.RLIM_INFINITY or hard >= size_bytes
    try:
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (hard if enough else size_bytes, hard if enough else size_bytes))
    except (OSError, ValueError):  # ValueError stands for EPERM here
        return False
    return True
