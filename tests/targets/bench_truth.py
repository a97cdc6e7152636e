"""The oracle's families of short functions, which write down when each of them was on top.

usage: bench_truth.py LOOPS [--log FILE] [--count FILE]

Every name carries the number of its family, and functions call only their own: a stack with two
numbers in it never was one. LOOPS is the length of a loop inside each function.

--log: FILE, mapped, becomes a ring of marks, 8 bytes each: CLOCK_MONOTONIC in ns << 8 | number of
the function that was on top at that time. A function marks its beginning and end, and the moments
before and after each of its calls, so that between two marks only the two functions that wrote
them can have been on top. Layout: "TRUTHLOG", u64 count of marks in the ring, u64 count of names,
then names of 32 bytes, "file:function", from number 1 on; the ring begins at 16384.
--count: FILE, mapped, is 8 bytes: how many calls of the families have been made.

Prints "ready" and runs until it is killed."""
import argparse
import mmap
import random
import struct
import time

HEAD, MARKS = 16384, 1 << 22

# MARK stands alone in its line and says that this function is on top now.
FAMILY = """
def f{k}_leaf(n):
    MARK
    for _ in range(LOOPS): n += 1
    MARK
    return n

def f{k}_left(n):
    MARK
    n = f{k}_leaf(n)
    MARK
    return n + 1

def f{k}_right(n):
    MARK
    for _ in range(LOOPS): n -= 1
    MARK
    n = f{k}_left(n)
    MARK
    return n

def f{k}_deep(n, depth):
    MARK
    n = f{k}_deep(n, depth - 1) if depth else f{k}_leaf(n)
    MARK
    return n

def f{k}_numbers(n):
    MARK
    for i in range(3):
        value = f{k}_leaf(i)
        MARK
        yield value
        MARK
        for _ in range(LOOPS): n += 1
        MARK
    yield from f{k}_others(n)
    MARK

def f{k}_others(n):
    MARK
    value = f{k}_left(n)
    MARK
    yield value
    MARK
    yield n
    MARK

def f{k}_sum(n):
    MARK
    total = 0
    for value in f{k}_numbers(n):
        MARK
        total += value
        MARK
    MARK
    return total

class F{k}:
    def __init__(self, n):
        MARK
        self.f{k}_value = f{k}_left(n)
        MARK

    def f{k}_method(self):
        MARK
        n = f{k}_right(self.f{k}_value)
        MARK
        return n

def f{k}_entry(n):
    MARK
    if n & 1:
        total = f{k}_sum(n)
        MARK
        n = total + f{k}_deep(n, {k})
    elif n & 2:
        value = F{k}(n)
        MARK
        value = value.f{k}_method()
        MARK
        n = value + max([n], key=f{k}_left)
    else:
        n = f{k}_right(n)
    MARK
    return n
"""

MAIN = """
def main():
    rounds = 0
    while True:
        for entry, n in order:
            MARK
            entry(n)
            MARK
        rounds += 1
        counter[0] = rounds * len(order)
"""

names = []


def build(source, file, namespace, marked):
    """The source as a module of its own; marks are written out in place, a call would be a frame."""
    lines, number = [], 0
    for line in source.splitlines():
        text = line.lstrip()
        indent = line[:len(line) - len(text)]
        if text.startswith("def "):
            names.append("%s:%s" % (file, text[4:text.index("(")]))
            number = len(names)
            lines.append(line)
            if marked:
                lines.append(indent + "    global at")
        elif text != "MARK":
            lines.append(line)
        elif marked:
            lines.append("%slog[at & %d] = clock() << 8 | %d; at += 1" % (indent, MARKS - 1, number))
    exec(compile("\n".join(lines), file, "exec"), namespace)


def mapped(path, size):
    with open(path, "w+b") as f:
        f.truncate(size)
        return mmap.mmap(f.fileno(), size)


parser = argparse.ArgumentParser()
parser.add_argument("loops", type=int)
parser.add_argument("--log")
parser.add_argument("--count")
arguments = parser.parse_args()

choose = random.Random(3)
namespace = {"LOOPS": arguments.loops, "at": 0, "clock": time.perf_counter_ns}
for family in range(8):
    build(FAMILY.format(k=family), "family%d.py" % family, namespace, arguments.log)
entries = [namespace["f%d_entry" % family] for family in range(8)]
namespace["order"] = [(entries[choose.randrange(8)], choose.randrange(8)) for _ in range(256)]
build(MAIN, "bench_truth.py", namespace, arguments.log)
if arguments.log:
    memory = mapped(arguments.log, HEAD + 8 * MARKS)
    memory[8:24] = struct.pack("<QQ", MARKS, len(names))
    for number, name in enumerate(names):
        memory[24 + 32 * number:24 + 32 * number + len(name)] = name.encode()
    memory[:8] = b"TRUTHLOG"
    namespace["log"] = memoryview(memory)[HEAD:].cast("Q")
namespace["counter"] = (memoryview(mapped(arguments.count, 8)).cast("Q") if arguments.count
                        else [0])
print("ready", flush=True)
namespace["main"]()
