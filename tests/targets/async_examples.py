"""What the documentation of profiling.sampling profiles with --async-aware, and a few more. Says
"ready".

usage: async_examples.py fetch | pool | shared | none"""
import asyncio
import sys


async def fetch(url):
    await asyncio.sleep(0.1)
    return url


async def run_fetch():
    while True:
        await asyncio.gather(fetch("a"), fetch("b"), fetch("c"))


def handle(item):
    total = 0
    for i in range(item):
        total += i
    return total


async def worker(queue):
    while True:
        item = await queue.get()
        handle(item)
        queue.task_done()


def new(coroutine, name):
    return asyncio.get_running_loop().create_task(coroutine, name=name)


async def run_pool():
    """Four workers; two of them are kept from work by items that come two at a time."""
    queue = asyncio.Queue()
    workers = [new(worker(queue), "worker-%d" % i) for i in range(4)]
    while True:
        for _ in range(2):
            queue.put_nowait(40000)
        await queue.join()
    del workers


def spin():
    while True:
        pass


async def runs():
    await asyncio.sleep(0.2)
    spin()


async def waits_for(task):
    await asyncio.wait([task])


async def run_shared():
    """One task that three others wait for, each in its own way."""
    task = new(runs(), "shared")
    await asyncio.gather(new(waits_for(task), "first"), new(waits_for(task), "second"), task)


async def run_none():
    """Callbacks, and no task of their own."""
    loop = asyncio.get_running_loop()

    def callback():
        handle(20000)
        loop.call_soon(callback)
    loop.call_soon(callback)
    await loop.create_future()


async def main():
    asyncio.get_running_loop().call_later(0.3, lambda: print("ready", flush=True))
    await globals()["run_" + sys.argv[1]]()


if sys.argv[1] == "shared":
    print("ready", flush=True)
asyncio.run(main())
