"""Loops that are specialised, and what their instructions are.

Prints "ready"; for each line on stdin, JSON of function: [[line, opcode], ...], plain and as they are
specialised in any of ten looks. One look is not enough: to hand the GIL over, the interpreter takes the
specialised form of the instruction away at which it does so.
"""
import dis
import json
import sys
import threading
import time


class Point:
    def __init__(self, x):
        self.x = x

    def moved(self, by):
        return self.x + by


def numbers(n):
    total = 0
    for i in range(n):
        total = total + i * 2
    return total


def attributes(points):
    total = 0
    for p in points:
        total += p.moved(p.x)
    return total


def texts(words):
    joined = ""
    for word in words:
        if word == "b":
            joined += word
    return len(joined)


FUNCTIONS = (numbers, attributes, texts, Point.moved)


def describe(code):
    kinds = [{}] if sys.version_info < (3, 11) else [{}, {"adaptive": True}]
    lines = {}
    if hasattr(code, "co_positions"):
        for i, position in enumerate(code.co_positions()):
            lines[2 * i] = position[0]
    elif hasattr(code, "co_lines"):
        for start, end, line in code.co_lines():
            lines.update({offset: line for offset in range(start, end, 2)})
    else:
        line = None
        starts = dict(dis.findlinestarts(code))
        for offset in range(0, len(code.co_code), 2):
            line = starts.get(offset, line)
            lines[offset] = line
    return {(lines[i.offset] or -1, i.opcode) for kind in kinds
            for i in dis.get_instructions(code, **kind)}


def report():
    for _ in sys.stdin:
        seen = {f.__qualname__: set() for f in FUNCTIONS}
        for _ in range(10):
            for f in FUNCTIONS:
                seen[f.__qualname__] |= describe(f.__code__)
            time.sleep(0.01)
        print(json.dumps({name: sorted(pairs) for name, pairs in seen.items()}), flush=True)


def main():
    threading.Thread(target=report, daemon=True).start()
    points = [Point(i) for i in range(300)]
    words = ["a", "b"] * 150
    for i in range(200):
        numbers(300), attributes(points), texts(words)
    print("ready", flush=True)
    while True:
        numbers(300), attributes(points), texts(words)


main()
