"""Threads that sleep in turn below two calls of the same function, each at its own instants.

usage: turns.py THREADS BUSY
Thread "turn-I" began a span of SPAN seconds at START + I * STEP of CLOCK_MONOTONIC, and one after
the other since; in those of even number it sleeps in one place, in the others in the other. BUSY
threads compute meanwhile. Prints "ready START SPAN STEP"."""
import sys
import threading
import time

THREADS, BUSY = int(sys.argv[1]), int(sys.argv[2])
SPAN = 0.25
STEP = 2 * SPAN / THREADS
START = time.monotonic()
threading.stack_size(256 << 10)


def nap(until):
    time.sleep(max(0, until - time.monotonic()))


def under(until):
    a = b = c = d = e = f = g = h = i = j = k = l = m = n = until  # noqa: E741
    nap(until)


def over(begin):
    while True:
        turn = (time.monotonic() - begin) // SPAN
        if turn % 2 == 0:
            under(begin + (turn + 1) * SPAN)  # even
        else:
            under(begin + (turn + 1) * SPAN)  # odd


def compute():
    while True:
        sum(range(100))


for i in range(THREADS):
    threading.Thread(target=over, args=(START + i * STEP,), name=f"turn-{i}", daemon=True).start()
for i in range(BUSY):
    threading.Thread(target=compute, daemon=True).start()
print("ready", START, SPAN, STEP, flush=True)
threading.Event().wait()
