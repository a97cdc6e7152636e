"""interpreters_busy.py KIND: two interpreters that compute, each in a thread, of a KIND of their own:
isolated (each has a GIL) or legacy (they share that of the main one). From 3.12 on. Prints "ready"
and the kernel's ids of the threads, once both compute."""
import os
import sys
import threading
import time

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

CODE = """
import os
import time
def compute():
    while True:
        end = time.monotonic() + 0.007
        while time.monotonic() < end:
            sum(i * i for i in range(1000))
        if {pause}:
            time.sleep(0.007)
os.write({begun}, b".")
compute()
"""


def create(kind):
    if sys.version_info >= (3, 13):
        return interpreters.create(kind)
    return interpreters.create(isolated=kind == "isolated")


def run(kind):
    with one:
        interpreter = create(kind)
    tids.append(threading.get_native_id())
    # Those that share a GIL do not ask each other for it in 3.12: they have to give it away.
    interpreters.run_string(interpreter, CODE.format(pause=kind == "legacy", begun=begun))


tids = []
one = threading.Lock()  # 3.13 without a GIL can hang when two are made at once
seen, begun = os.pipe()
for _ in range(2):
    threading.Thread(target=run, args=sys.argv[1:], daemon=True).start()
for _ in range(2):
    os.read(seen, 1)
print("ready", *tids, flush=True)
time.sleep(60)
