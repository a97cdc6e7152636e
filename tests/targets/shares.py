"""One busy thread whose functions' shares of its time it measures itself.

Prints "ready", and at SIGUSR1 "sums" with the nanoseconds spent in each function so far.
"""
import os
import random
import signal
import time

NAMES = ("often", "sometimes", "seldom")
sums = dict.fromkeys(NAMES, 0)
clock = time.perf_counter_ns


def often(end):
    while clock() < end:
        pass


def sometimes(end):
    while clock() < end:
        pass


def seldom(end):
    while clock() < end:
        pass


def report(number, frame):
    # Not by print: the signal may come while it is at work.
    line = " ".join(["sums", *("%s=%d" % item for item in sums.items())])
    os.write(1, line.encode() + b"\n")


def main():
    choose = random.Random(1)
    # 50, 35 and 15 of 100, in turns of no fixed length, so that no rate falls in step with them.
    parts = ((often, 10), (sometimes, 7), (seldom, 3))
    print("ready", flush=True)
    while True:
        for function, ms in parts:
            start = clock()
            function(start + int(ms * 1e6 * choose.uniform(0.5, 1.5)))
            sums[function.__name__] += clock() - start


signal.signal(signal.SIGUSR1, report)
main()
