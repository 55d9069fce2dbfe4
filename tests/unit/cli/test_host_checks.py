import errno
import os
import socket

import pytest

from lunar.cli import host_checks
from lunar.cli.diagnosis import Check, Examination


def only(examination: Examination) -> Check:
    (check,) = examination()
    return check


@pytest.mark.parametrize(("name", "examination"), host_checks.EXAMINATIONS, ids=lambda value: str(value)[:20])
def test_whatever_is_wrong_comes_with_a_remedy(name: str, examination: Examination) -> None:
    for check in examination():
        assert check.name == name
        assert check.text
        assert bool(check.remedy) == (check.status != "ok")


@pytest.mark.parametrize(
    ("release", "status"),
    [("4.19.0-generic", "failed"), ("5.0.9", "failed"), ("5.1.0", "ok"), ("6.18.4-fc+", "ok"), ("10.0", "ok")],
)
def test_old_kernels_fail(release: str, status: str) -> None:
    assert only(lambda: host_checks.check_kernel(release)).status == status


def test_other_interpreters_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(host_checks.check_python).status == "ok"
    monkeypatch.setattr("platform.python_implementation", lambda: "PyPy")
    assert only(host_checks.check_python).status == "failed"


def test_memory_that_cannot_be_had_or_sealed_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    assert only(host_checks.check_sealed_memory).status == "ok"

    def refuse(*_: object) -> int:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr("fcntl.fcntl", refuse)
    assert "sealing" in only(host_checks.check_sealed_memory).text
    monkeypatch.setattr("os.memfd_create", refuse)
    assert "memfd_create" in only(host_checks.check_sealed_memory).text


def test_memory_whose_seal_does_not_hold_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fcntl.fcntl", lambda *_: 0)
    check = only(host_checks.check_sealed_memory)
    assert check.status == "failed"
    assert "still be mapped for writing" in check.text


def test_sockets_that_pass_no_descriptors_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    before = len(os.listdir("/proc/self/fd"))
    assert only(host_checks.check_descriptor_passing).status == "ok"
    monkeypatch.setattr(socket, "send_fds", lambda sock, data, _: sock.send(data[0]))
    assert only(host_checks.check_descriptor_passing).status == "failed"
    assert len(os.listdir("/proc/self/fd")) == before


def test_few_descriptors_are_a_warning() -> None:
    assert only(lambda: host_checks.check_descriptors(soft=256)).status == "warning"
    assert only(lambda: host_checks.check_descriptors(soft=65536)).status == "ok"
    assert only(lambda: host_checks.check_descriptors(soft=-1)).status == "ok"


def test_a_pool_that_does_not_fit_is_a_warning() -> None:
    assert only(lambda: host_checks.check_memory(2**30, available_bytes=2**29)).status == "warning"
    assert only(lambda: host_checks.check_memory(2**30, available_bytes=2**31)).status == "ok"
    assert only(lambda: host_checks.check_memory(1)).status == "ok"


def test_one_core_is_a_warning() -> None:
    assert only(lambda: host_checks.check_cores(1)).status == "warning"
    assert only(lambda: host_checks.check_cores(2)).status == "ok"


def test_uvloop_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    check = only(host_checks.check_uvloop)
    assert check.status == "ok"
    assert "not installed" in check.text
