"""A loop that never rests, and tasks whose waits are known. Beside tasks that always have something to
do (turns by sleep(0), a handoff by a queue, children that are made and end all the while) there are
waiters: each sleeps, waits for a lock, for an item of a queue and for a child in a gather(), and from
3.11 for one in a TaskGroup, in turn and for times of its own, and logs them itself.
Says "ready"; for each line on stdin a JSON object: the clock, and by "TASK FUNCTION" how long each
waited so far, all in seconds. For the busy ones too: function "turn".

usage: waits_truth.py WAITERS BUSY STEP_US [SCALE]    waits are some 20 ms, times SCALE"""
import asyncio
import json
import random
import sys
import threading
import time

waiters, busy, step_us = (int(word) for word in sys.argv[1:4])
scale = float((sys.argv + ["1"])[4])
clock = time.perf_counter
spent = {}  # (task, function): seconds; [since] of a wait that lasts
since = {}


def work():
    until = clock() + step_us / 1e6
    while clock() < until:
        pass


class Wait:
    def __init__(self, task, function):
        self.key = task, function

    def __enter__(self):
        since[self.key] = clock()

    def __exit__(self, *_):
        began = since.pop(self.key)
        spent[self.key] = spent.get(self.key, 0) + clock() - began


async def nap(i, pause):
    await asyncio.sleep(pause)


async def locked(i, pause):
    lock = asyncio.Lock()
    await lock.acquire()
    asyncio.get_running_loop().call_later(pause, lock.release)
    await lock.acquire()


async def take(i, pause):
    queue = asyncio.Queue()
    asyncio.get_running_loop().call_later(pause, queue.put_nowait, 1)
    await queue.get()


async def gathered(i, pause):
    await asyncio.gather(new(child(pause), "child of %d" % i))


async def grouped(i, pause):
    async with asyncio.TaskGroup() as group:
        group.create_task(child(pause), name="child of %d" % i)


async def child(pause):
    await asyncio.sleep(pause)


def new(coroutine, name):
    return asyncio.get_running_loop().create_task(coroutine, name=name)


async def waiter(i):
    name = "waiter %d" % i
    rng = random.Random(i)
    ways = [nap, locked, take, gathered]
    if sys.version_info >= (3, 11):
        ways.append(grouped)
    while True:
        for way in ways:
            pause = rng.uniform(0.01, 0.03) * scale
            with Wait(name, way.__name__):
                await way(i, pause)


async def turn(i):
    name = "busy %d" % i
    while True:
        work()
        with Wait(name, "turn"):
            await asyncio.sleep(0)


async def hand_on(queue, back):
    while True:
        await queue.put(1)
        await back.get()
        work()


async def hand_back(queue, back):
    while True:
        await queue.get()
        work()
        await back.put(1)


async def short_lived(k):
    work()
    await asyncio.sleep(0)


async def breeder():
    k = 0
    while True:
        k += 1
        await new(short_lived(k), "short %d" % k)


async def main():
    tasks = [new(waiter(i), "waiter %d" % i) for i in range(waiters)]
    tasks += [new(turn(i), "busy %d" % i) for i in range(busy)]
    if busy:
        queue, back = asyncio.Queue(), asyncio.Queue()
        tasks += [new(hand_on(queue, back), "handing 0"), new(hand_back(queue, back), "handing 1"),
                  new(breeder(), "breeder")]
    await asyncio.sleep(0.1)
    threading.Thread(target=answer, daemon=True).start()
    await asyncio.wait(tasks)


def answer():
    print("ready", flush=True)
    for _ in sys.stdin:
        now = clock()
        told = dict(spent)
        for key, began in list(since.items()):
            told[key] = told.get(key, 0) + now - began
        print(json.dumps([now, {" ".join(key): v for key, v in told.items()}]), flush=True)


asyncio.run(main())
