"""The other end of a run on another machine, as the client sees it; the server is one of the worse kind, or real."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from lunar_perf.children import RunFailed, run_ends
from lunar_perf.host_facts import HostFacts
from lunar_perf.outcome import Outcome
from lunar_perf.remote import NoServer, remote_run
from lunar_perf.sequence import Tally
from lunar_perf.side import Server
from lunar_perf.wire import PROTOCOL, Done, Failed, Hello, Message, Refused, Report, Started, Welcome, decode, encode
from lunar_perf.work import Work

HERE = HostFacts.here()
OTHER = HostFacts("robot", "99.0", "", "")
WELCOME = encode(Welcome(PROTOCOL, HERE, 3))
WORK = Work(64, duration_s=1)

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def serving(serve: Serve) -> AsyncIterator[Server]:
    """A server that does as it likes, and then hangs up."""

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(reader, writer)
        finally:
            writer.close()

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    async with listening:
        yield Server("127.0.0.1", int(listening.sockets[0].getsockname()[1]))


def saying(*lines: bytes) -> Serve:
    """Says one line for each line that comes."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for line in lines:
            await reader.readline()
            writer.write(line)
        await writer.drain()

    return serve


async def why_not(serve: Serve) -> str:
    async with serving(serve) as server:
        with pytest.raises(NoServer) as caught:
            async with remote_run(server, "receive", WORK):
                pass
        assert str(server) in str(caught.value)
        return str(caught.value)


async def test_nobody_there_is_said_with_the_remedy() -> None:
    async with serving(saying()) as server:
        pass  # so that its port is free, and closed
    with pytest.raises(
        NoServer, match=r"cannot reach 127.0.0.1:\d+ by TCP: Connection refused; start `lunar perf serve` there"
    ):
        async with remote_run(server, "receive", WORK):
            pass


async def test_a_host_that_does_not_exist_is_named() -> None:
    with pytest.raises(NoServer, match=r"no host a\.\.b"):
        async with remote_run(Server("a..b", 7390), "receive", WORK):
            pass


@pytest.mark.parametrize("answer", [WELCOME, encode(Refused(PROTOCOL, HERE, "the versions differ"))])
async def test_versions_that_differ_are_both_named(answer: bytes) -> None:
    other = answer.replace(f'"lunar": "{HERE.lunar}"'.encode(), b'"lunar": "99.0"').replace(
        HERE.name.encode(), b"robot"
    )
    reason = await why_not(saying(other))
    assert f"({HERE.name}) has Lunar {HERE.lunar}" in reason
    assert "(robot) has Lunar 99.0" in reason


async def test_another_protocol_is_named_too() -> None:
    reason = await why_not(saying(encode(Welcome(PROTOCOL + 1, HERE, 0))))
    assert f"perf protocol {PROTOCOL + 1}; install the same" in reason


@pytest.mark.parametrize(
    ("lines", "reason"),
    [
        ([b"SSH-2.0-OpenSSH\r\n"], "does not speak as"),
        ([b"x" * 100_000 + b"\n"], "does not speak as"),
        ([encode(Done())], "does not speak as"),
        ([WELCOME, encode(Done())], "neither a start nor a refusal"),
        ([WELCOME, encode(Started((1, 2), ""))], "neither a start nor a refusal"),
        ([WELCOME, encode(Refused(PROTOCOL, HERE, "it is busy"))], "refuses: it is busy"),
        ([], "is that a `lunar perf serve`?"),
        ([WELCOME], "is that a `lunar perf serve`?"),
    ],
    ids=["ssh", "oversized", "no welcome", "no start", "wrong start", "busy", "hangs up", "hangs up later"],
)
async def test_who_does_not_do_it_is_named(lines: list[bytes], reason: str) -> None:
    assert reason in await why_not(saying(*lines))


async def reports(*said: Message | bytes) -> list[str]:
    lines = [each if isinstance(each, bytes) else encode(each) for each in said]
    async with (
        serving(saying(WELCOME, encode(Started((5,), "")) + b"".join(lines))) as server,
        remote_run(server, "receive", WORK) as run,
    ):
        assert (run.welcome.domain, run.started.cores, run.addresses) == (3, (5,), ("127.0.0.1", "127.0.0.1"))
        return await run_ends(run.ends)


async def test_the_report_is_that_of_a_local_end() -> None:
    outcome = Outcome(1.0, 2.0, tally=Tally(5, 1, 0, 10, 20), lost_by_cause={"network": 1})
    assert [Outcome.from_json(each) for each in await reports(Report(0, outcome))] == [outcome]


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ([Failed("the core is on fire")], "the core is on fire"),
        ([], "it closed the connection"),
        ([b"nonsense\n"], "does not speak as agreed"),
        ([Report(1, Outcome())], "said report at the wrong time"),
        ([Hello(PROTOCOL, HERE)], "said hello at the wrong time"),
    ],
    ids=["failed", "gone", "nonsense", "whose", "hello"],
)
async def test_a_run_that_ends_early_says_why(said: list[Message | bytes], reason: str) -> None:
    with pytest.raises(RunFailed, match=r"127\.0\.0\.1:\d+: .*" + reason):
        await reports(*said)


async def test_a_server_that_falls_silent_is_given_up() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for line in (WELCOME, encode(Started((5,), ""))):
            await reader.readline()
            writer.write(line)
        await reader.read()  # until we are hung up on

    async with serving(serve) as server:
        with pytest.raises(RunFailed, match=r"it said nothing for 0\.2 s"):
            async with remote_run(server, "receive", WORK, silence_s=0.2) as run:
                await run_ends(run.ends)


async def test_who_waits_for_the_end_is_told_once() -> None:
    heard: list[Message] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(WELCOME)
        await reader.readline()
        writer.write(encode(Started((1,), "")))
        heard.append(decode(await reader.readline()))
        writer.write(encode(Report(0, Outcome(cpu_s=0.5))))
        await writer.drain()

    # No end of this run has to report first, so it is over at once.
    async with serving(serve) as server, remote_run(server, "pong", Work(64, count=1)) as run:
        (report,) = await run_ends(run.ends)
    assert Outcome.from_json(report).cpu_s == 0.5
    assert heard == [Done()]


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("robot", "robot", 7390),
        ("robot:7000", "robot", 7000),
        ("192.0.2.7:7000", "192.0.2.7", 7000),
        ("2001:db8::1", "2001:db8::1", 7390),
        ("[2001:db8::1]:7000", "2001:db8::1", 7000),
        ("[fe80::1%eth0]", "fe80::1%eth0", 7390),
        ("fe80::1%eth0", "fe80::1%eth0", 7390),
    ],
)
def test_an_address_is_read(text: str, host: str, port: int) -> None:
    assert Server.parse(text, 7390) == Server(host, port)
    assert Server.parse(str(Server(host, port)), 1) == Server(host, port)


@pytest.mark.parametrize("text", ["", ":", "robot:", "robot:x", "robot:0", "robot:65536", "a b", "[robot", "a:b:c"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"expected|port"):
        Server.parse(text, 7390)
