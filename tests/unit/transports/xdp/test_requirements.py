"""What AF_XDP lacks: each thing is named with its remedy, and falling back is told from not going at all."""

import os
import resource
import sys
from dataclasses import replace

import pytest
from lunar_xdp import requirements
from lunar_xdp.links import Device, Link, Program
from lunar_xdp.requirements import (
    CAP_BPF,
    CAP_IPC_LOCK,
    CAP_NET_ADMIN,
    CAP_NET_RAW,
    CAP_SYS_ADMIN,
    CAP_SYS_RESOURCE,
    Process,
    Verdict,
    allow_locked_memory,
    judge,
    look,
)
from lunar_xdp.settings import Settings

EVERY = (1 << 41) - 1
ENOUGH = 1 << CAP_NET_RAW | 1 << CAP_NET_ADMIN | 1 << CAP_BPF
ROOT = Process((6, 1), True, EVERY, EVERY, False, False, "", "", None, "/usr/bin/python3.11")
USER = replace(ROOT, effective=0, memory_limit_bytes=64 << 20)
LINK = Link("eth0", 2, bytes(5) + b"\1", 1500, True, True, False, True, "", 0, 0, (), 4)
CARD = Device(LINK, 0, "ice", 4, True, True, True)


def verdict(
    settings: Settings | None = None, process: Process = ROOT, device: Device | None = CARD, queue_bytes: int = 8 << 20
) -> Verdict:
    return judge(settings or Settings(), process, device, "eth0", queue_bytes)


def with_link(**change: object) -> Device:
    return replace(CARD, link=replace(LINK, **change))  # type: ignore[arg-type]


def reasons(given: Verdict) -> str:
    return "; ".join(each.reason for each in given.shortfalls)


def remedies(given: Verdict) -> str:
    return "; ".join(each.remedy for each in given.shortfalls)


# ---- nothing is missing ----------------------------------------------------------------------------------------------


def test_native_mode_where_the_driver_has_it():
    assert verdict() == Verdict("af_xdp", "native")
    assert str(verdict()) == "af_xdp in native mode"


def test_generic_mode_where_it_has_not_and_that_is_said():
    given = verdict(device=replace(CARD, native=False))
    assert (given.backend, given.mode) == ("af_xdp", "generic")
    assert str(given) == "af_xdp in generic mode (eth0 (ice) has no native mode)"


def test_only_trying_tells_where_the_kernel_does_not():
    assert verdict(device=replace(CARD, native=None)) == Verdict("af_xdp")


def test_what_the_settings_ask_for():
    assert verdict(Settings(mode="generic")).mode == "generic"
    assert verdict(Settings(mode="native")).mode == "native"
    asked = verdict(Settings(backend="udp"), USER)
    assert (asked.backend, asked.shortfalls) == ("udp", ())


def test_three_capabilities_are_enough():
    assert verdict(process=replace(USER, effective=ENOUGH)).backend == "af_xdp"
    instead = 1 << CAP_NET_RAW | 1 << CAP_NET_ADMIN | 1 << CAP_SYS_ADMIN
    assert verdict(process=replace(USER, effective=instead)).backend == "af_xdp"


# ---- falls back ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("capability", "name"), [(CAP_NET_RAW, "NET_RAW"), (CAP_NET_ADMIN, "NET_ADMIN"), (CAP_BPF, "BPF")]
)
def test_each_capability_that_is_missing_is_named(capability: int, name: str):
    given = verdict(process=replace(USER, effective=ENOUGH & ~(1 << capability)))
    assert given.backend == "udp"
    assert reasons(given).count("CAP_") == 1
    assert f"CAP_{name} " in reasons(given)
    # All three, whichever are missing: setcap replaces what a file had.
    assert "`sudo setcap cap_net_raw,cap_net_admin,cap_bpf+ep /usr/bin/python3.11`" in remedies(given)
    assert "AmbientCapabilities=CAP_NET_RAW CAP_NET_ADMIN CAP_BPF" in remedies(given)
    assert str(given).startswith("falls back to udp: this process lacks CAP_")


@pytest.mark.parametrize(
    ("change", "remedy"),
    [
        ({"container": "docker"}, "docker run --cap-add NET_RAW --cap-add NET_ADMIN --cap-add BPF"),
        ({"container": "podman"}, "podman run --cap-add"),
        ({"container": "kubernetes"}, "capabilities.add: [NET_RAW, NET_ADMIN, BPF]"),
        ({"service": "robot.service"}, "in robot.service: AmbientCapabilities="),
        ({"bounding": 0}, "bounding set excludes them"),
        ({"no_new_privileges": True}, "without no_new_privs"),
    ],
)
def test_the_remedy_is_one_that_works_there(change: dict[str, object], remedy: str):
    given = verdict(process=replace(USER, **change))  # type: ignore[arg-type]
    assert remedy in remedies(given)
    assert ("setcap" in remedies(given)) == ("no_new_privileges" in change)


def test_capabilities_of_a_user_namespace_do_not_count():
    given = verdict(process=replace(ROOT, user_namespace=True))
    assert (given.backend, len(given.shortfalls)) == ("udp", 1)
    assert "user namespace" in reasons(given)


def test_an_old_kernel():
    assert verdict(process=replace(ROOT, kernel=(5, 10))).backend == "af_xdp"
    given = verdict(process=replace(ROOT, kernel=(5, 9)))
    assert given.backend == "udp"
    assert reasons(given) == "this is Linux 5.9, and 5.10 is needed"


def test_a_kernel_without_af_xdp():
    assert "CONFIG_XDP_SOCKETS" in remedies(verdict(process=replace(ROOT, sockets=False)))


def test_too_little_memory_may_be_locked():
    able = replace(USER, effective=ENOUGH, memory_limit_bytes=31 << 20)
    given = verdict(process=able)
    assert given.backend == "udp"
    assert reasons(given) == f"this process may lock {31 << 10} KiB of memory, and AF_XDP needs {32 << 10} KiB"
    assert "ulimit -l" in remedies(given)
    assert "LimitMEMLOCK=infinity" in remedies(verdict(process=replace(able, service="robot.service")))
    assert "--ulimit memlock=-1" in remedies(verdict(process=replace(able, container="docker")))
    # Fewer queues, no limit, or a capability that frees from it:
    assert verdict(Settings(queues=(0, 1)), able).backend == "af_xdp"
    assert verdict(process=replace(able, memory_limit_bytes=None)).backend == "af_xdp"
    for capability in (CAP_IPC_LOCK, CAP_SYS_RESOURCE):
        assert verdict(process=replace(able, effective=ENOUGH | 1 << capability)).backend == "af_xdp"


def test_maps_count_as_well_before_linux_5_11():
    tight = replace(USER, effective=ENOUGH, memory_limit_bytes=32 << 20)
    assert verdict(process=tight).backend == "af_xdp"
    assert verdict(process=replace(tight, kernel=(5, 10))).backend == "udp"
    locking = replace(tight, kernel=(5, 10), effective=ENOUGH | 1 << CAP_IPC_LOCK, memory_limit_bytes=64 << 10)
    assert verdict(process=locking).backend == "udp"
    assert verdict(process=replace(locking, memory_limit_bytes=1 << 20)).backend == "af_xdp"


@pytest.mark.parametrize(
    ("device", "reason"),
    [
        (with_link(loopback=True, mac=b""), "eth0 leads nowhere else"),
        (with_link(mac=b""), "no Ethernet"),
        (with_link(kind="vlan"), "a VLAN whose frames AF_XDP cannot tag"),
        (with_link(programs=(Program(12, "native"),)), "XDP program 12 is on eth0 already (native mode)"),
    ],
)
def test_an_interface_that_is_not_for_af_xdp(device: Device, reason: str):
    given = verdict(device=device)
    assert (given.backend, len(given.shortfalls)) == ("udp", 1)
    assert reason in reasons(given)


def test_a_vlan_is_taken_by_the_interface_below_it():
    assert verdict(device=replace(CARD, vlan=42)).backend == "af_xdp"


def test_queues_that_are_not_there():
    assert verdict(Settings(queues=(0, 3))).backend == "af_xdp"
    assert "names 4, 9, and eth0 has the queues 0 to 3" in reasons(verdict(Settings(queues=(0, 4, 9))))


def test_all_that_is_missing_is_told_at_once():
    given = verdict(process=USER, device=with_link(programs=(Program(12, "generic"),)))
    assert [each.split()[0] for each in (shortfall.reason for shortfall in given.shortfalls)] == ["XDP", "this"]


# ---- not at all ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("device", "reason", "remedy"),
    [
        (None, "there is no interface eth0", "ip link"),
        (with_link(up=False, running=False), "eth0 is down", "sudo ip link set eth0 up"),
        (with_link(running=False), "eth0 has no carrier", "cable"),
    ],
)
def test_where_nothing_can_be_carried_udp_cannot_either(device: Device | None, reason: str, remedy: str):
    for backend in ("auto", "udp", "af_xdp"):
        given = verdict(Settings(backend=backend), device=device)
        assert given.backend is None
        assert (reasons(given), remedy in remedies(given)) == (reason, True)
        assert str(given).startswith(f"not possible at all: {reason}; remedy: ")


def test_who_insists_does_not_fall_back():
    given = verdict(Settings(backend="af_xdp"), USER)
    assert given.backend is None
    assert "xdp.backend is 'af_xdp'" in str(given)
    assert "setcap" in str(given)


def test_a_mode_that_is_insisted_on():
    given = verdict(Settings(mode="native"), device=replace(CARD, native=False))
    assert (given.backend, remedies(given)) == ("udp", "set xdp.mode to 'auto' or 'generic'")


# ---- what there is ---------------------------------------------------------------------------------------------------


def test_this_process_is_looked_at():
    process = look()
    assert process.kernel >= (3, 0)
    assert process.executable == os.path.realpath(sys.executable)
    assert process.effective & ~process.bounding == 0 or os.geteuid() != 0
    assert not process.user_namespace or os.path.exists("/proc/self/ns/user")


@pytest.mark.parametrize("release", ["6.1.0-13-amd64", "6.18", "5.10-rc1", "6.1+", "4.19.0"])
def test_whatever_a_kernels_version_looks_like(monkeypatch: pytest.MonkeyPatch, release: str):
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("Linux", "", release, "", "")))
    assert look().kernel == tuple(int(part) for part in release.replace("-", ".").replace("+", "").split(".")[:2])


@pytest.mark.parametrize(
    ("cgroups", "service"),
    [
        ("0::/system.slice/robot.service\n", "robot.service"),
        ("0::/user.slice/user-1000.slice/user@1000.service\n", ""),
        ("0::/user.slice/user-1000.slice/session-2.scope\n", ""),
        ("0::/\n", ""),
        ("", ""),
    ],
)
def test_the_service_is_known_by_its_cgroup(cgroups: str, service: str):
    assert requirements._service(cgroups) == service


def test_the_limit_of_locked_memory_is_raised_as_far_as_it_may_be(monkeypatch: pytest.MonkeyPatch):
    limits = [1 << 16, 1 << 20]

    def set_limits(_: int, wanted: tuple[int, int]) -> None:
        if wanted[1] > 1 << 20:
            raise ValueError("not allowed to raise maximum limit")
        limits[:] = wanted

    monkeypatch.setattr(resource, "getrlimit", lambda _: tuple(limits))
    monkeypatch.setattr(resource, "setrlimit", set_limits)
    assert allow_locked_memory(1 << 16)
    assert limits == [1 << 16, 1 << 20]
    assert not allow_locked_memory(1 << 21)
    assert allow_locked_memory(1 << 20)
    assert limits == [1 << 20, 1 << 20]
    limits[:] = resource.RLIM_INFINITY, resource.RLIM_INFINITY
    assert allow_locked_memory(1 << 30)
