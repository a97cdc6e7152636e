"""Greenlets that switch to each other all the time, each at the end of a chain of functions f0, f1,
f2, ... that grows and shrinks. Says "ready"."""
import itertools
import sys

import greenlet

DEPTH = 12
functions = []


class Busy(greenlet.greenlet):
    pass


def make(number):
    space = {}
    exec(f"def f{number}(depth, away, functions):\n"
         f"    away()\n"
         f"    if depth:\n"
         f"        functions[{number + 1}](depth - 1, away, functions)\n"
         f"        away()\n", space)
    return space[f"f{number}"]


def work(number):
    away = greenlet.getcurrent().parent.switch
    for depth in itertools.cycle(range(number % 5, DEPTH)):
        functions[0](depth, away, functions)


def main():
    functions.extend(make(i) for i in range(DEPTH + 1))
    busy = [Busy(work) for _ in range(20)]
    for number, g in enumerate(busy):
        g.switch(number)
    print("ready", flush=True)
    while True:
        for g in busy:
            g.switch()


main()
