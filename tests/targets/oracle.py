"""oracle.py LOOPS: eight families of short functions and generators that call only their own.

Every name carries the number of its family, so a stack with two numbers in it never was one.
LOOPS is the length of a loop inside each function: 0 makes the stacks change as fast as they can.
Prints "ready" and runs until it is killed.
"""
import random
import sys

FAMILY = """
def f{k}_leaf(n):
    for _ in range(LOOPS): n += 1
    return n

def f{k}_left(n):
    return f{k}_leaf(n) + 1

def f{k}_right(n):
    for _ in range(LOOPS): n -= 1
    return f{k}_left(n)

def f{k}_deep(n, depth):
    return f{k}_deep(n, depth - 1) if depth else f{k}_leaf(n)

def f{k}_numbers(n):
    for i in range(3):
        yield f{k}_leaf(i)
        for _ in range(LOOPS): n += 1
    yield from f{k}_others(n)

def f{k}_others(n):
    yield f{k}_left(n)
    yield n

def f{k}_sum(n):
    total = 0
    for value in f{k}_numbers(n):
        total += value
    return total

class F{k}:
    def __init__(self, n):
        self.f{k}_value = f{k}_left(n)

    def f{k}_method(self):
        return f{k}_right(self.f{k}_value)

def f{k}_entry(n):
    if n & 1:
        return f{k}_sum(n) + f{k}_deep(n, {k})
    return F{k}(n).f{k}_method() + max([n], key=f{k}_left) if n & 2 else f{k}_right(n)
"""

namespace = {"LOOPS": int(sys.argv[1])}
for number in range(8):
    source = FAMILY.format(k=number)
    exec(compile(source, "family%d.py" % number, "exec"), namespace)
entries = [namespace["f%d_entry" % number] for number in range(8)]
choose = random.Random(3)
order = [(entries[choose.randrange(8)], choose.randrange(8)) for _ in range(4096)]


def main():
    print("ready", flush=True)
    while True:
        for entry, n in order:
            entry(n)


main()
