"""interpreter_shares.py KIND: a thread that works in two interpreters for known CPU times: in the main one,
which calls the other, which computes, hashes (without the GIL) and sleeps. The other is of a KIND:
isolated (has a GIL of its own, from 3.12 on) or legacy. Prints "ready", and for each line
on stdin one with CLOCK_MONOTONIC, the CPU time of the process, and when its round began last, in ns.
"""
import sys
import threading
import time

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

# A round is 90 ms of CPU time in outer_computes(), then 100 in inner_computes() and 80 in
# inner_hashes().
CODE = """
import hashlib, time
block = bytes(1 << 15)

def spend(ms, what):
    end = time.thread_time_ns() + ms * 1000000
    while time.thread_time_ns() < end:
        what()

def add():
    sum(i * i for i in range(1000))

def inner_computes():
    spend(5, add)

def inner_hashes():
    spend(4, lambda: hashlib.sha256(block))

def inner_sleeps():
    time.sleep(0.004)

def outer_computes():
    spend(90, add)

def inner():
    end = time.thread_time_ns() + 180000000
    while time.thread_time_ns() < end:
        inner_computes()
        inner_hashes()
        inner_sleeps()
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
    names = {}
    exec(CODE, names)
    interpreters.run_string(other, CODE)
    while True:
        rounds.append(time.monotonic_ns())
        names["outer_computes"]()
        interpreters.run_string(other, "inner()")


rounds = []
threading.Thread(target=work, daemon=True).start()
while not rounds:
    time.sleep(0.01)
print("ready", flush=True)
for _ in sys.stdin:
    print(time.monotonic_ns(), time.process_time_ns(), rounds[-1], flush=True)
