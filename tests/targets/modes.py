"""One busy thread that does, in turns, what the modes tell apart, and measures it itself.

Prints "ready", and at SIGUSR1 "sums", the time (CLOCK_MONOTONIC), and the nanoseconds of wall and
of CPU time spent in each function so far, as name=wall/cpu.
"""
import gc
import hashlib
import os
import random
import signal
import time

clock = time.monotonic_ns
cpu_clock = time.thread_time_ns
sums = {}
current = [None, 0, 0]  # the turn under way: function, wall and CPU clock at its start


def measure_rounds():
    start = cpu_clock()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 20000)
    return 20000 / (cpu_clock() - start)


rounds_a_ns = measure_rounds()


def spin(end):
    while clock() < end:
        pass


def pure(end):
    """Holds the GIL."""
    while clock() < end:
        pass


def hashing(end):
    """Works without the GIL, in one call."""
    hashlib.pbkdf2_hmac("sha256", b"", b"", max(int((end - clock()) * rounds_a_ns), 1))


def sleeping(end):
    time.sleep(max(end - clock(), 0) / 1e9)


def waking(end):
    """What comes after a sleep is slow: caches are cold, and a virtual CPU has to come back."""
    spin(end)


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


PARTS = ((pure, 16), (hashing, 30), (sleeping, 16), (waking, 4), (handling, 16), (propagating, 16),
         (handled, 16), (undisturbed, 16), (generating, 16), (calm_generating, 16),
         (collecting, 16))


def report(number, frame):
    # Not by print: the signal may come while it is at work. The turn under way counts as far as it is.
    now, cpu_now = clock(), cpu_clock()
    line = ["sums", str(now)]
    for name, (wall, cpu) in sums.items():
        if name == current[0]:
            wall, cpu = wall + now - current[1], cpu + cpu_now - current[2]
        line.append("%s=%d/%d" % (name, wall, cpu))
    os.write(1, " ".join(line).encode() + b"\n")


def main():
    choose = random.Random(1)
    garbage = [[i] for i in range(20000)]
    gc.disable()  # only where it is asked for
    for function, _ in PARTS:
        sums[function.__name__] = [0, 0]
    print("ready", flush=True)
    while garbage:
        for function, ms in PARTS:
            start = clock()
            current[:] = function.__name__, start, cpu_clock()
            function(start + int(ms * 1e6 * choose.uniform(0.5, 1.5)))
            name, start, cpu = current
            current[0] = None
            sums[name][0] += clock() - start
            sums[name][1] += cpu_clock() - cpu


signal.signal(signal.SIGUSR1, report)
main()
