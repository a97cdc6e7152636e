"""parked.py DIRECTORY [opcodes]: threads parked in every kind of frame, and what is true of them.

Prints "parked" once all stand still. For each line on stdin it prints a line of JSON: the
threads with their frames, and what faulthandler says. Nothing looks at frames before that.
"""
import _thread
import asyncio
import faulthandler
import functools
import hashlib
import json
import os
import sys
import threading
import time

import truth

LOCK = threading.Lock()
LOCK.acquire()  # for good
DEPTH = 900
WARM = 300  # rounds that make the interpreter specialise its code

sleeping = {}  # ident to native id, of threads that end in a sleep
busy = {}      # of those that end in C code that works


def wait(stop):
    if stop:
        sleeping[threading.get_ident()] = threading.get_native_id()
        LOCK.acquire()


# ---- recursion, nested names, positions ----

def recurse(n):
    if n > 0:
        recurse(n - 1)
    else:
        Outer.Inner().method(1)


class Outer:
    class Inner:
        def method(self, n):
            def closure(m):
                return (lambda x: self.several_lines(x))(m + n)
            return closure(1)

        def several_lines(self, n):
            return max(
                n,
                Outer.of_class(
                    "été",
                    *[n],
                    keyword={"é": n},
                ),
                1)

    @classmethod
    def of_class(cls, *args, keyword):
        return "ü" + cls.static(args) + "x"

    @staticmethod
    def static(args): wait(True); return "y"


# ---- generators ----

def leaf_generator(rounds):
    for i in range(rounds):
        yield i
    wait(True)
    yield -1


def delegating(rounds):
    yield from leaf_generator(rounds)


class Iterator:
    def __init__(self, rounds):
        self.inner = delegating(rounds)

    def __iter__(self):
        return self

    def __next__(self):
        return next(self.inner)


def generators():
    total = 0
    for number in (n + 1 for n in Iterator(WARM)):
        total += number
    return total


def generators_in_c():
    def chain(rounds):
        for value in delegating(rounds):
            yield value * 2
    return sum(map(lambda n: n, chain(WARM)))


# ---- coroutines ----

class Manager:
    async def __aenter__(self):
        return self

    async def __aexit__(self, *exception):
        await pausing(True)


class Awaitable:
    def __init__(self, stop):
        self.stop = stop

    def __await__(self):
        wait(self.stop)
        yield from ()


async def pausing(stop):
    await Awaitable(stop)


async def driven():
    for _ in range(WARM):
        await pausing(False)
    async with Manager():
        pass


def coroutine_by_hand():
    driven().send(None)


async def numbers():
    for n in range(WARM):
        yield n
    await pausing(True)


async def running():
    return [n async for n in numbers()]


async def main_task():
    await asyncio.gather(asyncio.sleep(3600), running())


def asyncio_running():
    asyncio.run(main_task())


async def idle_task():
    sleeping[threading.get_ident()] = threading.get_native_id()
    await asyncio.sleep(3600)


def asyncio_idle():
    asyncio.run(idle_task())


# ---- C code ----

def in_c_code():
    busy[threading.get_ident()] = threading.get_native_id()
    hashlib.pbkdf2_hmac("sha256", b"password", b"salt", 2 ** 31 - 1)


def in_a_sleep():
    sleeping[threading.get_ident()] = threading.get_native_id()
    time.sleep(3600)


# ---- every way to call ----

class Zoo:
    def __init__(self, stop):
        self.stop = stop
        self.done = self.attribute

    @property
    def attribute(self):
        return self[0]

    def __getitem__(self, index):
        return sorted([index], key=self.key)

    def key(self, index):
        return functools.reduce(lambda a, b: self + b, [1, 2])

    def __add__(self, other):
        return [self(m) for m in (other,)]

    def __call__(self, m):
        return {k: self.missing for k in (m,)}

    def __getattr__(self, name):
        class Body:
            made = self.handler(name)
        return Body

    def handler(self, name):
        try:
            raise KeyError(name)
        except KeyError:
            with self:
                pass

    def __enter__(self):
        exec("zoo.executed()", {"zoo": self})

    def __exit__(self, *exception):
        pass

    def executed(self):
        return functools.partial(Zoo.partial, self)(
            stop=self.stop)

    def partial(self, stop):
        try:
            return len(self)
        finally:
            self.stop = None

    def __len__(self):
        return Deleted(self.stop) is None

    def __eq__(self, other):
        return False


class Deleted:
    def __new__(cls, stop):
        self = object.__new__(cls)
        self.stop = stop
        del self

    def __del__(self):
        wait(self.stop)


def zoo():
    # One call for all: it is specialised too.
    for stop in [False] * WARM + [True]:
        Zoo(stop)


# ---- names ----

NAMES_SOURCE = """\
class Été:
    def été(self):
        return [функция() for _ in 'x'][0]


def функция():
    return (lambda: 𠮷野家())()


def 𠮷野家():
    日本語 = "😀" * 3; wait(日本語 is not None)


Été().été()
"""


def non_ascii(directory):
    path = os.path.join(directory, "модуль_π_é_😀.py")
    with open(path, "w", encoding="utf-8") as f:
        f.write(NAMES_SOURCE)
    exec(compile(NAMES_SOURCE, path, "exec"), {"wait": wait, "__name__": "модуль"})


# ---- the reports ----

def report():
    with open(os.path.join(sys.argv[1], "faulthandler"), "w+") as f:
        faulthandler.dump_traceback(f, all_threads=True)
        f.seek(0)
        text = f.read()
    known = dict(sleeping)
    known.update(busy)
    found = {"threads": truth.threads(sys._current_frames(), known), "faulthandler": text}
    if sys.argv[2:] == ["opcodes"]:
        found["instructions"] = {str(ident): truth.instructions(frame)
                                 for ident, frame in sys._current_frames().items()}
    return found


def busy_enough(tid):
    with open("/proc/self/task/%d/stat" % tid) as f:
        return int(f.read().rpartition(")")[2].split()[11]) >= 5


def reporter(expected):
    while len(sleeping) + len(busy) < expected:
        time.sleep(0.005)
    truth.wait_until_still(list(sleeping.values()))
    while not all(busy_enough(tid) for tid in busy.values()):
        time.sleep(0.005)
    print("parked", flush=True)
    for _ in sys.stdin:
        print(json.dumps(report()), flush=True)


THREADS = [
    ("génération-π", generators),
    ("поток в C", generators_in_c),
    ("coroutine", coroutine_by_hand),
    ("asyncio running", asyncio_running),
    ("asyncio idle", asyncio_idle),
    ("日本語のスレッド名前、とても長い名前です", in_c_code),
    ("sleeper 😀", in_a_sleep),
    ("zoo", zoo),
    ("", functools.partial(non_ascii, sys.argv[1])),
]

if __name__ == "__main__":
    for name, function in THREADS:
        threading.Thread(target=function, name=name or "ñ", daemon=True).start()
    _thread.start_new_thread(wait, (True,))
    threading.Thread(target=reporter, args=(len(THREADS) + 2,), name="reporter",
                     daemon=True).start()
    recurse(DEPTH)
