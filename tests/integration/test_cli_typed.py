"""The `lunar` command and typed messages: what it prints of types that it has never seen, and what it publishes."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import cast

import pytest

import lunar

LUNAR = [sys.executable, "-c", "import sys; from lunar.cli.main import main; sys.exit(main())"]
TIMEOUT_S = 20

Start = Callable[..., "subprocess.Popen[str]"]

# Defines its types itself, publishes on three topics and stays until its stdin ends.
SHOP = """
import enum, sys
import numpy as np
import lunar

class Mode(enum.IntEnum):
    IDLE = 0
    DRIVING = 1

@lunar.message(struct=True, name="shop.Point")
class Point:
    x: lunar.float32
    y: lunar.float32

@lunar.message(name="shop.Circle")
class Circle:
    radius: float

@lunar.message(name="shop.Square")
class Square:
    side: float

@lunar.message(name="shop.State")
class State:
    number: int
    place: Point
    mode: Mode
    name: str | None = None
    cells: lunar.Array[lunar.float32]
    matrix: lunar.Array[float, 2, 3]
    path: list[Point]
    shape: Circle | Square | None = None
    extra: lunar.int32 | None = None

LASTING = lunar.QoS(durability="transient_local", depth=10)

def state(number, **fields):
    return State(number=number, place=Point(x=0.1, y=2.0), mode=Mode.DRIVING, cells=np.arange(100, dtype=np.float32),
        matrix=np.arange(6.0).reshape(2, 3), path=[Point(x=1.0, y=0.0), Point(x=2.0, y=0.5)], **fields)

with lunar.Node("shop") as node:
    states = node.create_publisher(State, "state", qos=LASTING)
    states.publish_blocking(state(1, name="robot one", shape=Circle(radius=0.5)))
    states.publish_blocking(state(2, name="red\\x1b[31m", shape=Square(side=float("inf"))))
    points = node.create_publisher(Point, "point", qos=LASTING)
    points.publish_blocking(Point(x=0.3, y=-1.0))
    from lunar.messages.structured import StructuredType
    StructuredType.encoder = lambda self: None  # buffers travel as they are
    wrong = node.create_publisher(Circle, "wrong", qos=LASTING)
    wrong.publish_blocking(b"no circle")
    wrong.publish_blocking(lunar.messages.encode(Circle(radius=2.0)))
    print("ready", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def shop() -> Iterator[None]:
    command = [sys.executable, "-c", SHOP]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        yield
        process.communicate(timeout=TIMEOUT_S)


@pytest.fixture
def start() -> Iterator[Start]:
    """``start(*arguments)``: a running command, which does not outlive the test."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen([*LUNAR, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        processes.append(process)
        return process

    yield start
    for process in processes:
        if process.poll() is None:
            process.kill()
        process.communicate()


def run(*arguments: str, code: int = 0, **environment: str) -> "subprocess.CompletedProcess[str]":
    """Runs a command to its end, which must be with that exit code."""
    done = subprocess.run(
        [*LUNAR, *arguments],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        env=os.environ | environment,
        check=False,
    )
    assert "Traceback" not in done.stderr
    assert done.returncode == code, done.stderr
    return done


def until(condition: Callable[[], bool]) -> None:
    """Looks until something is so that no event announces."""
    deadline_s = time.monotonic() + TIMEOUT_S
    while not condition():
        assert time.monotonic() < deadline_s
        os.sched_yield()


# ---- echo ------------------------------------------------------------------------------------------------------

FIRST_STATE = """\
number: 1
place:
  x: 0.1
  y: 2.0
mode: DRIVING
name: robot one
cells: [{cells}, ...]  # 100 in all
matrix:
- [0.0, 1.0, 2.0]
- [3.0, 4.0, 5.0]
path:
- x: 1.0
  y: 0.0
- x: 2.0
  y: 0.5
shape_type: Circle
shape:
  radius: 0.5
extra: null
---
"""


@pytest.mark.usefixtures("shop")
def test_echo_prints_a_type_that_it_has_never_seen() -> None:
    shown = run("topic", "echo", "state", "--count", "1").stdout
    assert shown == FIRST_STATE.format(cells=", ".join(f"{number}.0" for number in range(64)))
    whole = run("topic", "echo", "state", "--count", "2", "--full").stdout
    assert whole.count(", 98.0, 99.0]\n") == 2
    assert 'name: "red\\u001b[31m"\n' in whole


@pytest.mark.usefixtures("shop")
def test_echo_prints_a_struct_that_travels_alone() -> None:
    assert run("topic", "echo", "point", "--count", "1").stdout == "x: 0.3\ny: -1.0\n---\n"
    (line,) = run("topic", "echo", "point", "--count", "1", "--json").stdout.splitlines()
    assert json.loads(line)["type"] == "shop.Point"


@pytest.mark.usefixtures("shop")
def test_echo_prints_typed_messages_as_json_lines() -> None:
    first, second = map(json.loads, run("topic", "echo", "state", "--count", "2", "--json").stdout.splitlines())
    data = first.pop("data")
    assert list(data) == ["number", "place", "mode", "name", "cells", "matrix", "path", "shape_type", "shape"]
    assert data["place"] == {"x": pytest.approx(0.1), "y": 2.0}
    assert data["cells"] == [float(number) for number in range(100)]
    assert (data["mode"], data["shape_type"], data["shape"]) == ("DRIVING", "Circle", {"radius": 0.5})
    assert list(first) == [
        "topic", "sequence_number", "source_time_ns", "reception_time_ns", "publisher_id", "size_bytes", "encoding",
        "type",
    ]  # fmt: skip
    assert (first["topic"], first["sequence_number"], first["encoding"]) == ("/state", 1, "fields")
    assert (second["data"]["name"], second["data"]["shape"]) == ("red\x1b[31m", {"side": "Infinity"})


@pytest.mark.usefixtures("shop")
def test_echo_prints_single_fields() -> None:
    def echo(*fields: str) -> str:
        return run("topic", "echo", "state", "--count", "2", *(f"--field={field}" for field in fields)).stdout

    assert echo("place.x") == "0.1\n0.1\n"
    assert echo("shape.radius") == "0.5\nnull\n"
    assert echo("path[-1]") == "x: 2.0\ny: 0.5\n---\n" * 2
    assert echo("cells[3]", "extra") == "cells[3]: 3.0\nextra: null\n---\n" * 2
    lines = run("topic", "echo", "state", "-n", "1", "--json", "-f", "matrix", "-f", "mode", "-f", "matrix[4]").stdout
    assert json.loads(lines)["data"] == {"matrix": [0, 1, 2, 3, 4, 5], "mode": "DRIVING", "matrix[4]": 4}


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("pose", "shop.State has no field pose; it has number, place, mode"),
        ("place.z", "place has no field z; it has x, y"),
        ("number.x", "number has no fields"),
        ("number[0]", "number is no sequence"),
        ("place..x", "'place..x' is no path"),
        ("", "empty"),
    ],
)
def test_echo_says_which_fields_there_are(path: str, reason: str) -> None:
    done = run("topic", "echo", "state", "--field", path, code=2)
    assert (done.stdout, reason in done.stderr) == ("", True)


@pytest.mark.usefixtures("shop")
def test_echo_prints_tables() -> None:
    done = run("topic", "echo", "state", "--count", "2", "--csv")
    header, *rows = csv.reader(done.stdout.splitlines())
    assert header == ["number", "place.x", "place.y", "mode", "name", *(f"matrix[{i}]" for i in range(6)), "extra"]
    assert rows[0] == ["1", "0.1", "2.0", "DRIVING", "robot one", "0.0", "1.0", "2.0", "3.0", "4.0", "5.0", ""]
    assert rows[1][4] == "red\\u001b[31m"
    assert "no columns for cells, path, shape" in done.stderr
    chosen = run("topic", "echo", "state", "-n", "1", "--csv", "-v", "-f", "place", "-f", "cells[7]", "-f", "path[1].y")
    header, row = csv.reader(chosen.stdout.splitlines())
    assert header == ["sequence_number", "source_time_ns", "place.x", "place.y", "cells[7]", "path[1].y"]
    assert (row[0], row[2:]) == ("1", ["0.1", "2.0", "7.0", "0.5"])
    assert "cells[0]" in run("topic", "echo", "state", "--csv", "--field", "cells", code=2).stderr


@pytest.mark.usefixtures("shop")
def test_echo_reports_what_is_not_of_its_type_and_goes_on() -> None:
    done = run("topic", "echo", "wrong", "--count", "1")
    assert done.stdout == "radius: 2.0\n---\n"
    assert "error: message 1 of publisher" in done.stderr
    assert "is no shop.Circle: " in done.stderr


@pytest.mark.usefixtures("shop")
def test_echo_writes_the_flatbuffers_themselves() -> None:
    done = subprocess.run(
        [*LUNAR, "topic", "echo", "wrong", "--raw", "-n", "2"], capture_output=True, timeout=TIMEOUT_S, check=True
    )
    assert done.stdout.startswith(b"no circle")


def test_bytes_have_no_fields() -> None:
    with lunar.Node("talker") as node:
        node.create_publisher(bytes, "chatter")
        assert "have no fields" in run("topic", "echo", "chatter", "--field", "x", code=2).stderr
        assert "have no fields" in run("topic", "echo", "chatter", "--csv", code=2).stderr


def is_waiting() -> bool:
    return any(node.name.startswith("_lunar_") for node in lunar.graph_snapshot().nodes)


def test_echo_waits_for_a_publisher_and_takes_its_type(start: Start) -> None:
    from lunar.msgs import Vector3

    echo = start("topic", "echo", "wind", "--count", "1")
    until(is_waiting)
    with lunar.Node("weather") as node:
        publisher = node.create_publisher(Vector3, "wind")
        publisher.wait_for_subscribers_blocking(1, timeout_s=TIMEOUT_S)
        publisher.publish_blocking(Vector3(x=1.5))
        out, err = echo.communicate(timeout=TIMEOUT_S)
    assert (echo.returncode, out) == (0, "x: 1.5\ny: 0.0\nz: 0.0\n---\n")
    assert "nobody publishes on /wind yet" in err
    assert "mismatch" not in err


@pytest.mark.usefixtures("shop")
@pytest.mark.parametrize("options", [[], ["--csv"], ["--json"]], ids=" ".join)
def test_ctrl_c_ends_an_echo_of_typed_messages(options: list[str], start: Start) -> None:
    echo = start("topic", "echo", "state", *options)
    assert echo.stdout is not None
    assert echo.stdout.readline()
    echo.send_signal(signal.SIGINT)
    _, err = echo.communicate(timeout=TIMEOUT_S)
    assert echo.returncode == 130
    assert "Traceback" not in err


@pytest.mark.parametrize("command", ["echo", "hz", "bw"])
def test_ctrl_c_ends_who_waits_for_a_publisher(command: str, start: Start) -> None:
    waiting = start("topic", command, "wind")
    until(is_waiting)
    waiting.send_signal(signal.SIGINT)
    _, err = waiting.communicate(timeout=TIMEOUT_S)
    assert waiting.returncode == 130
    assert "Traceback" not in err


def test_echo_gives_up_when_nobody_publishes() -> None:
    assert "no message within 0.3 s" in run("topic", "echo", "wind", "--timeout", "0.3", code=1).stderr


@pytest.mark.usefixtures("shop")
def test_typed_messages_are_counted(start: Start) -> None:
    from lunar.msgs import Vector3

    with lunar.Node("weather") as node:
        publisher = node.create_publisher(Vector3, "wind")
        for quantity in ("hz", "bw"):
            meter = start("topic", quantity, "wind", "--json", "--qos-depth", "10")
            count = publisher.statistics().published
            publisher.wait_for_subscribers_blocking(1, timeout_s=TIMEOUT_S)
            for _ in range(5):
                publisher.publish_blocking(Vector3(x=1.0))
            until(lambda: all(match.queued == 0 for match in publisher.statistics().matches))
            meter.send_signal(signal.SIGINT)
            out, _ = meter.communicate(timeout=TIMEOUT_S)
            assert json.loads(out.splitlines()[-1])["received"] == publisher.statistics().published - count == 5
            until(lambda: publisher.subscriber_count == 0)


# ---- pub -------------------------------------------------------------------------------------------------------


def test_pub_takes_the_type_of_the_topic() -> None:
    from lunar.msgs import Twist

    with lunar.Node("robot") as node:
        subscription = node.create_subscription(Twist, "cmd_vel", qos=lunar.QoS(depth=100))
        for data in ("{linear: {x: 1.5}}", '{"linear": {"x": 1.5}}'):
            outcome = json.loads(run("topic", "pub", "cmd_vel", data, "--json").stdout)
            assert (outcome["type"], outcome["published"]) == ("geometry_msgs.Twist", 1)
            received = subscription.receive_blocking(timeout_s=TIMEOUT_S)
            assert (received.linear.x, received.angular.z) == (1.5, 0.0)
        refused = run("topic", "pub", "cmd_vel", "{linear: {x: fast}}", code=2)
        assert "error: geometry_msgs.Vector3.x: expected float64, got str 'fast'" in refused.stderr
        unknown = run("topic", "pub", "cmd_vel", "{linar: {}}", code=2)
        assert "geometry_msgs.Twist.linar: expected one of its fields: linear, angular" in unknown.stderr
        assert subscription.statistics().received == 2


@pytest.mark.usefixtures("shop")
def test_pub_makes_messages_of_a_type_that_it_has_never_seen(start: Start) -> None:
    echo = start(
        "topic", "echo", "state", "--count", "3", "--json", "--qos-durability", "volatile", "-f", "shape", "-f", "mode"
    )
    until(lambda: any(end.node_name.startswith("/_lunar_echo") for end in lunar.graph_snapshot().endpoints))
    data = (
        "{place: {x: 1}, mode: IDLE, path: [{x: 1}], matrix: [1, 2, 3, 4, 5, 6], shape_type: Square, shape: {side: 2}}"
    )
    run("topic", "pub", "state", data, "--count", "3", "--rate", "0")
    out, _ = echo.communicate(timeout=TIMEOUT_S)
    assert [json.loads(line)["data"] for line in out.splitlines()] == [{"shape": {"side": 2.0}, "mode": "IDLE"}] * 3


SCHEMA = """
namespace robot;
struct Pose { x: float32; y: float32; }
table State { pose: Pose; name: string; }
table Other { state: State; }
"""


@pytest.mark.parametrize("name", ["robot.State", "State"])
def test_pub_reads_the_type_from_a_schema_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "robot.fbs"
    path.write_text(SCHEMA)
    state = cast("type[lunar.messages.Message]", lunar.messages.load(path)["robot.State"])
    with lunar.Node("robot") as node:
        subscription = node.create_subscription(state, "state")
        run("topic", "pub", "state", "{pose: {x: 1}, name: r 1}", "--type", f"{path}:{name}")
        received = subscription.receive_blocking(timeout_s=TIMEOUT_S)
        assert lunar.messages.to_dict(received) == {"pose": {"x": 1.0, "y": 0.0}, "name": "r 1"}


def test_pub_publishes_bytes_where_nothing_else_is_known() -> None:
    with lunar.Node("robot") as node:
        publisher = run("topic", "pub", "state", "{x: 1}", "-w", "0")
        assert "nobody is on /state yet, so this is published as text" in publisher.stderr
        subscription = node.create_subscription(bytes, "state")
        run("topic", "pub", "state", "{x: 1}", "--type", "bytes")
        assert bytes(subscription.receive_blocking(timeout_s=TIMEOUT_S)) == b"{x: 1}"


def test_pub_asks_where_there_are_several_types() -> None:
    from lunar.msgs import Twist, Vector3

    with lunar.Node("robot") as node:
        node.create_subscription(Twist, "state")
        node.create_subscription(Vector3, "state")
        refused = run("topic", "pub", "state", "{x: 1}", code=1)
        assert "several types on /state: geometry_msgs.Twist, geometry_msgs.Vector3; say which" in refused.stderr
        run("topic", "pub", "state", "{x: 1}", "--type", "Vector3")


# ---- info and interface ----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("shop")
def test_info_shows_the_type_and_its_fields() -> None:
    (interface,) = json.loads(run("topic", "info", "state", "--json").stdout)["interfaces"]
    assert interface["name"] == "shop.State"
    assert interface["fields"][:2] == [{"name": "number", "type": "int64"}, {"name": "place", "type": "shop.Point"}]
    assert f"type shop.State, hash {interface['hash']}\n1 publisher" in run("topic", "info", "state").stdout
    shown = run("topic", "info", "state", "-v").stdout
    assert (
        "\n  number: int64\n  place: shop.Point\n    x: float32\n    y: float32\n  mode: Mode (IDLE, DRIVING)\n"
        in shown
    )
    assert "\n  matrix: [float64] of shape 2 x 3\n" in shown
    assert "\n  shape: shop.StateShape (Circle, Square)\n  extra: int32, optional\n" in shown


def test_info_knows_which_versions_of_a_type_match() -> None:
    def version(fields: str) -> type:
        scope: dict[str, type] = {}
        exec(f"import lunar\n@lunar.message(name='robot.State')\nclass State:\n{fields}", scope)
        return scope["State"]

    with lunar.Node("robot") as node:
        node.create_publisher(version("    x: float\n"), "state")
        node.create_subscription(version("    x: float\n    y: float = 0.0\n"), "state")
        assert json.loads(run("topic", "info", "state", "--json").stdout)["mismatches"] == []
        node.create_subscription(version("    x: int\n"), "state")
        (mismatch,) = json.loads(run("topic", "info", "state", "--json").stdout)["mismatches"]
        assert "robot.State.x: type changed: ours float64, theirs int64" in mismatch


@pytest.mark.usefixtures("shop")
def test_interfaces_are_listed() -> None:
    everything = json.loads(run("interface", "list", "--json").stdout)
    assert {(each["name"], each["kind"], each["origin"]) for each in everything} >= {
        ("geometry_msgs.Twist", "struct", "lunar.msgs"),
        ("sensor_msgs.Imu", "table", "lunar.msgs"),
        ("shop.Point", "struct", "/point"),
        ("shop.State", "table", "/state"),
    }
    lines = run("interface", "list", "shop").stdout.splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["shop.Circle", "table", "/wrong"],
        ["shop.Point", "struct", "/point"],
        ["shop.State", "table", "/state"],
    ]
    assert run("interface", "list", "geometry_msgs/msg/Tw*").stdout.count("geometry_msgs.Twist") > 1
    assert "no type is like nonsense" in run("interface", "list", "nonsense", code=1).stderr


@pytest.mark.usefixtures("shop")
def test_a_type_of_the_graph_becomes_a_schema_that_means_the_same(tmp_path: Path) -> None:
    path = tmp_path / "shop.fbs"
    run("interface", "export", "/state", "--output", str(path))
    assert path.read_text() == run("interface", "show", "shop.State").stdout
    shown = json.loads(run("interface", "show", f"{path}", "--json").stdout)
    (interface,) = json.loads(run("topic", "info", "state", "--json").stdout)["interfaces"]
    assert (shown["name"], shown["hash"]) == ("shop.State", interface["hash"])
    assert "are the same" in run("interface", "check", str(path), "/state").stdout


def test_a_type_is_exported_in_every_form(tmp_path: Path) -> None:
    assert "struct Twist {" in run("interface", "export", "Twist").stdout
    document = json.loads(run("interface", "export", "geometry_msgs/msg/Twist", "--format", "json").stdout)
    assert document["root"] == "geometry_msgs.TwistMessage"
    stub = run("interface", "export", "sensor_msgs.Imu", "--format", "pyi").stdout
    compile(stub, "Imu.pyi", "exec")
    assert "class Imu(Message):" in stub
    assert "class Image(Message):" not in stub
    outcome = json.loads(run("interface", "export", "Imu", "--json", "-o", str(tmp_path / "imu.fbs")).stdout)
    assert (outcome["name"], outcome["path"]) == ("sensor_msgs.Imu", str(tmp_path / "imu.fbs"))
    assert "cannot be written" in run("interface", "export", "Imu", "-o", str(tmp_path), code=1).stderr


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("Twst", "no type Twst in lunar.msgs or on the graph; did you mean geometry_msgs.Twist?"),
        ("/nowhere", "no one type on /nowhere: nobody publishes or subscribes it"),
        ("nowhere.fbs", "nowhere.fbs cannot be read: No such file"),
        ("{path}:Nothing", "defines no type Nothing: it has "),
    ],
)
def test_what_is_no_type_is_said(name: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "robot.fbs"
    path.write_text(SCHEMA)
    assert reason in run("interface", "show", name.format(path=path), code=1).stderr


def test_versions_are_checked(tmp_path: Path) -> None:
    old, new, grown = (tmp_path / f"{name}.fbs" for name in ("old", "new", "grown"))
    old.write_text(SCHEMA)
    new.write_text(SCHEMA.replace("x: float32", "x: int32"))
    grown.write_text(SCHEMA.replace("name: string;", "name: string; speed: float64;"))
    assert "are the same" in run("interface", "check", str(old), str(old)).stdout
    assert "no errors in 3 types" in run("interface", "check", str(old)).stdout
    compatible = run("interface", "check", f"{old}:State", f"{grown}:State").stdout
    assert "compatible    robot.State.speed: field only in one version: nothing -> float64\n" in compatible
    refused = run("interface", "check", str(old), str(new), code=1).stdout
    assert "incompatible  robot.Other.state.pose.x: type changed: float32 -> int32\n" in refused
    document = json.loads(run("interface", "check", str(old), str(new), "--json", code=1).stdout)
    assert (document["compatible"], document["types"]) == (False, ["robot.Other"])
    assert document["differences"] == [
        {"path": "robot.Other.state.pose.x", "what": "type changed", "old": "float32", "new": "int32", "breaking": True}
    ]
    assert "name of the type changed" in run("interface", "check", "Twist", "Vector3", code=1).stdout


def test_a_schema_in_error_has_flatcs_words_and_place(tmp_path: Path) -> None:
    path = tmp_path / "wrong.fbs"
    path.write_text("table State {\n  x: speed;\n}\n")
    refused = run("interface", "check", str(path), code=1).stderr
    assert f"error: {path}:2: " in refused
    assert "speed" in refused


# ---- completion ------------------------------------------------------------------------------------------------


def complete(words: str, folder: Path) -> list[str]:
    """What bash is offered when the user presses Tab at the end of these words."""
    environment = {
        "_LUNAR_COMPLETE": "complete_bash",
        "COMP_WORDS": words,
        "COMP_CWORD": str(len(words.split(" ")) - 1),
    }
    done = subprocess.run(
        LUNAR, capture_output=True, text=True, timeout=TIMEOUT_S, env=os.environ | environment, cwd=folder, check=False
    )
    return done.stdout.split()


@pytest.mark.usefixtures("shop")
def test_types_are_completed(tmp_path: Path) -> None:
    (tmp_path / "robot.fbs").write_text(SCHEMA)
    assert complete("lunar interface show geometry_msgs.Twist", tmp_path)[0] == "geometry_msgs.Twist"
    assert "Twist" in complete("lunar interface export Tw", tmp_path)
    assert complete("lunar interface check shop.", tmp_path) == ["shop.Circle", "shop.Point", "shop.State"]
    assert complete("lunar topic pub x y --type rob", tmp_path) == ["robot.fbs"]
    assert complete("lunar topic echo st", tmp_path) == ["state"]
    assert complete("lunar inter", tmp_path) == ["interface"]
