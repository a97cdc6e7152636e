"""Greenlets that stand in every way, in two threads. Says "parked", then for each line "report" what
greenlet says of them itself. With an argument, how many objects there are besides."""
import gc
import json
import sys
import threading

import greenlet

ready = threading.Semaphore(0)
release = threading.Event()
keep = []
threads = {}  # ident of the first greenlet: native id of its thread


class Worker(greenlet.greenlet):
    pass


def away():
    """Where greenlets wait: their switch is the newest line of them all."""
    greenlet.getcurrent().parent.switch()


def recurse(depth):
    if depth:
        recurse(depth - 1)
    else:
        away()


def numbers(depth):
    yield 1
    recurse(depth)
    yield 2


class Sorts:
    """Called from C, so that frames lie on the C stack."""

    def __init__(self, depth):
        self.depth = depth

    def __lt__(self, other):
        recurse(self.depth)
        return True


def iterates(depth):
    for _ in numbers(depth):
        pass


def sorts(depth):
    sorted([Sorts(depth), Sorts(depth)])


def nested(depth):
    """One that is the parent of another: both wait."""
    child = greenlet.greenlet(sorts)
    keep.append(child)
    child.switch(depth)
    recurse(depth)


def ends():
    return 1


def runs_on():
    """The greenlet that runs: its thread sleeps in it."""
    ready.release()
    if threading.current_thread() is threading.main_thread():
        serve()
    release.wait()


def world():
    threads[id(greenlet.getcurrent())] = threading.get_native_id()
    for i, function in enumerate([recurse, iterates, sorts, nested] * 3):
        g = (Worker if i % 2 else greenlet.greenlet)(function)
        keep.append(g)
        g.switch(i)
    dead = greenlet.greenlet(ends)
    dead.switch()
    keep.append(dead)
    keep.append(greenlet.greenlet(recurse))
    last = Worker(runs_on)
    keep.append(last)
    last.switch()


def frames(frame):
    found = []
    while frame:
        found.append({"function": frame.f_code.co_name, "file": frame.f_code.co_filename,
                      "line": frame.f_lineno})
        frame = frame.f_back
    return found


def main_of(g):
    while g.parent:
        g = g.parent
    return g


def tell(g, current):
    first = main_of(g)
    frame = current.get(threads.get(id(first))) if is_running(g) else g.gr_frame
    return {"id": str(id(g)), "loop": str(id(first)), "thread": threads[id(first)],
            "name": "main greenlet" if g is first else type(g).__name__,
            "state": "running" if is_running(g) else "waiting", "frames": frames(frame)}


def is_running(g):
    return bool(g) and g.gr_frame is None or g is greenlet.getcurrent()


def report():
    by_ident = {t.ident: t.native_id for t in threading.enumerate()}
    current = {by_ident[i]: f for i, f in sys._current_frames().items() if i in by_ident}
    return [tell(g, current) for g in gc.get_objects()
            if isinstance(g, greenlet.greenlet) and not g.dead]


def serve():
    print("parked", flush=True)
    for line in sys.stdin:
        if line.strip() == "report":
            print(json.dumps({"version": greenlet.__version__, "greenlets": report()}), flush=True)
    sys.exit()


def main():
    keep.append([[] for _ in range(int(sys.argv[1]) if len(sys.argv) > 1 else 0)])
    other = threading.Thread(target=world, daemon=True)
    other.start()
    ready.acquire()
    gc.collect()
    world()


main()
