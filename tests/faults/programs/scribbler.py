"""Writes to shared memory from a process of its own, as fast as it can, for ever: values in turn, at one place each.

Arguments: a descriptor, the memory's size, and for each word its offset and the values to write there, as
`OFFSET:VALUE,VALUE`; words are of 8 bytes.
"""

import mmap
import sys


def main() -> None:
    memory = memoryview(mmap.mmap(int(sys.argv[1]), int(sys.argv[2]) & ~7)).cast("Q")
    words = [argument.split(":") for argument in sys.argv[3:]]
    turns = [
        (int(offset) // 8, int(value))
        for values in zip(*(text.split(",") for _, text in words), strict=True)
        for (offset, _), value in zip(words, values, strict=True)
    ]
    print("scribbling", flush=True)
    turns *= 100
    while True:
        for place, value in turns:
            memory[place] = value


main()
