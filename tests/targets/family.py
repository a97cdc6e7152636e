"""family.py REPORT MODE [ARG...]: starts processes, each of which works by a number of its own.

The functions of a number call only those of the same number. Each process appends to REPORT, when it
has worked: pid, its parent's, its number, and for how many seconds it did. MODE: fork, spawn,
forkserver (multiprocessing), pool (ProcessPoolExecutor), subprocess, exec, daemon, shell,
"short COUNT SECONDS", "work NUMBER SECONDS", "wait NUMBER", "idle COUNT", "undumpable COUNT", hidden. Works a
little itself, by the number 0. The exit status of "short" is 7.
"""
import os
import sys
import time

NUMBERS = 60
SOURCE = """
def work_{0}(seconds, pause):
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        outer_{0}()
        if pause:
            time.sleep(pause)

def outer_{0}():
    return inner_{0}(1) + inner_{0}(2)

def inner_{0}(start):
    total = start
    for i in range(400):
        total += i * start
    return total
"""
for number in range(NUMBERS):
    exec(compile(SOURCE.format(number), "<numbers>", "exec"))


def work(number, seconds, pause=0):
    start = time.monotonic()
    globals()[f"work_{number}"](seconds, pause)
    line = f"{os.getpid()} {os.getppid()} {number} {time.monotonic() - start:.6f}\n"
    with open(REPORT, "a") as f:
        f.write(line)


def fork(function, *args):
    pid = os.fork()
    if pid == 0:
        try:
            function(*args)
        finally:
            os._exit(0)
    return pid


def python(*args):
    return [sys.executable, __file__, REPORT, *map(str, args)]


def multiprocessing_mode(how):
    import multiprocessing
    context = multiprocessing.get_context(how)
    started = [context.Process(target=work, args=(n, 0.5)) for n in (1, 2)]
    for process in started:
        process.start()
    for process in started:
        process.join()


def take_number(counter):
    global own
    with counter.get_lock():
        counter.value += 1
        own = counter.value


def pool_task(seconds):
    work(own, seconds)


def pool():
    import concurrent.futures
    import multiprocessing
    counter = multiprocessing.Value("i", 0)
    with concurrent.futures.ProcessPoolExecutor(2, initializer=take_number,
                                                initargs=(counter,)) as executor:
        list(executor.map(pool_task, [0.15] * 6))


def subprocesses():
    import subprocess
    for n in (1, 2):
        for _ in range(5):
            subprocess.run(["/bin/true"], check=True)
        subprocess.run(python("work", n, 0.4), check=True)


def become(number):
    work(number, 0.4)
    os.execv(sys.executable, python("work", number + 1, 0.4))


def detach(number, seconds):
    os.setsid()
    fork(work, number, seconds)


def shell():
    import shlex
    import subprocess
    command = shlex.join(python("work", 1, 0.4)) + "; true"
    subprocess.run(["sh", "-c", command], check=True)


def short(count, seconds):
    running = set()
    for i in range(count):
        # Four at a time, which leave each other some of the CPU.
        running.add(fork(work, 1 + i % (NUMBERS - 1), seconds, 0.002))
        while len(running) >= 4:
            running.discard(os.wait()[0])
    while running:
        running.discard(os.wait()[0])
    sys.exit(7)


def idle(count):
    for _ in range(count):
        fork(time.sleep, 120)
    print("ready", flush=True)
    sys.stdin.readline()
    import signal
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)


def hidden():
    """Of two children the second is not dumpable, from its beginning."""
    import ctypes
    libc = ctypes.CDLL(None)
    print("ready", flush=True)
    sys.stdin.readline()
    os.waitpid(fork(work, 1, 1.0), 0)
    libc.prctl(4, 0, 0, 0, 0)       # PR_SET_DUMPABLE
    pid = fork(work, 2, 0.6)
    libc.prctl(4, 1, 0, 0, 0)
    os.waitpid(pid, 0)
    work(0, 0.2)
    print("done", flush=True)
    sys.stdin.readline()


def undumpable(count):
    import ctypes
    prctl = ctypes.CDLL(None).prctl

    def hide_and_work(number):
        prctl(4, 0, 0, 0, 0)       # PR_SET_DUMPABLE
        work(number, 1.5)

    for pid in [fork(hide_and_work, n + 1) for n in range(count)]:
        os.waitpid(pid, 0)


def main(mode, args):
    if mode in ("fork", "spawn", "forkserver"):
        multiprocessing_mode(mode)
    elif mode == "pool":
        pool()
    elif mode == "subprocess":
        subprocesses()
    elif mode == "exec":
        os.waitpid(fork(become, 1), 0)
    elif mode == "daemon":
        os.waitpid(fork(detach, 1, 2), 0)
    elif mode == "shell":
        shell()
    elif mode == "work":
        work(int(args[0]), float(args[1]))
        return
    elif mode == "wait":
        print("ready", flush=True)
        sys.stdin.readline()
        os.waitpid(fork(work, int(args[0]), 0.5), 0)
    elif mode == "hidden":
        hidden()
        return
    elif mode == "undumpable":
        undumpable(int(args[0]))
    elif mode == "idle":
        idle(int(args[0]))
        return
    elif mode == "short":
        work(0, 0.1)
        short(int(args[0]), float(args[1]))
    work(0, 0.2)


REPORT = sys.argv[1]
if __name__ == "__main__":
    main(sys.argv[2], sys.argv[3:])
