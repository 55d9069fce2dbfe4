"""`lunar perf serve`, by one who speaks its protocol by hand: real sockets, real measuring processes."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from lunar_perf.host_facts import HostFacts
from lunar_perf.line_stream import SILENCE_S
from lunar_perf.server import MOST_CLIENTS, Notice, PerfServer
from lunar_perf.side import Server
from lunar_perf.wire import (
    LONGEST_LINE_BYTES,
    PROTOCOL,
    Beat,
    Failed,
    Hello,
    Message,
    Order,
    Refused,
    Started,
    Welcome,
    decode,
    encode,
)
from lunar_perf.work import Work

from lunar.config import Config

pytest.importorskip("cyclonedds", reason="the network needs lunar-mom[dds]")

HERE = HostFacts.here()
# A receiver that nobody ever sends to: it runs until it is ended.
ORDER = Order("receive", Work(64, duration_s=600))


class Client:
    """The other side's wire."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def ask(self, *said: Message | bytes) -> Message | None:
        """Says something, and returns the answer that is no beat; None if it is hung up on."""
        for each in said:
            self.writer.write(each if isinstance(each, bytes) else encode(each))
        while True:
            line = await asyncio.wait_for(self.reader.readline(), 20)
            if not line:
                return None
            answer = decode(line)
            if not isinstance(answer, Beat):
                return answer

    async def order(self) -> Message | None:
        assert isinstance(await self.ask(Hello(PROTOCOL, HERE)), Welcome)
        return await self.ask(ORDER)


class Stage:
    """A server, what it told, and its clients."""

    def __init__(self, silence_s: float) -> None:
        self.notices: asyncio.Queue[Notice] = asyncio.Queue()
        self.server = PerfServer(Config.from_environment(), self.notices.put_nowait, silence_s)
        self.at = Server("", 0)
        self.clients: list[Client] = []

    async def client(self) -> Client:
        client = Client(*await asyncio.open_connection(self.at.host, self.at.port))
        self.clients.append(client)
        return client

    async def told(self, kind: str) -> Notice:
        """The next notice, which is of that kind."""
        notice = await asyncio.wait_for(self.notices.get(), 20)
        assert notice.kind == kind, notice
        return notice


@asynccontextmanager
async def opened(silence_s: float) -> AsyncIterator[Stage]:
    stage = Stage(silence_s)
    (stage.at,) = await stage.server.listen(["127.0.0.1"], 0)
    try:
        yield stage
    finally:
        for client in stage.clients:
            client.writer.close()
        await stage.server.close()
        assert psutil.Process().children(recursive=True) == []


@pytest.fixture
async def stage(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setenv("LUNAR_INTERFACES", "lo")
    async with opened(SILENCE_S) as stage:
        yield stage


@pytest.fixture
async def impatient(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Stage]:
    monkeypatch.setenv("LUNAR_INTERFACES", "lo")
    async with opened(0.3) as stage:
        yield stage


@pytest.mark.parametrize(
    "said",
    [
        b"GET / HTTP/1.1\r\n",
        b"\x00" * 100 + b"\n",
        b"[" * 5000 + b"\n",
        encode(ORDER),
        b"x" * (2 * LONGEST_LINE_BYTES) + b"\n",
    ],
    ids=["http", "zeros", "nested", "no hello", "oversized"],
)
async def test_who_speaks_otherwise_is_refused(stage: Stage, said: bytes) -> None:
    client = await stage.client()
    answer = await client.ask(said)
    assert isinstance(answer, Refused)
    assert "no message of `lunar perf`" in answer.reason
    assert await client.ask() is None
    assert (await stage.told("refused")).client == "127.0.0.1"


async def test_an_order_beyond_the_limits_is_refused(stage: Stage) -> None:
    client = await stage.client()
    await client.ask(Hello(PROTOCOL, HERE))
    fields = json.loads(encode(ORDER))
    fields["work"]["size_bytes"] = 1 << 40
    answer = await client.ask(json.dumps(fields).encode() + b"\n")
    assert isinstance(answer, Refused)
    assert "size_bytes: expected a whole number from 1 to" in answer.reason


@pytest.mark.parametrize(("protocol", "version"), [(PROTOCOL, "99.0"), (PROTOCOL + 1, HERE.lunar)])
async def test_another_version_is_refused_naming_both(stage: Stage, protocol: int, version: str) -> None:
    client = await stage.client()
    answer = await client.ask(Hello(protocol, HostFacts("robot", version, "", "")))
    assert isinstance(answer, Refused)
    for part in (
        f"has Lunar {HERE.lunar}, perf protocol {PROTOCOL}",
        f"you have Lunar {version}, perf protocol {protocol}",
    ):
        assert part in answer.reason
    assert (await stage.told("refused")).client == "robot (127.0.0.1)"


async def test_one_at_a_time_and_who_comes_second_is_told_of_the_first(stage: Stage) -> None:
    first, second = await stage.client(), await stage.client()
    assert isinstance(await first.order(), Started)
    await stage.told("started")
    answer = await second.order()
    assert isinstance(answer, Refused)
    assert f"busy with a run of {HERE.name} (127.0.0.1)" in answer.reason
    await stage.told("refused")
    first.writer.close()
    assert "closed the connection" in (await stage.told("failed")).text
    assert isinstance(await (await stage.client()).order(), Started)


async def test_a_client_that_vanishes_without_a_word_frees_the_server(impatient: Stage) -> None:
    assert isinstance(await (await impatient.client()).order(), Started)
    await impatient.told("started")
    assert "said nothing for 0.3 s" in (await impatient.told("failed")).text
    assert await impatient.server.next_result() is False
    assert isinstance(await (await impatient.client()).order(), Started)


async def test_who_says_nothing_from_the_beginning_is_hung_up_on(impatient: Stage) -> None:
    assert await (await impatient.client()).ask() is None
    assert "said nothing" in (await impatient.told("refused")).text


async def test_nobody_holds_a_place_by_beating_before_the_order(impatient: Stage) -> None:
    client = await impatient.client()
    assert isinstance(await client.ask(Hello(PROTOCOL, HERE)), Welcome)
    answer = await client.ask(Beat())
    assert isinstance(answer, Refused)
    assert "beat at the wrong time" in answer.reason


async def test_beats_keep_a_run_alive_and_a_flood_ends_it(impatient: Stage) -> None:
    client = await impatient.client()
    assert isinstance(await client.order(), Started)
    await impatient.told("started")
    answer = await client.ask(*[Beat()] * 500)
    assert isinstance(answer, Failed)
    assert "more messages than anybody needs" in answer.reason
    await impatient.told("failed")


async def test_a_process_that_fails_is_told_of(stage: Stage) -> None:
    client = await stage.client()
    await client.ask(Hello(PROTOCOL, HERE))
    assert isinstance(await client.ask(Order("receive", Work(64, duration_s=1, message="CarrierPigeon"))), Started)
    answer = await client.ask()
    assert isinstance(answer, Failed)
    assert "UnknownMessage" in answer.reason
    assert "CarrierPigeon" in answer.reason
    await stage.told("started")
    assert answer.reason in (await stage.told("failed")).text


async def test_the_client_is_not_shown_the_way_through_our_files(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LUNAR_CONFIG", str(tmp_path / "absent.toml"))
    client = await stage.client()
    await client.ask(Hello(PROTOCOL, HERE))
    assert isinstance(await client.ask(ORDER), Started)
    answer = await client.ask()
    assert isinstance(answer, Failed)
    assert answer.reason.endswith("(more in the terminal of `lunar perf serve`)")
    assert "Traceback" not in answer.reason
    await stage.told("started")
    assert "line" in (await stage.told("failed")).text


async def test_the_client_is_told_when_the_server_is_ended(stage: Stage) -> None:
    client = await stage.client()
    assert isinstance(await client.order(), Started)
    await stage.server.close()
    assert await client.ask() == Failed("it was ended")


async def test_only_so_many_may_be_connected(stage: Stage) -> None:
    for _ in range(MOST_CLIENTS):
        assert isinstance(await (await stage.client()).ask(Hello(PROTOCOL, HERE)), Welcome)
    assert await (await stage.client()).ask() is None


async def test_a_port_that_is_taken_is_an_error(stage: Stage) -> None:
    other = PerfServer(Config.from_environment(), lambda _: None)
    with pytest.raises(OSError, match="address already in use"):
        await other.listen(["127.0.0.1"], stage.at.port)
