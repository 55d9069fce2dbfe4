"""Whether a process that has vanished is dead, as the kernel of its host says. Loopback."""

import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from lunar.graph.control import ControlThread
from lunar.graph.network import inquiry
from lunar.graph.network.inquiry import Place, inquire

ANY = ("127.0.0.1", "::1")
Ask = Callable[..., bool]


@pytest.fixture
def ask(no_leaks: Callable[[], list[str]], monkeypatch: pytest.MonkeyPatch) -> Iterator[Ask]:
    """``ask(*places)``: whether it was found dead."""
    monkeypatch.setattr(inquiry, "_ANSWER_WITHIN_S", 0.2)
    control = ControlThread()
    control.start(lambda: None)

    def ask(*places: Place) -> bool:
        dead, over = threading.Event(), threading.Event()
        control.post(inquire, control, places, dead.set)
        # Timers of equal length end in the order of their setting.
        control.post(control.call_later, 0.2, over.set)
        assert over.wait(5)
        return dead.is_set()

    yield ask
    control.close()


def listen(address: str = "127.0.0.1") -> socket.socket:
    try:
        return socket.create_server((address, 0), family=socket.AF_INET6 if ":" in address else socket.AF_INET)
    except OSError as error:
        pytest.skip(f"nothing can listen on {address}: {error}")


def place_of(server: socket.socket) -> Place:
    address: tuple[str, int] = server.getsockname()[:2]
    return address


def closed(address: str = "127.0.0.1") -> Place:
    with listen(address) as server:
        return place_of(server)


@pytest.mark.parametrize("address", ANY)
def test_who_is_refused_everywhere_is_dead(ask: Ask, address: str) -> None:
    assert ask(closed(address))
    assert ask(closed(address), closed(address), closed(address))


@pytest.mark.parametrize("address", ANY)
def test_who_listens_lives_even_if_it_never_accepts(ask: Ask, address: str) -> None:
    with listen(address) as server:
        assert not ask(place_of(server))
        assert not ask(closed(address), place_of(server))
        assert not ask(place_of(server), closed(address))


def test_silence_proves_nothing(ask: Ask) -> None:
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as server,
        socket.create_connection(place_of(server)),
        socket.socket() as another,
    ):
        # Once its queue is full, the kernel does not answer, as nobody does behind a cut.
        another.setblocking(False)
        another.connect_ex(place_of(server))
        assert not ask(place_of(server))
        assert not ask(closed(), place_of(server))
    assert not ask()


def test_what_is_no_address_proves_nothing(ask: Ask) -> None:
    for nonsense in ("localhost", "", "127.0.0.1:80", "fe80::1%lo"):
        assert not ask((nonsense, 9))
        assert not ask(closed(), (nonsense, 9))
    assert not ask(("0.0.0.256", 9), closed())
    assert not ask(("127.0.0.1", 65536), closed())
    assert not ask(("127.0.0.1", 0))
