"""Many threads, of which some compute and the others sleep.

usage: bench_threads.py THREADS BUSY
The main thread is one of the busy ones. Prints "ready" when all are there and runs until it is
killed."""
import sys
import threading

THREADS, BUSY = int(sys.argv[1]), int(sys.argv[2])
threading.stack_size(128 << 10)
never = threading.Event()
asleep = threading.Semaphore(0)


def spin(n):
    x = 0
    for i in range(n):
        x += i
    return x


def work():
    while True:
        spin(1000)


def sleep():
    asleep.release()
    never.wait()


# Beside those who compute it would take them seconds to fall asleep.
for i in range(BUSY, THREADS):
    threading.Thread(target=sleep, daemon=True).start()
    asleep.acquire()
for i in range(1, BUSY):
    threading.Thread(target=work, daemon=True).start()
print("ready", flush=True)
work()
