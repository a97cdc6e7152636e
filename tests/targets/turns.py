"""Threads that sleep in turn below two calls of the same function, each at its own instants.

usage: turns.py THREADS BUSY
Thread "turn-I" begins a span of SPAN seconds I * STEP seconds after the start, and one after the
other since; in those of even number it sleeps in one place, in the others in the other. BUSY threads
compute meanwhile. Prints "ready", and after a line of input a list for each thread of what it did
as JSON: when it came to a place, in seconds of CLOCK_MONOTONIC, the number of its span, and when it
was to come: from then on it waits for its turn."""
import json
import sys
import threading
import time

THREADS, BUSY = int(sys.argv[1]), int(sys.argv[2])
SPAN = 0.25
STEP = 2 * SPAN / THREADS
came = [[] for _ in range(THREADS)]
START = time.monotonic()
threading.stack_size(256 << 10)


def nap(until):
    time.sleep(max(0, until - time.monotonic()))


def under(until):
    a = b = c = d = e = f = g = h = i = j = k = l = m = n = until  # noqa: E741
    nap(until)


def over(begin, places):
    while True:
        now = time.monotonic()
        turn = (now - begin) // SPAN
        places.append((now, turn, begin + turn * SPAN))
        if turn % 2 == 0:
            under(begin + (turn + 1) * SPAN)  # even
        else:
            under(begin + (turn + 1) * SPAN)  # odd


def compute():
    while True:
        sum(range(100))


for i in range(THREADS):
    threading.Thread(target=over, args=(START + i * STEP, came[i]), name=f"turn-{i}",
                     daemon=True).start()
for i in range(BUSY):
    threading.Thread(target=compute, daemon=True).start()
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps(came), flush=True)
