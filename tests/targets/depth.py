"""A stack of a given depth with a busy leaf.

usage: depth.py DEPTH [still|churn|unwind|generators]
still: one leaf computes. churn: the leaf calls short functions all the time. unwind: the whole
stack is left and entered again and again. generators: it is a chain of generators.
Prints "ready" once the stack stands, and on SIGTERM the work done and the CPU time."""
import os
import signal
import sys
import time

DEPTH = int(sys.argv[1])
KIND = sys.argv[2] if len(sys.argv) > 2 else "still"
sys.setrecursionlimit(DEPTH + 1000)
work = 0


def report(*_):
    print("work", work, time.process_time(), flush=True)
    os._exit(0)


def spin(n):
    x = 0
    for i in range(n):
        x += i
    return x


def short(n):
    return n + 1


def still():
    global work
    while True:
        spin(1000)
        work += 1


def churn():
    global work
    while True:
        for i in range(100):
            short(i)
        work += 1


def down(n, leaf):
    if n <= 1:
        return leaf()
    return down(n - 1, leaf)


def chain(n):
    if n <= 1:
        while True:
            yield spin(100)
    yield from chain(n - 1)


signal.signal(signal.SIGTERM, report)
print("ready", flush=True)
if KIND == "unwind":
    while True:
        down(DEPTH - 1, lambda: spin(20))
        work += 1
elif KIND == "generators":
    for _ in chain(DEPTH - 1):
        work += 1
else:
    # <module>, down ..., the leaf loop and what it calls
    down(max(1, DEPTH - 2), {"still": still, "churn": churn}[KIND])
