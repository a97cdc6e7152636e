"""Many threads, of which some compute and the others sleep.

usage: bench_threads.py THREADS BUSY
The main thread is one of the busy ones. Prints "ready" when all are there and runs until it is
killed."""
import sys
import threading

THREADS, BUSY = int(sys.argv[1]), int(sys.argv[2])
threading.stack_size(128 << 10)
never = threading.Event()
there = threading.Barrier(THREADS)


def spin(n):
    x = 0
    for i in range(n):
        x += i
    return x


def work():
    while True:
        spin(1000)


def sleep():
    never.wait()


def begin(run):
    there.wait()
    run()


for i in range(1, THREADS):
    threading.Thread(target=begin, args=(work if i < BUSY else sleep,), daemon=True).start()
there.wait()
print("ready", flush=True)
work()
