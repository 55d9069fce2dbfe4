"""The command line as a whole, in this process: what is parsed, and how it ends."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable

import pytest

import lunar
from lunar.cli.main import main
from lunar.errors import ClosedError, ConfigError, LunarError
from lunar.graph.descriptions import NodeInfo

SetGraph = Callable[..., object]

EVERY_COMMAND = [
    ["topic", "list"],
    ["topic", "info"],
    ["topic", "echo"],
    ["topic", "hz"],
    ["topic", "bw"],
    ["topic", "pub"],
    ["node", "list"],
    ["node", "info"],
    ["interface", "list"],
    ["interface", "show"],
    ["interface", "export"],
    ["interface", "check"],
    ["keys", "make"],
    ["keys", "show"],
    ["keys", "allow"],
    ["keys", "list"],
    ["doctor"],
]


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Help texts must not wrap where a test looks."""
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setenv("TERMINAL_WIDTH", "400")


@pytest.mark.parametrize("command", EVERY_COMMAND, ids=" ".join)
def test_every_command_has_help_with_examples_and_json(command: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command, "--help"]) == 0
    text = capsys.readouterr().out
    assert f"lunar {' '.join(command)}" in text.split("Examples", 1)[1]
    assert "--json" in text


def test_paragraphs_of_help_are_not_broken_where_the_source_is(capsys: pytest.CaptureFixture[str]) -> None:
    main(["topic", "hz", "--help"])
    assert "no publisher is slowed; if this command cannot keep up" in capsys.readouterr().out


def test_the_overview_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    commands = ("topic", "node", "interface", "explain", "keys", "doctor", "perf")
    assert [command for command in commands if f" {command} " not in text] == []


def test_the_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"lunar {lunar.__version__}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["topic", "nonsense"],
        ["topic", "info"],
        ["topic", "list", "--nonsense"],
        ["topic", "info", "not a name"],
        ["node", "info", "1st"],
        ["topic", "echo", "chatter", "--raw", "--json"],
        ["topic", "echo", "chatter", "--csv", "--json"],
        ["topic", "echo", "chatter", "--raw", "--field", "x"],
        ["topic", "echo", "chatter", "--count", "0"],
        ["topic", "echo", "chatter", "--qos-depth", "2000000"],
        ["topic", "echo", "chatter", "--qos-reliability", "perhaps"],
        ["topic", "hz", "chatter", "--window", "x"],
        ["topic", "pub", "chatter"],
        ["topic", "pub", "chatter", "text", "--size", "3"],
        ["topic", "pub", "chatter", "--hex", "xyz"],
        ["topic", "pub", "chatter", "--file", "/nonexistent"],
        ["topic", "pub", "chatter", "{x", "--type", "Vector3"],
        ["topic", "pub", "chatter", "x", "--type", "Vector3"],
        ["topic", "pub", "chatter", "{x: a}", "--type", "Vector3"],
        ["topic", "pub", "chatter", "--size", "3", "--type", "Vector3"],
        ["interface", "export", "Twist", "--format", "nonsense"],
    ],
    ids=" ".join,
)
def test_a_wrong_command_line_is_a_usage_error(
    arguments: list[str], set_graph: SetGraph, capsys: pytest.CaptureFixture[str]
) -> None:
    set_graph()
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err
    assert "Traceback" not in captured.err


def test_a_misspelt_command_is_recognized(capsys: pytest.CaptureFixture[str]) -> None:
    main(["topci"])
    assert "topic" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code"),
    [(LunarError("it broke"), 1), (ClosedError("it broke"), 1), (ConfigError("LUNAR_DOMAIN", "it broke", "less"), 2)],
    ids=lambda value: type(value).__name__,
)
def test_foreseen_errors_are_a_sentence(
    error: LunarError, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(**_: object) -> None:
        raise error

    monkeypatch.setattr(lunar, "graph_snapshot", fail, raising=False)
    assert main(["topic", "list"]) == code
    captured = capsys.readouterr()
    assert captured.err.startswith("lunar: error: ")
    assert "it broke" in captured.err
    assert captured.err.count("\n") == 1


def test_an_unforeseen_error_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(**_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(lunar, "graph_snapshot", fail, raising=False)
    with pytest.raises(ZeroDivisionError):
        main(["topic", "list"])


def test_ctrl_c_is_no_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def interrupt(**_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(lunar, "graph_snapshot", interrupt, raising=False)
    assert main(["topic", "list"]) == 130
    captured = capsys.readouterr()
    assert captured.out + captured.err == ""
    assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL


@pytest.mark.parametrize(("ignored", "code"), [(False, -signal.SIGINT), (True, 0)], ids=["foreground", "background"])
def test_ctrl_c_while_it_starts_ends_it_silently(ignored: bool, code: int) -> None:
    """As nothing has begun there is nothing to say; a job that ignores Ctrl-C goes on doing so."""
    program = """
import os, signal, sys
class InterruptedImport:
    def find_spec(name, *_):
        if name == "lunar.cli.command":
            os.kill(os.getpid(), signal.SIGINT)
if sys.argv[1] == "True":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
from lunar.cli.main import main
sys.meta_path.insert(0, InterruptedImport)
sys.exit(main(["--version"]))
"""
    result = subprocess.run(
        [sys.executable, "-c", program, str(ignored)], capture_output=True, text=True, timeout=30, check=False
    )
    assert (result.returncode, result.stderr) == (code, "")


def test_json_of_a_list_is_an_array(set_graph: SetGraph, capsys: pytest.CaptureFixture[str]) -> None:
    set_graph(NodeInfo("talker", "/", 1, 0))
    assert main(["node", "list", "--json"]) == 0
    (node,) = json.loads(capsys.readouterr().out)
    assert set(node) == {
        "name",
        "namespace",
        "full_name",
        "pid",
        "uid",
        "host",
        "host_key",
        "transports",
        "routes",
        "endpoints",
    }


def test_a_list_imports_only_what_it_needs() -> None:
    program = """
import sys
import lunar
from lunar.cli.main import main
from lunar.graph.descriptions import GraphSnapshot
lunar.graph_snapshot = lambda types_of: GraphSnapshot()
main(["topic", "list"])
print(" ".join(sys.modules))
"""
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=True)
    imported = set(result.stdout.split())
    assert "lunar.cli.topic" in imported
    assert imported.isdisjoint({"lunar.cli.perf", "lunar.cli.node", "lunar.cli.doctor", "lunar_perf", "rich.table"})
    assert imported.isdisjoint({"lunar.cli.measure", "lunar.cli.echo", "lunar.cli.publish", "lunar.cli.interface"})
    assert imported.isdisjoint({"lunar.msgs", "lunar.messages.schema", "lunar.messages.plan", "lunar.messages.flatc"})


def test_a_reader_that_has_gone_is_no_error() -> None:
    program = """
import sys, lunar
from lunar.cli.main import main
from lunar.graph.descriptions import GraphSnapshot, NodeInfo
lunar.graph_snapshot = lambda types_of: GraphSnapshot(tuple(NodeInfo(f"n{i}", "/", i, 0) for i in range(1, 20000)))
sys.exit(main(["node", "list"]))
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith("NODE")
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(timeout=30) == 0
