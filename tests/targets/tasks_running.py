"""A task that runs for ever, awaited by another; with "eager" a task that began to run inside the
one that made it (3.12+). Says "running"."""
import asyncio
import sys


def spin():
    print("running", flush=True)
    while True:
        pass


async def works():
    await deeper()


async def deeper():
    spin()


async def awaits():
    await asyncio.get_running_loop().create_task(works(), name="works")


async def makes():
    calls()


def calls():
    asyncio.Task(works(), loop=asyncio.get_running_loop(), name="works", eager_start=True)


async def main():
    waits = asyncio.get_running_loop().create_task(asyncio.sleep(10000), name="sleeps")
    await asyncio.sleep(0)
    await asyncio.get_running_loop().create_task(
        makes() if sys.argv[1:] == ["eager"] else awaits(), name="outer")
    await waits


asyncio.run(main())
