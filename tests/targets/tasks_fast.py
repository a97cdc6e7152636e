"""A loop whose tasks switch every 20 to 60 microseconds. Task N calls only functions that end in _N,
so a stack that mixes numbers never was. Says "ready"; for each line on stdin how long each task
worked so far and how often it was resumed, as JSON.

usage: tasks_fast.py sleep|heap|eager|nest|queue|nested|gather|group|rename
sleep: tasks that sleep(0); heap: and what is freed leaves holes all over the heap; eager: there too,
tasks that begin, and end, inside of those that make them (3.12+); nest: what runs a loop inside of a
task says that another runs meanwhile; queue: pairs that hand on; nested: coroutines that await coroutines, in a
task awaited by a task that another awaits; gather, group: children of one that awaits them all;
rename: each has two names in turn, and works in a function of that name"""
import asyncio
import json
import sys
import threading
import time

SOURCE = """
def work_{n}(loops):
    began = now()
    for _ in range(loops):
        pass
    spent[{n}] += now() - began
    steps[{n}] += 1

def other_{n}(loops):
    work_{n}(loops)

async def sleeper_{n}(loops):
    while True:
        work_{n}(loops)
        await asyncio.sleep(0)

async def renamer_{n}(loops):
    me = asyncio.current_task()
    while True:
        me.set_name("fast {n} work")
        work_{n}(loops)
        me.set_name("fast {n} other")
        other_{n}(loops)
        await asyncio.sleep(0)

async def hander_{n}(loops, own, others):
    while True:
        await own.get()
        work_{n}(loops)
        others.put_nowait(None)

async def inner_{n}(loops):
    work_{n}(loops)
    await asyncio.sleep(0)

async def outer_{n}(loops):
    while True:
        await inner_{n}(loops)

async def once_{n}(loops):
    work_{n}(loops)

async def maker_{n}(loops):
    while True:
        asyncio.Task(once_{n}(loops), name="fast {n}", eager_start=True,
                     loop=asyncio.get_running_loop())
        await asyncio.sleep(0)

def nested_{n}(loops):
    loop, me, coroutine = asyncio.get_running_loop(), asyncio.current_task(), once_{n}(loops)
    asyncio.tasks._leave_task(loop, me)
    asyncio.tasks._enter_task(loop, another)
    try:
        coroutine.send(None)
    except StopIteration:
        pass
    asyncio.tasks._leave_task(loop, another)
    asyncio.tasks._enter_task(loop, me)

async def nester_{n}(loops):
    while True:
        nested_{n}(loops)
        await new(once_{n}(loops), "fast {n}")

async def awaits_{n}(loops):
    await new(outer_{n}(loops), "fast {n}")
"""
MICROSECONDS = [20, 30, 45, 60]
now = time.perf_counter_ns
spent, steps = [0] * len(MICROSECONDS), [0] * len(MICROSECONDS)
for n in range(len(MICROSECONDS)):
    exec(SOURCE.format(n=n))
fastest = 1 << 60
for _ in range(200):
    spent[0] = 0
    work_0(1000)
    fastest = min(fastest, spent[0])
LOOPS = [n * 1000000 // fastest for n in MICROSECONDS]
spent[0] = steps[0] = 0
kind = sys.argv[1]
another = object()
# Of the size that a small dict's keys have, so that those come to lie in ever other places.
holes = [[None] * 18 for _ in range(20000 if kind in ("heap", "eager", "nest") else 0)]
del holes[::2]


def new(coroutine, name):
    task = asyncio.get_running_loop().create_task(coroutine)
    task.set_name(name)
    return task


def make(family, *more):
    return [globals()[f"{family}_{n}"](loops, *more) for n, loops in enumerate(LOOPS)]


async def main():
    if kind == "queue":
        queues = [asyncio.Queue() for _ in LOOPS]
        for q in queues[::2]:
            q.put_nowait(None)
        coroutines = [globals()[f"hander_{n}"](loops, queues[n], queues[n ^ 1])
                      for n, loops in enumerate(LOOPS)]
    else:
        coroutines = make({"nested": "awaits", "rename": "renamer",
                           "eager": "maker", "nest": "nester"}.get(kind, "sleeper"))
    print("ready", flush=True)
    if kind == "group":
        async with asyncio.TaskGroup() as group:
            for n, coroutine in enumerate(coroutines):
                group.create_task(coroutine, name=f"fast {n}")
    else:
        name = "above" if kind in ("nested", "eager", "nest") else "fast"
        tasks = [new(c, f"{name} {n}") for n, c in enumerate(coroutines)]
        await (asyncio.gather(*tasks) if kind == "gather" else asyncio.wait(tasks))


def answer():
    for _ in sys.stdin:
        print(json.dumps([spent, steps]), flush=True)


threading.Thread(target=answer, daemon=True).start()
asyncio.run(main())
