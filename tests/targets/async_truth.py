"""Loops that never rest: families of tasks that end and begin all the while, each awaited by one of
its own number, whose functions only call their own number. A stack that mixes numbers, or a task
with another's frames, never was. Says "ready" and the ids of its threads; for each line on stdin
how long each family worked so far, by the clock, as JSON.

usage: async_truth.py THREADS [py]    py: tasks in Python"""
import asyncio
import json
import random
import sys
import threading
import time

SOURCE = """
async def root_{n}():
    k = 0
    while True:
        k += 1
        await new(mid_{n}(k), "mid {n} %d" % k)

async def mid_{n}(k):
    await asyncio.gather(new(leaf_{n}(k), "leaf {n} %d" % k), new(idle_{n}(k), "idle {n} %d" % k))

async def idle_{n}(k):
    await asyncio.sleep(0)

async def leaf_{n}(k):
    for _ in range(3):
        await step_{n}(k)

async def step_{n}(k):
    work_{n}()
    await asyncio.sleep(0)

def work_{n}():
    began = time.perf_counter_ns()
    for _ in range(random.randrange(40, 160) * SHARES[{n} % 3]):
        pass
    spent[{n}] += time.perf_counter_ns() - began
"""
SHARES = [10, 30, 60]
threads = int(sys.argv[1])
spent = [0] * (3 * threads)
Task = asyncio.tasks._PyTask if sys.argv[2:] == ["py"] else asyncio.Task
for n in range(3 * threads):
    exec(SOURCE.format(n=n))


def new(coroutine, name):
    return Task(coroutine, loop=asyncio.get_running_loop(), name=name)


async def main(first):
    tids.append(threading.get_native_id())
    started.release()
    roots = [new(globals()["root_%d" % n](), "root %d" % n) for n in range(first, first + 3)]
    await asyncio.wait(roots)


def answer():
    for _ in range(threads):
        started.acquire()
    print("ready", *tids, flush=True)
    for _ in sys.stdin:
        print(json.dumps(spent), flush=True)


tids = []
started = threading.Semaphore(0)
threading.Thread(target=answer, daemon=True).start()
for i in range(1, threads):
    threading.Thread(target=lambda i=i: asyncio.run(main(3 * i)), daemon=True).start()
asyncio.run(main(0))
