"""`lunar interface check`: whether a schema is without errors, and whether two versions of a type can be mixed."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from lunar.cli import exit_codes
from lunar.cli.output import coloured, write_json, write_line
from lunar.cli.quantities import plural
from lunar.cli.type_lookup import file_types, find_type

if TYPE_CHECKING:
    from lunar.cli.type_lookup import FoundType
    from lunar.messages.evolution import Difference


def check_alone(name: str, *, as_json: bool) -> int:
    """Checks that a schema file or a type can be used.

    Returns:
        The exit code: ok; what is wrong is raised.

    Raises:
        SchemaError: The file is in error: flatc's words, with file and line.
        LunarError: There is no such type.
    """
    found = file_types(name) if name.endswith(".fbs") else [find_type(name)]
    definitions = found[0].schema.definitions
    for each in definitions:
        # A class cannot be made of all that flatc accepts.
        whole = replace(found[0], name=each)
        if whole.is_message:
            whole.message_class()
    if as_json:
        write_json({"ok": True, "types": list(definitions)})
    else:
        write_line(f"{name}: no errors in {plural(len(definitions), 'type')}")
    return exit_codes.OK


def check_versions(old: str, new: str, *, as_json: bool) -> int:
    """Compares two versions of a type, or of all types of two files.

    Returns:
        The exit code: not found if programs with one cannot read what those with the other write.

    Raises:
        SchemaError: A file is in error.
        LunarError: There is no such type.
    """
    pairs = _pairs(old, new)
    found = [difference for before, after in pairs for difference in _differences(before, after)]
    compatible = not any(difference.breaking for difference in found)
    if as_json:
        write_json(
            {
                "compatible": compatible,
                "identical": not found,
                "types": [before.name for before, _ in pairs],
                "differences": [_as_json(difference) for difference in found],
            }
        )
    else:
        for difference in found:
            write_line(_line(difference))
        verdict = "compatible" if compatible else "incompatible"
        count = plural(len(found), "difference")
        write_line(f"{old} and {new} are {'the same' if not found else f'{verdict}: {count}'}")
    return exit_codes.OK if compatible else exit_codes.NOT_FOUND


def _pairs(old: str, new: str) -> list[tuple[FoundType, FoundType]]:
    """What is to be compared with what; a type that only one file has is compared with nothing."""
    if not (old.endswith(".fbs") and new.endswith(".fbs")):
        return [(find_type(old), find_type(new))]
    before, after = file_types(old), file_types(new)
    names = dict.fromkeys([*(each.name for each in before), *(each.name for each in after)])
    return [(replace(before[0], name=name), replace(after[0], name=name)) for name in names]


def _differences(old: FoundType, new: FoundType) -> list[Difference]:
    from lunar.messages.evolution import Difference, differences

    if old.name != new.name:
        return [Difference(old.name, "name of the type changed", old.name, new.name, breaking=True)]
    return differences(old.schema, new.schema, old.name)


def _as_json(difference: Difference) -> dict[str, object]:
    return {
        "path": difference.path,
        "what": difference.what,
        "old": difference.ours,
        "new": difference.theirs,
        "breaking": difference.breaking,
    }


def _line(difference: Difference) -> str:
    verdict = coloured("incompatible", "red") if difference.breaking else coloured("compatible  ", "green")
    return f"{verdict}  {difference.path}: {difference.what}: {difference.ours} -> {difference.theirs}"
