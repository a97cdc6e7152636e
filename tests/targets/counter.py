"""counter.py FILE: counts its own work in the first eight bytes of FILE. Prints "ready".

The counter of a target that is stopped stands still.
"""
import mmap
import struct
import sys


def step(number):
    total = 0
    for i in range(50):
        total += i * number
    return total


def work(memory):
    number = 0
    while True:
        number += 1
        step(number)
        struct.pack_into("<Q", memory, 0, number)


with open(sys.argv[1], "w+b") as f:
    f.write(bytes(8))
    f.flush()
    memory = mmap.mmap(f.fileno(), 8)
print("ready", flush=True)
work(memory)
