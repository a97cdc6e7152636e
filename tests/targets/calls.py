"""Short functions between system calls. Prints "ready"; for each line on stdin the time, ns, that was
spent in each since it began, as JSON."""
import json
import os
import sys
import threading
import time

spent = {"short": 0, "call": 0}


def short(clock):
    end = clock() + 12000
    while clock() < end:
        pass


def call(leave):
    for _ in range(4):
        leave()


def work(clock=time.perf_counter_ns, leave=os.getppid):
    began = clock()
    while True:
        short(clock)
        between = clock()
        call(leave)
        ended = clock()
        spent["short"] += between - began
        spent["call"] += ended - between
        began = ended


threading.Thread(target=work, daemon=True).start()
print("ready", flush=True)
for _ in sys.stdin:
    print(json.dumps(spent), flush=True)
