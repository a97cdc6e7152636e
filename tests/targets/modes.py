"""One busy thread that does, in turns, what the modes tell apart, and measures it itself.

Prints "ready", and at SIGUSR1 "sums" with the nanoseconds of wall and of CPU time spent in each
function so far, as name=wall/cpu.
"""
import gc
import hashlib
import os
import random
import signal
import time

clock = time.perf_counter_ns
cpu_clock = time.thread_time_ns
DATA = b"data" * (1 << 17)
sums = {}


def spin(end):
    while clock() < end:
        pass


def pure(end):
    """Holds the GIL."""
    while clock() < end:
        pass


def hashing(end):
    """Works without the GIL."""
    while clock() < end:
        hashlib.sha256(DATA).digest()


def sleeping(end):
    time.sleep(max(end - clock(), 0) / 1e9)


def handling(end):
    """In an except block, and in what it calls."""
    try:
        raise ValueError
    except ValueError:
        spin(end)


def propagating(end):
    """In a finally block that an exception passes."""
    try:
        try:
            raise ValueError
        finally:
            spin(end)
    except ValueError:
        pass


def handled(end):
    """In the finally block after an except block: nothing is handled any more."""
    try:
        raise ValueError
    except ValueError:
        pass
    finally:
        spin(end)


def undisturbed(end):
    try:
        pass
    finally:
        spin(end)


def generating(end):
    """In a generator, whose own exceptions are another link of the chain; one is handled."""
    def numbers():
        try:
            raise ValueError
        except ValueError:
            while clock() < end:
                yield 1
    for _ in numbers():
        pass


def calm_generating(end):
    def numbers():
        while clock() < end:
            yield 1
    for _ in numbers():
        pass


def collecting(end):
    while clock() < end:
        gc.collect()


PARTS = ((pure, 3), (hashing, 3), (sleeping, 3), (handling, 2), (propagating, 2), (handled, 2),
         (undisturbed, 2), (generating, 2), (calm_generating, 2), (collecting, 2))


def report(number, frame):
    # Not by print: the signal may come while it is at work.
    line = " ".join(["sums"] + ["%s=%d/%d" % (name, *both) for name, both in sums.items()])
    os.write(1, line.encode() + b"\n")


def main():
    choose = random.Random(1)
    garbage = [[i] for i in range(5000)]
    gc.disable()  # only where it is asked for
    for function, _ in PARTS:
        sums[function.__name__] = [0, 0]
    print("ready", flush=True)
    while garbage:
        for function, ms in PARTS:
            start, cpu = clock(), cpu_clock()
            function(start + int(ms * 1e6 * choose.uniform(0.5, 1.5)))
            both = sums[function.__name__]
            both[0] += clock() - start
            both[1] += cpu_clock() - cpu


signal.signal(signal.SIGUSR1, report)
main()
