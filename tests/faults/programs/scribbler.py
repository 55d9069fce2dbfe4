"""Writes to shared memory from a process of its own, as fast as it can, until its parent dies: values in turn.

Arguments: a descriptor, the memory's size, and for each word its offset and the values to write there, as
`OFFSET:VALUE,VALUE`; words are of 8 bytes. `OFFSET:VALUE+` counts up from the value, in step with the other words.
"""

import itertools
import mmap
import os
import sys

PARENT = os.getppid()


def main() -> None:
    memory = memoryview(mmap.mmap(int(sys.argv[1]), int(sys.argv[2]) & ~7)).cast("Q")
    words = [argument.split(":") for argument in sys.argv[3:]]
    if all(text.endswith("+") for _, text in words):
        count(memory, [(int(offset) // 8, int(text[:-1])) for offset, text in words])
    turns = [
        (int(offset) // 8, int(value))
        for values in zip(*(text.split(",") for _, text in words), strict=True)
        for (offset, _), value in zip(words, values, strict=True)
    ]
    turns *= 100
    print("scribbling", flush=True)
    while os.getppid() == PARENT:
        for place, value in turns:
            memory[place] = value


def count(memory: memoryview, words: list[tuple[int, int]]) -> None:
    print("scribbling", flush=True)
    for step in itertools.count():
        if step % 1000 == 0 and os.getppid() != PARENT:
            return
        for place, start in words:
            memory[place] = start + step


main()
