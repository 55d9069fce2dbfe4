"""The `lunar` command as its users run it: real processes on the real bus, this process at the other end."""

import asyncio
import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import lunar
from lunar.graph.descriptions import EndpointInfo, NodeInfo

LUNAR = [sys.executable, "-c", "import sys; from lunar.cli.main import main; sys.exit(main())"]
TIMEOUT_S = 20

Start = Callable[..., "subprocess.Popen[str]"]


def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Runs a command to its end."""
    return subprocess.run(
        [*LUNAR, *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env=os.environ | environment,
        check=False,
    )


@pytest.fixture
def start() -> Iterator[Start]:
    """``start(*arguments)``: a running command, which does not outlive the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str, stdout: int = subprocess.PIPE) -> "subprocess.Popen[str]":
        process = subprocess.Popen([*LUNAR, *arguments], stdout=stdout, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def finish(process: "subprocess.Popen[str]", *, interrupt: bool = False) -> tuple[int, str, str]:
    """Waits for a command's end, after Ctrl-C if asked for: exit code, stdout, stderr."""
    if interrupt:
        process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=TIMEOUT_S)
    assert "Traceback" not in err
    return process.returncode, out, err


@pytest.fixture
def node() -> Iterator[lunar.Node]:
    with lunar.Node("talker") as made:
        yield made


def until(condition: Callable[[], bool]) -> None:
    """Looks until something is so that no event announces."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s
        os.sched_yield()


def all_taken(publisher: "lunar.Publisher[object]") -> bool:
    return all(match.queued == 0 for match in publisher.statistics().matches)


# ---- the graph -------------------------------------------------------------------------------------------------


def test_the_graph_is_listed(node: lunar.Node) -> None:
    publisher = node.create_publisher(bytes, "chatter", qos=lunar.QoS(depth=7))
    node.create_subscription(bytes, "commands")
    topics = json.loads(run("topic", "list", "--json").stdout)
    assert [topic["topic"] for topic in topics] == ["/chatter", "/commands"]
    (end,) = topics[0]["publishers"]
    assert EndpointInfo.from_dict(end) == EndpointInfo(
        publisher.id, "publisher", "/chatter", "bytes", end["type_hash"], lunar.QoS(depth=7), "/talker", os.getpid()
    )
    (described,) = json.loads(run("node", "list", "--json").stdout)
    assert NodeInfo.from_dict(described).endpoints[0].id == publisher.id
    assert run("topic", "list").stdout.splitlines()[1].split() == ["/chatter", "bytes", "1", "0"]


def test_a_topic_and_a_node_are_shown(node: lunar.Node) -> None:
    node.create_publisher(bytes, "chatter", qos=lunar.QoS(reliability="best_effort"))
    node.create_subscription(bytes, "chatter")
    shown = run("topic", "info", "chatter")
    assert shown.returncode == 0
    assert shown.stdout.startswith("/chatter (bytes)\n1 publisher\n")
    assert "reliability" in shown.stderr
    assert len(json.loads(run("topic", "info", "/chatter", "--json").stdout)["mismatches"]) == 1
    assert f"/talker (pid {os.getpid()}" in run("node", "info", "talker").stdout


def test_what_is_not_there_is_not_found(node: lunar.Node) -> None:
    node.create_publisher(bytes, "chatter")
    for arguments, near in ((("topic", "info", "chater"), "/chatter"), (("node", "info", "taker"), "/talker")):
        result = run(*arguments)
        assert result.returncode == 1
        assert result.stdout == ""
        assert f"did you mean {near}?" in result.stderr


def test_nothing_is_left_behind(runtime_dir: Path) -> None:
    assert run("topic", "list").returncode == 0
    assert [path for path in runtime_dir.rglob("*") if not path.is_dir()] == []


def test_other_domains_are_not_seen(node: lunar.Node) -> None:
    node.create_publisher(bytes, "chatter")
    assert json.loads(run("topic", "list", "--json", LUNAR_DOMAIN="1").stdout) == []
    assert run("topic", "list", LUNAR_DOMAIN="400").returncode == 2


def test_a_process_that_hangs_is_named(start: Start) -> None:
    hung = start("topic", "pub", "chatter", "x", "--rate", "1000", "--wait-subscribers", "0")
    until(lambda: bool(lunar.graph_snapshot().nodes))
    hung.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, hung.pid, os.WSTOPPED | os.WNOWAIT)
    try:
        result = run("topic", "list")
    finally:
        hung.send_signal(signal.SIGCONT)
    assert result.returncode == 0
    assert re.search("not all is shown: .* does not answer", result.stderr)


def complete(words: str) -> list[str]:
    """What bash is offered when the user presses Tab at the end of these words."""
    environment = {
        "_LUNAR_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    return run(**environment).stdout.split()


def test_names_are_completed(node: lunar.Node) -> None:
    node.create_publisher(bytes, "camera/image")
    assert complete("lunar top") == ["topic"]
    assert {"list", "info", "echo", "hz", "bw", "pub"} <= set(complete("lunar topic "))
    assert complete("lunar topic echo /cam") == ["/camera/image"]
    assert complete("lunar topic hz cam") == ["camera/image"]
    assert complete("lunar node info t") == ["talker"]
    assert complete("lunar topic pub x y --qos-reliability b") == ["best_effort"]


# ---- echo ------------------------------------------------------------------------------------------------------


def test_echo_prints_messages(node: lunar.Node, start: Start) -> None:
    publisher = node.create_publisher(bytes, "chatter")
    echo = start("topic", "echo", "chatter", "--count", "3", "--verbose")
    publisher.wait_for_subscribers_blocking(1, timeout_s=TIMEOUT_S)
    for message in (b"hello", "zażółć".encode(), b"\x1b[31m\x00"):
        publisher.publish_blocking(message)
    code, out, err = finish(echo)
    assert code == 0
    lines = out.splitlines()
    assert re.fullmatch(rf"# 1 from {publisher.id} at \S+, 5 bytes", lines[0])
    assert lines[1] == "hello"
    assert lines[3] == "zażółć"
    assert lines[5:] == ["6 bytes", "00000000  1b 5b 33 31 6d 00                                 |.[31m.|"]
    assert "lost" not in err


def test_echo_prints_json_lines(node: lunar.Node, start: Start) -> None:
    publisher = node.create_publisher(bytes, "chatter")
    echo = start("topic", "echo", "chatter", "--count", "2", "--json")
    publisher.wait_for_subscribers_blocking(1, timeout_s=TIMEOUT_S)
    before_ns = time.time_ns()
    publisher.publish_many([b"hello", b"\xff\x00"])
    code, out, _ = finish(echo)
    assert code == 0
    text, binary = (json.loads(line) for line in out.splitlines())
    assert (text["encoding"], text["data"]) == ("utf-8", "hello")
    assert (binary["encoding"], base64.b64decode(binary["data"])) == ("base64", b"\xff\x00")
    assert {name: text[name] for name in ("topic", "sequence_number", "publisher_id", "size_bytes")} == {
        "topic": "/chatter",
        "sequence_number": 1,
        "publisher_id": publisher.id,
        "size_bytes": 5,
    }
    assert before_ns - 10**9 < text["source_time_ns"] <= text["reception_time_ns"] < time.time_ns() + 10**9


def test_echo_writes_raw_bytes(node: lunar.Node, start: Start, tmp_path: Path) -> None:
    payload = os.urandom(3_000_000)
    publisher = node.create_publisher(bytes, "blob", qos=lunar.QoS(durability="transient_local"))
    publisher.publish_blocking(payload)
    result = subprocess.run(
        [*LUNAR, "topic", "echo", "blob", "--raw", "--count", "1"], capture_output=True, timeout=TIMEOUT_S, check=False
    )
    assert result.returncode == 0
    assert result.stdout == payload


@pytest.mark.parametrize(
    "offered",
    [
        lunar.QoS(reliability="best_effort"),
        lunar.QoS(durability="transient_local"),
        lunar.QoS(history="keep_all"),
        lunar.QoS(deadline_s=10, liveliness="manual_by_topic", lease_s=100),
    ],
    ids=["best effort", "transient local", "keep all", "deadline"],
)
def test_echo_hears_every_publisher(offered: lunar.QoS, node: lunar.Node, start: Start) -> None:
    publisher = node.create_publisher(bytes, "chatter", qos=offered)
    echo = start("topic", "echo", "chatter", "--count", "1")
    publisher.wait_for_subscribers_blocking(1, timeout_s=TIMEOUT_S)
    publisher.publish_blocking(b"hello")
    assert finish(echo)[:2] == (0, "hello\n")


def test_echo_warns_when_the_qos_starves_it(node: lunar.Node) -> None:
    node.create_publisher(bytes, "chatter", qos=lunar.QoS(reliability="best_effort"))
    result = run("topic", "echo", "chatter", "--qos-reliability", "reliable", "--timeout", "0.5")
    assert result.returncode == 1
    assert "nothing will come from" in result.stderr
    assert "reliability" in result.stderr
    assert "no message within 0.5 s" in result.stderr


def test_echo_says_what_it_lost_and_why(node: lunar.Node, start: Start) -> None:
    publisher = node.create_publisher(bytes, "chatter")
    echo = start("topic", "echo", "chatter", "--qos-depth", "4", "--json")
    publisher.wait_for_subscribers_blocking(1, timeout_s=TIMEOUT_S)
    publisher.publish_many([b"%d" % number for number in range(5000)])
    until(lambda: all_taken(publisher))
    code, out, err = finish(echo, interrupt=True)
    assert code == 130
    numbers = [json.loads(line)["sequence_number"] for line in out.splitlines()]
    assert numbers == sorted(set(numbers))
    lost = 5000 - len(numbers)
    assert lost > 0
    assert f"{lost:,} of 5,000 messages lost: {lost:,} overwritten before they were taken" in err


def test_echo_ends_when_its_reader_has_seen_enough(node: lunar.Node, start: Start) -> None:
    publisher = node.create_publisher(bytes, "chatter")
    echo = start("topic", "echo", "chatter")
    publisher.wait_for_subscribers_blocking(1, timeout_s=TIMEOUT_S)
    publisher.publish_blocking(b"first")
    assert echo.stdout is not None
    assert echo.stdout.readline() == "first\n"
    echo.stdout.close()
    deadline_s = time.monotonic() + TIMEOUT_S
    while echo.poll() is None and time.monotonic() < deadline_s:
        publisher.publish_blocking(b"more")
    assert echo.stderr is not None
    assert (echo.wait(timeout=TIMEOUT_S), "Traceback" in echo.stderr.read()) == (0, False)


# ---- hz and bw -------------------------------------------------------------------------------------------------


def publish_paced(publisher: "lunar.Publisher[object]", rate_hz: int, duration_s: float, size_bytes: int) -> float:
    """Publishes in bursts, catching up after every delay; returns the rate that came of it."""
    message = bytes(size_bytes)
    published = 0
    started_s = time.monotonic()
    while (elapsed_s := time.monotonic() - started_s) < duration_s:
        due = int(elapsed_s * rate_hz) - published
        if due >= 100:
            published += publisher.publish_many([message] * due)
    return published / duration_s


def test_hz_is_right_above_200_000_messages_a_second(node: lunar.Node, start: Start) -> None:
    publisher = node.create_publisher(bytes, "load")
    hz = start("topic", "hz", "load", "--json", "--interval", "0.5", "--qos-depth", "65536")
    publisher.wait_for_subscribers_blocking(1, timeout_s=TIMEOUT_S)
    rate_hz = publish_paced(publisher, 250_000, duration_s=2, size_bytes=64)
    until(lambda: all_taken(publisher))
    code, out, err = finish(hz, interrupt=True)
    assert (code, err) == (130, "")
    *windows, total = [json.loads(line) for line in out.splitlines()]
    assert {line["kind"] for line in windows} == {"window"}
    assert total["kind"] == "total"
    assert total["received"] + total["lost"] == publisher.statistics().published
    assert total["kept_up"] == (total["lost"] == 0)
    assert rate_hz > 200_000
    # From source times: no delay of this machine, on either side, can move it.
    assert total["rate_hz"] == pytest.approx(rate_hz, rel=0.05)
    assert set(total) == {
        "kind", "topic", "span_s", "publishers", "received", "lost", "rate_hz", "received_hz", "period_s", "kept_up",
    }  # fmt: skip
    assert set(total["period_s"]) == {"mean", "minimum", "maximum", "standard_deviation"}
    assert publisher.statistics().waits == 0


@pytest.mark.parametrize("quantity", ["hz", "bw"])
def test_a_meter_that_cannot_keep_up_says_so(quantity: str, node: lunar.Node, start: Start) -> None:
    publisher = node.create_publisher(bytes, "load")
    meter = start("topic", quantity, "load", "--qos-depth", "1")
    publisher.wait_for_subscribers_blocking(1, timeout_s=TIMEOUT_S)
    publisher.publish_blocking(b"first")
    until(lambda: all_taken(publisher))
    publisher.publish_many([b"x"] * 10_000)
    until(lambda: all_taken(publisher))
    code, out, _ = finish(meter, interrupt=True)
    assert code == 130
    counts = re.search(r"total: .* received ([\d,]+), lost ([\d,]+) .* could not keep up: ([\d,]+) lost", out)
    assert counts is not None, out
    received, lost, said = (int(count.replace(",", "")) for count in counts.groups())
    assert received + lost == 10_001
    assert said == lost > 0


def test_bw_measures_sizes(node: lunar.Node, start: Start) -> None:
    publisher = node.create_publisher(bytes, "images")
    bw = start("topic", "bw", "images", "--json", "--qos-depth", "1000")
    publisher.wait_for_subscribers_blocking(1, timeout_s=TIMEOUT_S)
    for size_bytes in (1000, 2000, 1_000_000):
        publisher.publish_blocking(bytes(size_bytes))
    until(lambda: all_taken(publisher))
    code, out, _ = finish(bw, interrupt=True)
    total = json.loads(out.splitlines()[-1])
    assert code == 130
    assert (total["received"], total["received_bytes"]) == (3, 1_003_000)
    assert (total["size_bytes"]["minimum"], total["size_bytes"]["maximum"]) == (1000, 1_000_000)
    assert total["bytes_per_s"] == pytest.approx(total["received_hz"] * 1_003_000 / 3)


def test_a_meter_chooses_its_depth_by_the_size_of_the_messages(node: lunar.Node, start: Start) -> None:
    publisher = node.create_publisher(bytes, "images")
    hz = start("topic", "hz", "images")
    publisher.wait_for_subscribers_blocking(1, timeout_s=TIMEOUT_S)
    publisher.publish_blocking(bytes(2**20))

    def is_matched_with_the_shallower() -> bool:
        ends = [end for end in lunar.graph_snapshot().endpoints if end.kind == "subscription"]
        matched = [match.subscription_id for match in publisher.statistics().matches]
        return [end.qos.depth for end in ends] == [64] and matched == [end.id for end in ends]

    until(is_matched_with_the_shallower)
    publisher.publish_many([bytes(2**20)] * 5)
    until(lambda: all_taken(publisher))
    assert "received 5, lost 0" in finish(hz, interrupt=True)[1]


def test_a_meter_that_is_stopped_holds_up_nobody(node: lunar.Node, start: Start) -> None:
    publisher = node.create_publisher(bytes, "load", qos=lunar.QoS(history="keep_all", depth=10))
    meter = start("topic", "hz", "load", "--qos-depth", "10")
    publisher.wait_for_subscribers_blocking(1, timeout_s=TIMEOUT_S)
    meter.send_signal(signal.SIGSTOP)
    os.waitid(os.P_PID, meter.pid, os.WSTOPPED | os.WNOWAIT)
    try:
        assert publisher.publish_many([b"x"] * 1000) == 1000
        assert publisher.statistics().waits == 0
    finally:
        meter.send_signal(signal.SIGCONT)


def test_a_meter_ends_after_its_duration(node: lunar.Node) -> None:
    node.create_publisher(bytes, "silence")
    for quantity in ("hz", "bw"):
        result = run("topic", quantity, "silence", "--duration", "0.2")
        assert result.returncode == 1
        assert result.stdout.startswith("total: ")


# ---- pub -------------------------------------------------------------------------------------------------------


def test_pub_publishes_what_it_is_given(node: lunar.Node, tmp_path: Path) -> None:
    path = tmp_path / "message"
    path.write_bytes(b"\x00from a file")
    subscription = node.create_subscription(bytes, "chatter")
    for arguments in (["zażółć"], ["--hex", "00 ff"], ["--file", str(path)], ["--size", "1000"]):
        assert run("topic", "pub", "chatter", *arguments).returncode == 0
    received = [bytes(subscription.receive_blocking(timeout_s=TIMEOUT_S)) for _ in range(4)]
    assert received[:3] == ["zażółć".encode(), b"\x00\xff", b"\x00from a file"]
    assert len(received[3]) == 1000


def test_pub_publishes_as_often_as_asked(node: lunar.Node) -> None:
    subscription = node.create_subscription(bytes, "chatter", qos=lunar.QoS(history="keep_all"))
    result = run(
        "topic", "pub", "chatter", "x", "--rate", "200", "--count", "50", "--qos-history", "keep_all", "--json"
    )
    outcome = json.loads(result.stdout)
    assert result.returncode == 0
    assert (outcome["topic"], outcome["published"], outcome["published_bytes"]) == ("/chatter", 50, 50)
    assert outcome["lost"] == 0
    assert outcome["duration_s"] >= 49 / 200
    assert [match["node_name"] for match in outcome["subscriptions"]] == ["/talker"]
    samples = subscription.receive_many_blocking(100, timeout_s=TIMEOUT_S)
    assert [sample.info.sequence_number for sample in samples] == list(range(1, 51))


def test_pub_offers_the_qos_it_is_given(node: lunar.Node, start: Start) -> None:
    subscription = node.create_subscription(bytes, "chatter", qos=lunar.QoS(durability="transient_local"))
    start("topic", "pub", "chatter", "x", "--keep-alive", "60", "--qos-profile", "action_status_default")
    assert bytes(subscription.receive_blocking(timeout_s=TIMEOUT_S)) == b"x"
    (publisher,) = [end for end in lunar.graph_snapshot().endpoints if end.kind == "publisher"]
    assert publisher.qos == lunar.qos.ACTION_STATUS_DEFAULT


def test_pub_gives_up_when_nobody_listens() -> None:
    result = run("topic", "pub", "chatter", "x", "--wait-subscribers", "2", "--timeout", "0.2")
    assert result.returncode == 1
    assert "only 0 subscriptions on /chatter" in result.stderr


# ---- Ctrl-C ----------------------------------------------------------------------------------------------------


READERS = [["topic", "echo", "chatter"], ["topic", "hz", "chatter"], ["topic", "bw", "chatter", "--json"]]


@pytest.mark.parametrize("arguments", READERS, ids=" ".join)
def test_ctrl_c_ends_a_reader_that_waits(arguments: list[str], node: lunar.Node, start: Start) -> None:
    publisher = node.create_publisher(bytes, "chatter")
    reader = start(*arguments)
    publisher.wait_for_subscribers_blocking(1, timeout_s=TIMEOUT_S)
    assert finish(reader, interrupt=True)[0] == 130


@pytest.mark.parametrize("arguments", READERS, ids=" ".join)
def test_ctrl_c_ends_a_reader_that_cannot_keep_up(arguments: list[str], node: lunar.Node, start: Start) -> None:
    publisher = node.create_publisher(bytes, "chatter")
    reader = start(*arguments, "--qos-depth", "100000", stdout=subprocess.DEVNULL)
    publisher.wait_for_subscribers_blocking(1, timeout_s=TIMEOUT_S)
    publisher.publish_many([b"x"] * 100_000)
    reader.send_signal(signal.SIGINT)
    deadline_s = time.monotonic() + TIMEOUT_S
    while reader.poll() is None and time.monotonic() < deadline_s:
        publisher.publish_many([b"x"] * 1000)
    assert finish(reader)[0] == 130


@pytest.mark.parametrize("extra", [["--rate", "100"], ["--rate", "0"], ["--count", "1"]], ids=" ".join)
def test_ctrl_c_ends_a_publisher(extra: list[str], start: Start) -> None:
    publisher = start("topic", "pub", "chatter", "x", *extra)
    until(lambda: bool(lunar.graph_snapshot().endpoints))
    code, _, err = finish(publisher, interrupt=True)
    assert code == 130
    assert err.startswith("lunar: ")


# ---- doctor ----------------------------------------------------------------------------------------------------


def test_the_doctor_finds_this_host_well(node: lunar.Node) -> None:
    result = run("doctor", "--json")
    document = json.loads(result.stdout)
    failed = [check for check in document["checks"] if check["status"] == "failed"]
    assert (result.returncode, document["ok"], failed) == (0, True, [])
    checks = {check["name"]: check for check in document["checks"]}
    assert all(set(check) == {"name", "status", "text", "remedy"} for check in checks.values())
    assert checks["peers"]["text"].startswith("1 node in 1 process")
    assert checks["socket files"]["text"].startswith("1 process present")
    assert checks["transport shm"]["status"] == "ok"
    assert checks["LUNAR_RUNTIME_DIR"]["text"].endswith("(environment)")


def test_the_doctor_says_what_is_wrong(runtime_dir: Path) -> None:
    runtime_dir.chmod(0o777)
    result = run("doctor", LUNAR_POOL_BYTES="lots")
    assert result.returncode == 1
    failed = {line.split()[1] for line in result.stdout.splitlines() if line.startswith("failed")}
    assert failed == {"LUNAR_POOL_BYTES", "runtime", "peers"}
    assert result.stdout.count("remedy:") >= 3


async def test_explain_tells_what_the_ends_themselves_chose(node: lunar.Node) -> None:
    pub = node.create_publisher(bytes, "chatter")
    sub = node.create_subscription(bytes, "chatter")
    node.create_subscription(bytes, "chatter", qos=lunar.QoS(transport="zmq"))
    await pub.wait_for_subscribers(1, timeout_s=5)
    await sub.wait_for_publishers(1, timeout_s=5)
    ended = await asyncio.to_thread(run, "explain", "chatter", "--json")
    assert ended.returncode == 0, ended.stderr
    told = {pair["subscription"]["id"]: pair for pair in json.loads(ended.stdout)["pairs"]}
    served = told.pop(sub.id)
    assert (served["publisher"]["id"], served["matched"], served["transport"]) == (pub.id, True, "shm")
    (refused,) = told.values()
    assert (refused["matched"], refused["reasons"]["shm"]) == (False, "the subscription asks for zmq")
    assert pub.subscriber_count == 1


def test_explain_takes_two_hosts() -> None:
    ended = run("explain", "chatter", "--between", "here", "pluto")
    assert ended.returncode == 1
    assert "no node is on a host pluto" in ended.stderr
    ended = run("explain", "chatter", "--between", "here", "here", "--qos", "transport=shm")
    assert ended.returncode == 0
    assert "  match over shm\n" in ended.stdout


async def test_an_observer_that_names_a_transport_is_told_that_there_is_none(node: lunar.Node) -> None:
    node.create_publisher(bytes, "chatter")
    ended = await asyncio.to_thread(run, "topic", "echo", "chatter", "--qos-transport", "zmq", "--timeout", "1")
    assert ended.returncode == 1
    assert "no transport, no match" in ended.stderr
    assert "the subscription asks for zmq" in ended.stderr
