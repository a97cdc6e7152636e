"""asyncio tasks that wait for each other in every way, in two loops in two threads. Says "parked",
then for each line "report" what it sees of its tasks itself, and who is meant to await whom. With
an argument "python" all tasks are of asyncio's class in Python, with "mixed" every other."""
import asyncio
import gc
import itertools
import json
import sys
import threading
import types

NEW = sys.version_info
loops = {}
edges = set()  # (task, awaiter), by name
keep = []
made = itertools.count()


async def park():
    await asyncio.get_running_loop().create_future()


def make(loop, coro, **options):
    python = sys.argv[1] == "python" or next(made) % 2
    return (asyncio.tasks._PyTask if python else asyncio.Task)(coro, loop=loop, **options)


def named(name, coro):
    task = asyncio.get_running_loop().create_task(coro, name=name)
    keep.append(task)  # nothing else does: who waits for ever is garbage
    return task


async def inner(depth):
    if depth:
        await inner(depth - 1)
    else:
        await park()


async def gatherer():
    children = [named(f"gathered {i}", inner(i)) for i in range(3)]
    edges.update((c.get_name(), "gatherer") for c in children)
    await asyncio.gather(*children)


async def nested_gather():
    child = named("doubly gathered", park())
    edges.add(("doubly gathered", "nested gather"))
    await asyncio.gather(asyncio.gather(child))


async def group():
    async with asyncio.TaskGroup() as tg:
        for i in range(2):
            keep.append(tg.create_task(inner(i), name=f"grouped {i}"))
            edges.add((f"grouped {i}", "group"))


async def wait_for_both(tasks, name):
    edges.update((t.get_name(), name) for t in tasks)
    await asyncio.wait(tasks)


async def with_timeout(task):
    edges.add((task.get_name(), "timeout"))
    await asyncio.wait_for(task, 100000)


async def direct(task, name):
    edges.add((task.get_name(), name))
    await task


async def shielder(task):
    edges.add((task.get_name(), "shielder"))
    await asyncio.shield(task)


async def numbers():
    async for n in more_numbers():
        yield n


async def more_numbers():
    yield 1
    await inner(1)
    yield 2


async def reads_numbers():
    async for _ in numbers():
        pass


async def sends():
    gen = more_numbers()
    keep.append(gen)
    await gen.asend(None)
    await gen.asend(None)


async def asks_next():
    gen = more_numbers()
    keep.append(gen)
    await anext(gen)
    await anext(gen, None)  # 3.10+


async def throws():
    gen = catches()
    keep.append(gen)
    await gen.asend(None)
    await gen.athrow(ValueError)


async def catches():
    try:
        yield 1
    except ValueError:
        await inner(0)


class Awaitable:
    def __await__(self):
        return (yield from inner(1).__await__())


class Wrapped:
    def __await__(self):
        return inner(0).__await__()


async def awaits(thing):
    await thing


@types.coroutine
def by_generator():
    yield from inner(0)


def only_referred_to():
    yield 1
    yield 2


@types.coroutine
def yields():
    """Waits by a plain yield, while it iterates over a generator that does not run."""
    gen = only_referred_to()
    for _ in gen:
        future = asyncio.get_running_loop().create_future()
        future._asyncio_future_blocking = True
        yield future


async def locked(lock):
    async with lock:
        await park()


class Sub(asyncio.Task):
    pass


async def ends():
    return 1


async def world():
    loop = asyncio.get_running_loop()
    loops["main"] = loop
    if sys.argv[1:]:
        loop.set_task_factory(make)
    named("plain", park())
    named("имя задачи 😀", inner(3))
    keep.append(loop.create_task(inner(2)))
    named("gatherer", gatherer())
    named("nested gather", nested_gather())
    if NEW >= (3, 11):
        named("group", group())
    shared = named("shared", inner(1))
    named("first", direct(shared, "first"))
    named("second", direct(shared, "second"))
    named("shielder", shielder(shared))
    named("waiter", wait_for_both([named("w1", park()), named("w2", inner(1))], "waiter"))
    named("timeout", with_timeout(named("slow", park())))
    named("reads numbers", reads_numbers())
    named("sends", sends())
    named("throws", throws())
    if NEW >= (3, 10):
        named("asks next", asks_next())
    named("awaitable", awaits(Awaitable()))
    named("wrapped", awaits(Wrapped()))
    named("by generator", by_generator_task())
    named("yields", yields_task())
    lock = asyncio.Lock()
    named("has lock", locked(lock))
    named("wants lock", locked(lock))
    keep.append(Sub(inner(1), loop=loop, name="subclass"))
    py = asyncio.tasks._PyTask(inner(1), loop=loop, name="in Python")
    keep.append(py)
    named("awaits Python", direct(py, "awaits Python"))
    keep.append(asyncio.tasks._PyTask(direct(shared, "Python awaits"), loop=loop,
                                      name="Python awaits"))
    if NEW >= (3, 12):
        keep.append(asyncio.Task(inner(1), loop=loop, name="eager", eager_start=True))
    done = named("done", ends())
    cancelled = named("cancelled", park())
    keep.extend([done, cancelled])
    await asyncio.sleep(0.05)
    cancelled.cancel()
    idle = asyncio.new_event_loop()
    loops["idle"] = idle
    keep.append(idle.create_task(inner(0), name="not started"))
    await asyncio.sleep(0.05)
    print("parked", flush=True)
    await park()


async def by_generator_task():
    await by_generator()


async def yields_task():
    await yields()


async def other_world(ready):
    loops["other"] = asyncio.get_running_loop()
    loops["other"].set_debug(True)
    named("elsewhere", inner(1))
    named("elsewhere gathers", other_gather())
    await asyncio.sleep(0.01)
    ready.set()
    await park()


async def other_gather():
    child = named("gathered elsewhere", park())
    edges.add(("gathered elsewhere", "elsewhere gathers"))
    await asyncio.gather(child)


def referent(o, *kinds):
    """What a C object that has no attributes holds."""
    return next(r for r in gc.get_referents(o) if type(r).__name__ in kinds)


def chain(o):
    """The frames from a coroutine to what it waits for, as Python's own attributes tell."""
    frames = []
    while o is not None:
        for prefix, next_name in ("cr", "cr_await"), ("gi", "gi_yieldfrom"), ("ag", "ag_await"):
            if hasattr(o, prefix + "_frame"):
                frame, code = getattr(o, prefix + "_frame"), getattr(o, prefix + "_code")
                frames.append({"function": getattr(code, "co_qualname", code.co_name),
                               "file": code.co_filename, "line": frame.f_lineno})
                o = getattr(o, next_name)
                break
        else:
            kind = type(o).__name__
            if kind in ("async_generator_asend", "async_generator_athrow"):
                o = referent(o, "async_generator")
            elif kind == "coroutine_wrapper":
                o = referent(o, "coroutine")
            elif kind == "anext_awaitable":
                o = referent(o, "async_generator_asend")
            else:
                o = None
    return frames


def report():
    threads = {"main": threading.main_thread().native_id, "other": other.native_id, "idle": None}
    tasks = []
    for name, loop in loops.items():
        # From 3.14 on all_tasks() does not list those in Python.
        scheduled = {t for t in getattr(asyncio.tasks, "_scheduled_tasks", ())
                     if t.get_loop() is loop and not t.done()}
        for task in asyncio.all_tasks(loop) | scheduled:
            stack = task.get_stack()
            tasks.append({
                "id": str(id(task)), "name": task.get_name(), "loop": str(id(loop)),
                "thread": threads[name], "state": "waiting", "problem": None,
                "frames": chain(task.get_coro())[::-1], "base_line": stack[0].f_lineno,
                "knows": [str(id(t)) for t in task._asyncio_awaited_by or ()]
                if NEW >= (3, 14) else None})
    print(json.dumps({"tasks": tasks, "edges": sorted(edges)}), flush=True)


def answer():
    for line in sys.stdin:
        report()


other_ready = threading.Event()
other = threading.Thread(target=lambda: asyncio.run(other_world(other_ready)), daemon=True)
other.start()
other_ready.wait()
threading.Thread(target=answer, daemon=True).start()
asyncio.run(world())
