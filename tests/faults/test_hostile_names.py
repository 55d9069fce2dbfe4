"""A peer that claims to be somebody else, or sets up sockets of its own in the runtime directory."""

import asyncio
import os
import socket
import time
import uuid
from pathlib import Path

import pytest

import lunar
from tests.faults.hostile import Hostile, listening
from tests.faults.victim import attacked, run

pytestmark = [pytest.mark.hostile, pytest.mark.usefixtures("no_leaks")]


def test_a_name_that_cannot_be_the_peers_own(runtime_dir: Path) -> None:
    """Who connects to us came later than we did, and so its socket is called."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            names = [
                victim.socket_name,  # our own, to be taken for ourselves
                f"{0:016x}-{uuid.uuid4().hex}.sock",
                f"{time.monotonic_ns() - 10**12:016x}-{uuid.uuid4().hex}.sock",
            ]
            for name in names:
                with victim.hostile() as hostile:
                    hostile.send(hostile.hello(name=name), fds=[hostile.bells_fd, hostile.mouth.fileno()])
                    await victim.disconnects(hostile, "not its own")

    run(attack())


def test_the_name_of_an_honest_peer_takes_nothing_from_it(runtime_dir: Path) -> None:
    """The name is no secret; whoever claims it, and is disconnected for something else, has no hold over its owner."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            (honest,) = (path.name for path in victim.directory.glob("*.sock") if path.name != victim.socket_name)
            for farewell in ([{"op": "format"}], [{"op": "bye"}], []):
                with victim.hostile() as hostile:
                    hostile.name = honest
                    hostile.greet()
                    hostile.announce_node("impostor")
                    if farewell:
                        hostile.send(*farewell)
                    if farewell == [{"op": "format"}]:
                        await victim.disconnects(hostile, "unknown operation")
                await victim.settle()
                await victim.serves()
                assert (victim.directory / honest).exists()
            names = {node.full_name for node in lunar.graph_snapshot(5).nodes}
            assert names == {"/victim", "/honest"}

    run(attack())


def test_a_peer_that_we_connect_to(runtime_dir: Path) -> None:
    """It must greet by the name of the socket that it listens on, and break no other rule either."""

    async def attack() -> None:
        async with attacked(runtime_dir) as victim:
            with listening(victim.directory) as (listener, name):
                with victim.hostile() as nudging:
                    nudging.send({"op": "nudge"})
                for claimed in (name, f"{time.monotonic_ns():016x}-{uuid.uuid4().hex}.sock"):
                    connection, _ = listener.accept()
                    with Hostile(connection, claimed) as hostile:
                        hostile.greet()
                        if claimed == name:
                            hostile.announce_node()
                            await victim.settle()
                        else:
                            await victim.disconnects(hostile, "not its own")
                    if claimed == name:  # it went without a word; a newcomer has us look again
                        await victim.settle()
                        with victim.hostile() as nudging:
                            nudging.send({"op": "nudge"})
            await victim.serves()

    run(attack())


def test_sockets_that_answer_nobody(runtime_dir: Path) -> None:
    """Files that are no sockets, sockets that nobody listens on, and one that is full: none holds anybody up."""

    async def attack() -> None:
        directory = runtime_dir / "0"
        directory.mkdir(mode=0o700)

        def name() -> Path:
            return directory / f"{0:016x}-{uuid.uuid4().hex}.sock"

        regular, folder, dangling = name(), name(), name()
        regular.write_text("no socket")
        folder.mkdir()
        dangling.symlink_to("/nowhere")
        bound = [socket.socket(socket.AF_UNIX, kind) for kind in (socket.SOCK_SEQPACKET, socket.SOCK_DGRAM)]
        full = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        waiting = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            for unheard in bound:
                unheard.bind(str(name()))
            full_name = name()
            full.bind(str(full_name))
            full.listen(0)
            waiting.connect(str(full_name))
            (directory / "not-a-socket-name").write_text("")
            started = time.monotonic()
            async with attacked(runtime_dir) as victim:
                await victim.serves()
                assert time.monotonic() - started < 20
                snapshot = await asyncio.to_thread(lunar.graph_snapshot, 0.2)
                assert {node.full_name for node in snapshot.nodes} == {"/victim", "/honest"}
                assert snapshot.unreachable
        finally:
            for unheard in (*bound, full, waiting):
                unheard.close()
            os.rmdir(folder)
            for left in directory.iterdir():
                left.unlink()

    run(attack())
