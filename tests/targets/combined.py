"""A bit of everything: tasks that run and wait, exceptions, garbage collection, C code with and without
the GIL, a second thread, a child that does the same. Prints "ready". Ends with its stdin."""
import asyncio
import gc
import hashlib
import os
import sys
import threading
import time

DATA = b"data" * 50000


def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass


async def busy():
    while True:
        try:
            raise ValueError
        except ValueError:
            spin(0.002)
        spin(0.002)
        gc.collect()
        sorted([2, 1], key=lambda n: spin(0.001) or n)
        await asyncio.sleep(0)


async def waiter(seconds):
    while True:
        await asyncio.sleep(seconds)


async def main():
    loop = asyncio.get_running_loop()
    tasks = [loop.create_task(busy()), loop.create_task(waiter(0.01)), loop.create_task(waiter(60))]
    await asyncio.gather(*tasks)


def hashing():
    while True:
        hashlib.sha256(DATA).digest()
        try:
            raise KeyError
        except KeyError:
            hashlib.sha256(DATA).digest()


def end_with(parent):
    while os.getppid() == parent:
        time.sleep(0.1)
    os._exit(0)


def end_with_stdin():
    sys.stdin.read()
    os._exit(0)


first = os.getpid()
child = os.fork()
for target, args in ((hashing, ()), (end_with_stdin, ()) if child else (end_with, (first,))):
    threading.Thread(target=target, args=args, name=target.__name__, daemon=True).start()
if child:
    print("ready", child, flush=True)
asyncio.run(main())
