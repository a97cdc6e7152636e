"""A tree of tasks: each of WIDTH gathers WIDTH others, down to DEPTH. Says "parked" and how many.

usage: tasks_tree.py WIDTH DEPTH"""
import asyncio
import sys

width, depth = int(sys.argv[1]), int(sys.argv[2])
count = 0
keep = []


async def node(name, left):
    global count
    count += 1
    if left == 0:
        await asyncio.get_running_loop().create_future()
    children = [asyncio.get_running_loop().create_task(node(f"{name}.{i}", left - 1),
                                                       name=f"{name}.{i}")
                for i in range(width)]
    keep.extend(children)
    await asyncio.gather(*children)


async def main():
    keep.append(asyncio.get_running_loop().create_task(node("0", depth), name="0"))
    await asyncio.sleep(0.5)
    print("parked", count, flush=True)
    await keep[0]


asyncio.run(main())
