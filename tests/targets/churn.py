"""Threads that start and end all the time: worker -> short_task; the main thread waits for them.

Prints "ready", and ends well after the first line on stdin.
"""
import sys
import threading
import time

over = threading.Event()


def short_task(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


def worker(number):
    short_task(0.0005 * (number % 7))


def churn():
    number = 0
    while not over.is_set():
        threads = [threading.Thread(target=worker, args=(number + n,), name="worker %d" % n)
                   for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        number += 4
    return number


def listen():
    sys.stdin.readline()
    over.set()


threading.Thread(target=listen, name="listener").start()
print("ready", flush=True)
print("started", churn(), flush=True)
