"""A loop that never rests: tasks whose coroutines can only await their own number. A stack that
mixes numbers, or that waits anywhere but in the innermost of them, never was.

usage: tasks_busy.py TASKS"""
import asyncio
import sys

SOURCE = """
async def top_{n}(k):
    if k & 1:
        await middle_{n}(k)
    else:
        await other_{n}(k)

async def middle_{n}(k):
    await lower_{n}(k)

async def other_{n}(k):
    async for _ in numbers_{n}(k):
        pass

async def numbers_{n}(k):
    await lower_{n}(k)
    yield k

async def lower_{n}(k):
    work_{n}(k)
    await asyncio.sleep(0)
    await leaf_{n}(k)

async def leaf_{n}(k):
    await asyncio.sleep(0)

def work_{n}(k):
    return sum(range(k & 63))
"""
FAMILIES = 6
for n in range(FAMILIES):
    exec(SOURCE.format(n=n))
TOPS = [globals()[f"top_{n}"] for n in range(FAMILIES)]


async def forever(k):
    while True:
        k += 1
        await TOPS[k % FAMILIES](k)


async def main(count):
    # The loop's own functions would be on the tasks' stacks where a generator begins.
    sys.set_asyncgen_hooks(None, None)
    tasks = [asyncio.get_running_loop().create_task(forever(7 * i), name=f"busy {i}")
             for i in range(count)]
    print("ready", flush=True)
    await asyncio.wait(tasks)


asyncio.run(main(int(sys.argv[1])))
