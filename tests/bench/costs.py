"""What it costs: the target's time, the sampler's CPU and memory."""
import contextlib
import os
import signal
import statistics
import subprocess

from peers import Failed, Rounds, children, run
from rates import FASTEST, raw_reads
from table import number, percent, ratio
from targets import Counting, Skipped, Target, interpreter, interval, pythons, shared

PROGRAMS = (("ordinary functions", "work.py", ()),
            ("the oracle, the worst case", "bench_truth.py", (0,)))


@contextlib.contextmanager
def _begun(argv):
    """Runs a profiler, and gives, once it has begun, its process that samples."""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL) as process:
        try:
            process.wait(0.4)
        except subprocess.TimeoutExpired:
            yield (children(process.pid) or [process.pid])[-1]
        else:
            raise Failed(f"{process.args[0]} ended with {process.returncode}")
        finally:
            process.terminate()


SLICE = 0.1  # seconds of one side of a pair, before it is the other's turn


def _pair(target, seconds, argv, beside):
    """How much slower the target is beside a command, over so many seconds of each side. They take
    turns in short slices, in which the process that samples is stopped or not: the speed of a
    machine, a virtual one's above all, changes by a tenth from slice to slice, and more slices tell
    more than long ones. (What stops may take grows while it is stopped: such a slice may have
    twice as much of it.)"""
    work, time_of = {True: 0, False: 0}, {True: 0, False: 0}
    with _begun(argv) as sampler:
        try:
            for _ in range(round(2 * seconds / SLICE)):
                os.kill(sampler, signal.SIGCONT if beside else signal.SIGSTOP)
                done, took = target.work(SLICE)
                work[beside] += done
                time_of[beside] += took
                beside = not beside
        except ProcessLookupError:
            raise Failed("the sampler ended") from None
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(sampler, signal.SIGCONT)
    return work[False] / time_of[False] / (work[True] / time_of[True]) - 1


def _pairs(bench, entry, program, args, seconds, argv_of):
    """The mean slowdown, and the interval of it."""
    with Counting(entry, program, *args) as t:
        return interval([_pair(t, seconds, argv_of(t), bool(i % 2)) for i in range(bench.pairs)])


def slowdown(bench):
    """how much slower the target is at 1, 10 and 100 kHz (needs 3.15)"""
    seconds = 2 if bench.quick else 10
    table = bench.table(f"Slowdown of the target, {bench.pairs} pairs of {seconds} s, default "
                        "settings (3.15)",
                        "target", "rate", "mean", "95 % from", "to")
    ours, entry = bench.pyprof(), interpreter("3.15")
    for name, program, args in PROGRAMS:
        for rate in (1_000, 10_000, 100_000):
            try:
                mean, low, high = _pairs(
                    bench, entry, program, args, seconds,
                    lambda t, rate=rate: ours.command(t.pid, rate, 2 * seconds + 5, "/dev/null"))
            except Failed as e:
                table.note(f"{name} at {rate}: {e}")
                continue
            table.row(name, f"{rate // 1000} kHz", percent(mean, 2), percent(low, 2),
                      percent(high, 2))


def spin(bench):
    """how much slower the target is beside the sampler at full rate, and beside an empty loop"""
    seconds = 2 if bench.quick else 10
    table = bench.table(f"Slowdown by spinning at full rate, {bench.pairs} pairs of {seconds} s "
                        "(3.15)", "beside", "mean", "95 % from", "to")
    ours, entry = bench.pyprof(), interpreter("3.15")
    name, program, args = PROGRAMS[0]
    loop = bench.program("timer_loop")
    for beside, argv_of in (
            ("an empty loop", lambda t: [loop, "0", str(2 * seconds + 5)]),
            ("pyprof, --stop-budget 0%", lambda t: ours.command(
                t.pid, FASTEST, 2 * seconds + 5, "/dev/null", budget=0)),
            ("pyprof, default settings", lambda t: ours.command(
                t.pid, FASTEST, 2 * seconds + 5, "/dev/null"))):
        try:
            mean, low, high = _pairs(bench, entry, program, args, seconds, argv_of)
        except Failed as e:
            table.note(f"{beside}: {e}")
            continue
        table.row(beside, percent(mean, 2), percent(low, 2), percent(high, 2))


def cpu(bench):
    """the sampler's CPU at 1 kHz (one thread) and 100 Hz (ten), beside an empty timer loop's"""
    table = bench.table("CPU of the sampler beside an empty timer loop's, of a core (3.15)",
                        "threads and rate", "pyprof", "with client", "timer loop", "above",
                        "Tachyon")
    ours, tachyon, entry = bench.pyprof(), bench.tachyon(), interpreter("3.15")
    seconds = 3 if bench.quick else 10
    for threads, rate in ((1, 1000), (10, 100)):
        def loop():
            ran = run([bench.program("timer_loop"), rate, seconds], seconds + 30)
            words = ran.text.split()
            return int(words[3]) / int(words[5])

        with Target(entry, "bench_threads.py", threads, 1) as t:
            measures = {"pyprof": lambda: ours.record(t, rate, seconds, all_threads=True),
                        "loop": loop}
            if tachyon:
                measures["Tachyon"] = lambda: tachyon.record(t, rate, seconds, all_threads=True)
            r = Rounds(bench.rounds, **measures)
        a = r.median("pyprof", lambda x: x.own_cpu)
        b = r.median("loop", lambda x: x)
        table.row(f"{threads} at {rate} Hz", percent(a, 2),
                  percent(r.median("pyprof", lambda x: x.cpu), 2), percent(b, 2),
                  f"{100 * (a - b):+.2f} points" if a is not None and b is not None else "-",
                  percent(r.median("Tachyon", lambda x: x.cpu), 2) if tachyon else "-")
        for name, reason in r.failures.items():
            table.note(f"{name}: {reason}")


def threads(bench):
    """1, 10, 100 and 1,000 threads at 100 Hz, all but ten asleep (needs 3.15)"""
    table = bench.table("Many threads, all but ten asleep, -a at 100 Hz (3.15)",
                        "threads", "sampler CPU", "us/thread", "one iovec", "ratio", "with stack",
                        "KB/tick", "calls/tick", "missed", "memory MB", "Tachyon CPU", "failed", "MB")
    ours, tachyon, entry = bench.pyprof(), bench.tachyon(), interpreter("3.15")
    seconds = 3 if bench.quick else 10
    ticks = {}  # us of a tick: ours, and of reading each thread's words
    for n in (1, 10, 100, 1000):
        with Target(entry, "bench_threads.py", n, min(n, 10)) as t:
            measures = {"pyprof": lambda: ours.record(t, 100, seconds, all_threads=True),
                        "raw": lambda: raw_reads(bench, t.pid, "--words", 100),
                        "stacks": lambda: raw_reads(bench, t.pid, "--stacks", 100)}
            if tachyon:
                measures["Tachyon"] = lambda: tachyon.record(t, 100, seconds, all_threads=True)
            r = Rounds(bench.rounds, **measures)
        a = r.median("pyprof", lambda x: x.totals["sampler_cpu_ns"] / x.totals["ticks"] / n / 1e3)
        b = r.median("raw", lambda x: x["cpu_ns"] / x["reads"] / n / 1e3)
        c = r.median("stacks", lambda x: x["cpu_ns"] / x["reads"] / n / 1e3)
        of = lambda f: r.median("pyprof", f)  # noqa: E731
        if a and b and c:
            ticks[n] = a * n, b * n, c * n
        table.row(n, percent(of(lambda x: x.own_cpu), 2), number(a, 2), number(b, 2), ratio(a, b),
                  number(c, 2), number(of(lambda x: x.totals["bytes"] / x.totals["ticks"] / 1e3), 1),
                  number(of(lambda x: x.totals["calls"] / x.totals["ticks"]), 1),
                  percent(of(lambda x: x.missed)), number(of(lambda x: x.memory / 1e6), 1),
                  *([percent(r.median("Tachyon", lambda x: x.cpu), 1),
                     percent(r.median("Tachyon", lambda x: x.failed)),
                     number(r.median("Tachyon", lambda x: x.memory / 1e6), 1)]
                    if tachyon else ["-"] * 3))
        for name, reason in r.failures.items():
            table.note(f"{n} threads: {name}: {reason}")
    if 10 in ticks and 1000 in ticks:
        ours_each, raw_each, stack_each = ((a - b) / 990 for a, b in zip(ticks[1000], ticks[10]))
        table.note(f"each of the 990 threads asleep: {ours_each:.2f} us a tick, one iovec "
                   f"{raw_each:.2f} us: {ratio(ours_each, raw_each)}; to read its stack as well "
                   f"{stack_each:.2f} us: {ratio(ours_each, stack_each)}")
    table.note("us/thread: CPU of one tick, shared among the threads. One iovec: the same for a loop "
               "that reads each thread's words at 100 Hz; with stack: and what it uses of its "
               "datastack, as another range. Memory: all processes but the client.")


def dump(bench):
    """one dump of a simple process, the whole command (needs 3.15)"""
    table = bench.table("One dump of a simple process, whole command, ms (3.15)",
                        "profiler", "median", "lowest")
    ours, tachyon, entry = bench.pyprof(), bench.tachyon(), interpreter("3.15")

    def timed(argv):
        ran = run(argv, 30)
        if ran.status:
            raise Failed(f"{argv[0]} ended with {ran.status}: {ran.text.strip()[-120:]}")
        return ran.seconds * 1e3

    with Target(entry, "depth.py", 20) as t:
        measures = {"pyprof": lambda: timed([ours.exe, "dump", "--no-daemon", t.pid])}
        if tachyon:
            measures["Tachyon"] = lambda: timed(t.beside(
                tachyon.entry["exe"], "-m", "profiling.sampling", "dump", t.pid))
        r = Rounds(5 if bench.quick else 30, **measures)
    for name, values in r.results.items():
        if name in r.failures:
            table.note(f"{name}: {r.failures[name]}")
        else:
            table.row(name, number(statistics.median(values), 1), number(min(values), 1))
    if not r.failures and tachyon:
        table.note("ratio " + ratio(r.median("Tachyon", lambda x: x),
                                    r.median("pyprof", lambda x: x)))


def replay(bench):
    """replay of 10 million samples of 10,000 stacks, and of what each recorded of one program"""
    _replay_generated(bench)
    _replay_recorded(bench)


def _replayed(argv, samples):
    """Samples in a second of CPU time, on one core, and the memory that it took."""
    ran = run(["taskset", "-c", "0", *argv], 600)
    if ran.status:
        raise Failed(f"replay ended with {ran.status}: {ran.text.strip()[-120:]}")
    return samples / ran.cpu_seconds, ran.peak


def _replay_generated(bench):
    """The same samples as each stores them, in turn. Tachyon gets fewer: it would take minutes."""
    ours, tachyon = bench.pyprof(), bench.tachyon()
    many, few = (1_000_000, 200_000) if bench.quick else (10_000_000, 1_000_000)
    kinds = "--collapsed", "--pstats", "--flamegraph", "--heatmap", "--gecko"
    table = bench.table("replay of 10,000 stacks of 20 frames, each 1.6 times in a row, samples in "
                        "a second of one core", "file of", "samples", *kinds, "most MB")
    files = {n: (shared() / f"bench-{n}.pyprof", shared() / f"bench-{n}.tach")
             for n in (many, few)}
    for n, paths in files.items():
        made = run([bench.program("gen_recording"), n, *paths], 300)
        if made.status:
            raise Failed(f"gen_recording ended with {made.status}")

    def measure(command, path, n, kind):
        # A folder of one profiler's is nothing that the other would overwrite.
        by = "pyprof" if command == [ours.exe] else "peer"
        out = shared() / f"bench-replay-{by}{kind}"
        return lambda: _replayed([*command, "replay", kind, "-o", out, path], n)

    rows = {"pyprof": ([ours.exe], files[many][0], many),
            "Tachyon, read by pyprof": ([ours.exe], files[many][1], many),
            "Tachyon, fewer samples": ([ours.exe], files[few][1], few)}
    if tachyon:
        rows["Tachyon, read by itself"] = (
            pythons.command(tachyon.entry, ["-m", "profiling.sampling"]), files[few][1], few)
    r = Rounds(bench.rounds, **{f"{name} {kind}": measure(*row, kind)
                                for name, row in rows.items() for kind in kinds})
    speed = {name: [r.median(f"{name} {kind}", lambda x: x[0]) for kind in kinds] for name in rows}
    for name, (_, _, n) in rows.items():
        memory = max(r.median(f"{name} {kind}", lambda x: x[1] / 1e6) or 0 for kind in kinds)
        table.row(name, number(n), *map(number, speed[name]), number(memory, 1))
    for name, reason in r.failures.items():
        table.note(f"{name}: {reason}")
    if tachyon and not r.failures:
        table.note("the same file: ratio " + ", ".join(
            f"{kind} " + ratio(a, b) for kind, a, b in zip(
                kinds, speed["Tachyon, fewer samples"], speed["Tachyon, read by itself"])))


def _replay_recorded(bench):
    """What each recorded of the same program at its highest rate."""
    table = bench.table("replay --collapsed, leaf churn at depth 20, recorded at the highest rate, "
                        "samples/s (3.15)", "profiler", "samples", "samples/s")
    ours, tachyon, entry = bench.pyprof(), bench.tachyon(), interpreter("3.15")
    speeds = {}
    with Target(entry, "depth.py", 20, "churn") as t:
        for profiler in filter(None, (ours, tachyon)):
            try:
                recorded = profiler.record(t, FASTEST, bench.seconds)
                out = profiler.file(".txt")
                argv = ["replay", "--collapsed", "-o", out, profiler.file()]
                argv = ([profiler.exe, *argv] if profiler is ours else
                        t.beside(profiler.entry["exe"], "-m", "profiling.sampling", *argv))
                with t.paused():
                    took = []
                    for _ in range(bench.rounds):
                        ran = run(argv, 120)
                        if ran.status:
                            raise Failed(f"replay ended with {ran.status}")
                        took.append(ran.seconds)
                out.unlink(missing_ok=True)
            except (Failed, Skipped) as e:
                table.note(f"{profiler.name}: {e}")
                continue
            speeds[profiler.name] = recorded.samples / statistics.median(took)
            table.row(profiler.name, number(recorded.samples), number(speeds[profiler.name]))
    if len(speeds) == 2:
        table.note("ratio " + ratio(speeds["pyprof"], speeds["Tachyon"]))
