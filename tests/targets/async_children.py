"""Processes that each run a task named after their pid, for ever. Says "ready" and the children's
pids.

usage: async_children.py CHILDREN"""
import asyncio
import os
import sys


async def busy():
    while True:
        sum(range(5000))


async def main():
    await asyncio.get_running_loop().create_task(busy(), name=f"busy {os.getpid()}")


pids = []
for _ in range(int(sys.argv[1])):
    pid = os.fork()
    if pid == 0:
        asyncio.run(main())
    pids.append(pid)
print("ready", *pids, flush=True)
try:
    sys.stdin.read()
finally:
    for pid in pids:
        os.kill(pid, 9)
