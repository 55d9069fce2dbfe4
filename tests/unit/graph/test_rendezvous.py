"""The directory of sockets where the processes of a host meet."""

import os
import select
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from lunar.config import Config
from lunar.errors import ConfigError, LunarError
from lunar.graph.rendezvous import Rendezvous, is_socket_name

Appear = Callable[..., Rendezvous]

AS_ROOT = os.geteuid() == 0


def config(directory: Path, *, domain: int = 0, group: int | None = None) -> Config:
    return Config(domain=domain, runtime_dir=directory, group=group, pool_bytes=1 << 20)


@pytest.fixture
def appear(tmp_path: Path) -> Iterator[Appear]:
    """``appear(index)``: one more process, which takes its place in the directory."""
    made: list[Rendezvous] = []

    def appear(
        index: int = 0, *, domain: int = 0, directory: Path | None = None, group: int | None = None
    ) -> Rendezvous:
        settings = config(directory or tmp_path / "runtime", domain=domain, group=group)
        made.append(Rendezvous(settings, f"{index:032x}"))
        return made[-1]

    yield appear
    for rendezvous in made:
        rendezvous.close()


def accept(rendezvous: Rendezvous) -> socket.socket:
    select.select([rendezvous.listener], [], [], 5)
    return rendezvous.listener.accept()[0]


def test_who_appears_has_a_socket_that_accepts_and_others_see_it(appear: Appear) -> None:
    first, second = appear(1), appear(2)
    assert (first.others(), second.others()) == ([second.name], [first.name])
    assert is_socket_name(first.name)
    link = second.connect(first.name)
    assert link is not None
    accepted = accept(first)
    assert not accepted.getblocking() or not link.getblocking()
    link.send(b"hello")
    assert accepted.recv(10) == b"hello"
    link.close()
    accepted.close()


def test_of_two_exactly_one_connects_and_it_is_the_later(appear: Appear) -> None:
    first, second = appear(9), appear(1)
    assert not first.is_ours_to_connect(second.name)
    assert second.is_ours_to_connect(first.name)
    assert not first.is_ours_to_connect(first.name)


@pytest.mark.parametrize(
    "name",
    ["", "1.sock", "../" + "0" * 16, "0" * 16 + "-" + "a" * 32, "0" * 16 + "-" + "A" * 32 + ".sock", 7, None,
     "0" * 16 + "-" + "a" * 32 + ".sock\n", "." + "0" * 16 + "-" + "a" * 32 + ".sock"],
)  # fmt: skip
def test_what_is_no_name_of_a_socket_is_told_apart(name: object) -> None:
    assert not is_socket_name(name)


def test_other_files_in_the_directory_are_nobody(appear: Appear) -> None:
    rendezvous = appear()
    for name in ("readme", "1.sock", "x" * 50):
        (rendezvous.directory / name).touch()
    assert rendezvous.others() == []


def test_the_socket_of_the_dead_is_removed_by_who_finds_it(appear: Appear) -> None:
    living, dead = appear(1), appear(2)
    dead.close_descriptors()  # as a killed process: its file stays
    assert living.others() == [dead.name]
    assert living.connect(dead.name) is None
    assert living.others() == []
    assert living.connect(dead.name) is None


def test_only_the_dead_are_removed(appear: Appear) -> None:
    living, other, dead = appear(1), appear(2), appear(3)
    dead.close_descriptors()
    assert living.remove_if_dead(other.name) is False
    assert living.remove_if_dead(dead.name) is True
    assert living.remove_if_dead(dead.name) is True
    assert living.others() == [other.name]
    # Who was asked has not noticed.
    assert select.select([other.listener], [], [], 0) == ([], [], [])


def test_hidden_sockets_of_the_dead_are_removed_and_those_of_the_living_are_not(
    appear: Appear, runtime_dir: Path
) -> None:
    rendezvous = appear(1, directory=runtime_dir)
    hidden = rendezvous.directory / f".{'0' * 16}-{'a' * 32}.sock"
    held = rendezvous.directory / f".{'0' * 16}-{'b' * 32}.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as gone:
        gone.bind(str(hidden))
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as binding:
        binding.bind(str(held))
        binding.listen()
        rendezvous.remove_abandoned()
        assert (hidden.exists(), held.exists()) == (False, True)


def test_a_full_backlog_is_told_apart_from_a_death(appear: Appear) -> None:
    slow, quick = appear(1), appear(2)
    slow.listener.listen(0)
    links = []
    try:
        while (link := quick.connect(slow.name)) is not None:
            links.append(link)
    except BlockingIOError:
        assert links != []
    else:
        pytest.fail("the backlog was never full")
    finally:
        for link in links:
            link.close()
    assert quick.others() == [slow.name]


def test_closing_takes_the_socket_away_and_twice_does_nothing(appear: Appear) -> None:
    first, second = appear(1), appear(2)
    first.close()
    assert second.others() == []
    first.close()
    assert os.listdir(second.directory) == [second.name]


def test_domains_are_apart(appear: Appear) -> None:
    first, second = appear(1, domain=3), appear(2, domain=4)
    assert (first.others(), second.others()) == ([], [])
    assert (first.directory.name, second.directory.name) == ("3", "4")


def test_directories_are_made_for_this_user_alone(appear: Appear) -> None:
    rendezvous = appear()
    for path, mode in ((rendezvous.directory.parent, 0o700), (rendezvous.directory, 0o700)):
        assert stat.S_IMODE(path.stat().st_mode) == mode
    assert stat.S_IMODE((rendezvous.directory / rendezvous.name).stat().st_mode) == 0o600


def test_a_group_opens_them_to_its_members(appear: Appear, tmp_path: Path) -> None:
    rendezvous = appear(group=os.getegid())
    assert stat.S_IMODE(rendezvous.directory.stat().st_mode) == 0o3770  # a member removes its own socket only
    socket_file = (rendezvous.directory / rendezvous.name).stat()
    assert (stat.S_IMODE(socket_file.st_mode), socket_file.st_gid) == (0o660, os.getegid())


def test_a_path_longer_than_an_address_may_be_is_no_problem(appear: Appear, tmp_path: Path) -> None:
    directory = tmp_path / ("long" * 40) / ("longer" * 30)
    directory.parent.mkdir()
    first, second = appear(1, directory=directory), appear(2, directory=directory)
    link = second.connect(first.name)
    assert link is not None
    link.close()
    accept(first).close()


def test_a_directory_that_others_may_write_to_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "open"
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(ConfigError, match=r"LUNAR_RUNTIME_DIR.*others may write to it \(mode 0777\)"):
        Rendezvous(config(directory), "0" * 32)


def test_what_is_no_directory_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(ConfigError, match="it is not a directory"):
        Rendezvous(config(file), "0" * 32)
    link = tmp_path / "link"
    link.symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="it is not a directory"):
        Rendezvous(config(link), "0" * 32)


def test_a_directory_of_another_group_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "group"
    directory.mkdir(mode=0o770)
    with pytest.raises(ConfigError, match="it is not of group 12345 alone"):
        Rendezvous(config(directory, group=12345), "0" * 32)


@pytest.mark.skipif(AS_ROOT, reason="root may write everywhere")
def test_a_directory_that_cannot_be_made_is_refused() -> None:
    with pytest.raises(ConfigError, match="it cannot be made"):
        Rendezvous(config(Path("/proc/lunar")), "0" * 32)


def test_a_directory_that_has_gone_is_an_error_of_its_own(appear: Appear) -> None:
    rendezvous = appear()
    rendezvous.close()
    rendezvous.directory.rmdir()
    with pytest.raises(LunarError, match="look who is in"):
        rendezvous.others()


def test_the_kernel_says_who_is_at_the_other_end(appear: Appear) -> None:
    rendezvous = appear()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        assert rendezvous.may_join(ours) == (os.getpid(), os.geteuid(), True)


def test_two_that_appear_at_the_same_moment_have_names_of_their_own(
    appear: Appear, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("time.monotonic_ns", lambda: 5)
    first, second = appear(1), appear(2)
    assert first.name != second.name
    assert first.is_ours_to_connect(second.name) != second.is_ours_to_connect(first.name)
