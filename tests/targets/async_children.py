"""Processes that each run a task named after their pid, as long as the first one lives. Says "ready"
and the children's pids.

usage: async_children.py CHILDREN"""
import asyncio
import os
import sys


async def busy():
    while os.getppid() == first:
        sum(range(5000))


async def main():
    await asyncio.get_running_loop().create_task(busy(), name=f"busy {os.getpid()}")


first = os.getpid()
pids = []
for _ in range(int(sys.argv[1])):
    pid = os.fork()
    if pid == 0:
        asyncio.run(main())
        os._exit(0)
    pids.append(pid)
print("ready", *pids, flush=True)
sys.stdin.read()
