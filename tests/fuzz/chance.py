"""Random choices of the fuzz tests: from a seed that is printed, and that LUNAR_SEED sets to see a failure again."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any


def seeds(count: int) -> Iterator[tuple[int, random.Random]]:
    """Yields `count` seeds and their random numbers, or only the seed that LUNAR_SEED gives. Prints each."""
    given = os.environ.get("LUNAR_SEED")
    for seed in [int(given)] if given else [random.getrandbits(48) for _ in range(count)]:
        print(f"LUNAR_SEED={seed}")
        yield seed, random.Random(seed)


def lie(chance: random.Random, now: int, bits: int = 64) -> int:
    """A value for a word that is `now`: near to it, near to a bound, or anything."""
    most = (1 << bits) - 1
    near = [now + chance.randrange(1, 3000), now - chance.randrange(1, 3000), now + 1, now - 1]
    far = [0, 1, most, most - chance.randrange(3), 1 << chance.randrange(bits), chance.getrandbits(bits)]
    return chance.choice(near + far) & most


def junk(chance: random.Random, depth: int = 0) -> Any:
    """Any value that JSON knows, and some that it should not."""
    plain = [
        None,
        True,
        False,
        0,
        -1,
        1,
        chance.getrandbits(8),
        1 << chance.choice([31, 32, 63, 64, 128]),
        -(1 << 63),
        10 ** chance.choice([20, 400, 4000]),
        0.5,
        1e308,
        float("nan"),
        float("inf"),
        "",
        "publisher",
        "0" * 32,
        "/" * chance.randrange(300),
        "x" * chance.choice([1, 255, 256, 70_000]),
        "\x00\x1b[2J\ud800\u202e",
        "../../../etc/passwd",
        "%s%n{0}",
    ]
    if depth > 3 or chance.random() < 0.8:
        return chance.choice(plain)
    if chance.random() < 0.5:
        return [junk(chance, depth + 1) for _ in range(chance.randrange(4))]
    return {str(junk(chance, depth + 1))[:20]: junk(chance, depth + 1) for _ in range(chance.randrange(4))}


def spoil(chance: random.Random, value: Any) -> Any:
    """The value with something changed, mostly deep inside: what is wrong at the surface is found out at once."""
    if isinstance(value, dict) and value and chance.random() < 0.95:
        changed = dict(value)
        nested = [key for key, inner in value.items() if isinstance(inner, dict | list) and inner]
        if nested and chance.random() < 0.8:
            key = chance.choice(nested)
            changed[key] = spoil(chance, value[key])
            return changed
        key = chance.choice([key for key in value if key not in ("op", "fds")] or list(value))
        match chance.randrange(4):
            case 0:
                del changed[key]
            case 1:
                changed[str(junk(chance))[:50]] = junk(chance)
            case _:
                changed[key] = spoil(chance, value[key])
        return changed
    if isinstance(value, list) and value and chance.random() < 0.9:
        place = chance.randrange(len(value))
        return [*value[:place], spoil(chance, value[place]), *value[place + 1 :]]
    if isinstance(value, int) and not isinstance(value, bool) and chance.random() < 0.5:
        return lie(chance, value)
    if isinstance(value, str) and value and chance.random() < 0.5:
        place = chance.randrange(len(value))
        return value[:place] + chance.choice(["", "\x00", "A", "/", "~", "é"]) + value[place + 1 :]
    return junk(chance)
