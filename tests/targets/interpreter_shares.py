"""interpreter_shares.py KIND: a thread that works in two interpreters and measures its CPU time: in the
main one, which calls the other, which computes, hashes (without the GIL) and sleeps. The other is of a
KIND: isolated (has a GIL of its own, from 3.12 on) or legacy. Prints "ready", and for each line on
stdin one with, in ns, CLOCK_MONOTONIC, the CPU time of the process, when its round began last, and
the CPU time that each of NAMES had taken by then.
"""
import os
import sys
import threading
import time

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

NAMES = "outer_computes", "inner_computes", "inner_hashes", "inner_sleeps"

# A round is 90 ms of CPU time in outer_computes(), then about 100 in inner_computes() and 80 in
# inner_hashes().
CODE = """
import hashlib, os, time
block = bytes(1 << 14)
clock = time.thread_time_ns
spent = [0, 0, 0, 0]

def spend(name, ms, what):
    start = now = clock()
    while now < start + ms * 1000000:
        what()
        now = clock()
    spent[name] += now - start

def add():
    sum(i * i for i in range(300))

def outer_computes():
    spend(0, 90, add)

def inner_computes():
    spend(1, 5, add)

def inner_hashes():
    spend(2, 4, lambda: hashlib.sha256(block))

def inner_sleeps():
    start = clock()
    time.sleep(0.004)
    spent[3] += clock() - start

def inner(told):
    for i in range(20):
        inner_computes()
        inner_hashes()
        inner_sleeps()
    os.write(told, b"%d %d %d" % tuple(spent[1:]))
"""


def create(kind):
    if sys.version_info >= (3, 13):
        return interpreters.create(kind)
    if sys.version_info >= (3, 9):
        return interpreters.create(isolated=kind == "isolated")
    return interpreters.create()


def work():
    # To 3.12 a thread state has the id of the thread that made it, here the one that runs.
    other = create(sys.argv[1])
    mine, inner = {}, (0, 0, 0)
    hears, told = os.pipe()
    exec(CODE, mine)
    interpreters.run_string(other, CODE)
    while True:
        rounds.append((time.monotonic_ns(), mine["spent"][0], *inner))
        mine["outer_computes"]()
        interpreters.run_string(other, "inner(%d)" % told)
        inner = tuple(map(int, os.read(hears, 100).split()))


rounds = []
threading.Thread(target=work, daemon=True).start()
while not rounds:
    time.sleep(0.01)
print("ready", flush=True)
for _ in sys.stdin:
    print(time.monotonic_ns(), time.process_time_ns(), *rounds[-1], flush=True)
