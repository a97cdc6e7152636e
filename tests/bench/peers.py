"""pyprof and its peers behind one interface: record(target, rate, seconds) -> Recording."""
import os
import re
import statistics
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import recording
from targets import Skipped, interpreter, pythons, shared


@dataclass
class Recording:
    """What one run of a profiler made. Shares are of 1; None: it does not say."""
    samples: int            # that are true as far as the profiler knows
    seconds: float
    bytes: int = 0          # of its file
    repeats: float = None   # share of the samples that are as the one before
    failed: float = 0.0     # share of attempts that failed
    missed: float = None    # share of deadlines without an attempt
    moving: float = None
    stopped: float = None   # share of the samples taken by a stop
    held: float = None      # share of the time that the target was stopped
    cpu: float = 0.0        # share of a core, all its processes
    own_cpu: float = None   # the same as the profiler counts it, without its start and end
    memory: int = 0         # bytes resident, without the command that shows the result
    totals: dict = None
    said: str = ""

    @property
    def rate(self):
        return self.samples / self.seconds


class Failed(Exception):
    """A profiler that did not do what it was asked; says what it said."""


def plain(text):
    """Without colours, and as lines that were not overwritten."""
    return re.sub(r"\x1b\[[\d;?]*[A-Za-z]", "", text).replace("\r", "\n")


def find(pattern, text):
    found = re.search(pattern, text)
    return float(found.group(1).replace(",", "")) if found else None


def children(pid):
    try:
        text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    except OSError:
        return []
    return [child for c in text.split() for child in (int(c), *children(int(c)))]


def _resident(pids):
    total = 0
    for pid in pids:
        try:
            pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
            total += int(pages) * os.sysconf("SC_PAGESIZE")
        except OSError:
            pass
    return total


@dataclass
class Ran:
    text: str
    status: int
    cpu_seconds: float
    seconds: float
    memory: int   # the most that its child processes, else itself, had resident
    peak: int     # the most that it had resident itself, by the kernel's account


def run(argv, limit):
    """Runs a command to its end; both outputs in one text. It gets SIGKILL after limit seconds."""
    with tempfile.TemporaryFile() as out:
        began = time.perf_counter()
        try:
            process = subprocess.Popen(list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=out,
                                       stderr=subprocess.STDOUT)
        except OSError as e:
            raise Failed(f"{argv[0]}: {e.strerror}") from None
        ended, memory = threading.Event(), [0]

        def watch():
            while not ended.wait(0.2):
                memory[0] = max(memory[0], _resident(children(process.pid) or [process.pid]))
                if time.perf_counter() - began > limit:
                    process.kill()

        watcher = threading.Thread(target=watch)
        watcher.start()
        _, status, usage = os.wait4(process.pid, 0)
        took = time.perf_counter() - began
        process.returncode = os.waitstatus_to_exitcode(status)
        ended.set()
        watcher.join()
        out.seek(0)
        text = plain(out.read().decode(errors="replace"))
    return Ran(text, process.returncode, usage.ru_utime + usage.ru_stime, took, memory[0],
               usage.ru_maxrss * 1024)


def _check(ran, name):
    if ran.status != 0:
        lines = [line for line in ran.text.splitlines() if line.strip()] or ["nothing"]
        raise Failed(f"{name} ended with {ran.status}: {lines[-1].strip()[:120]}")


class Profiler:
    name = None

    def file(self, suffix=""):
        return shared() / f"bench-{self.name}{suffix}"

    def _size(self, out):
        return out.stat().st_size if out.exists() else 0


class Pyprof(Profiler):
    name = "pyprof"

    def __init__(self, build):
        self.exe = Path(build).resolve() / "pyprof"
        if not self.exe.exists():
            raise Skipped(f"{self.exe} is not built")

    def command(self, pid, rate, seconds, out, all_threads=False, blocking=False, budget=None,
                kind="--binary"):
        argv = [self.exe, "attach", "--no-daemon", "-r", int(rate), "-d", seconds, kind, "-o", out]
        argv += ["-a"] if all_threads else []
        argv += ["--blocking"] if blocking else []
        argv += ["--stop-budget", f"{budget}%"] if budget is not None else []
        return [str(a) for a in argv + [pid]]

    def record(self, target, rate, seconds, **options):
        out = self.file()
        ran = run(self.command(target.pid, rate, seconds, out, **options), seconds + 30)
        _check(ran, self.name)
        t = recording.statistics(out)
        if not t or not t["achieved"]:
            raise Failed("pyprof recorded nothing")
        lost = t["due"] - t["achieved"] - t["missed"]
        tried = t["achieved"] + lost
        return Recording(
            samples=t["achieved"], seconds=t["elapsed_ns"] / 1e9, bytes=self._size(out),
            repeats=t["repeats"] / t["achieved"], failed=lost / tried,
            missed=t["missed"] / t["due"], moving=t["moving"] / t["achieved"],
            stopped=t["stopped"] / t["achieved"], held=t["stop_ns"] / t["elapsed_ns"],
            cpu=ran.cpu_seconds / ran.seconds, own_cpu=t["sampler_cpu_ns"] / t["elapsed_ns"],
            memory=ran.memory, totals=t, said=ran.text)


class Tachyon(Profiler):
    """profiling.sampling of the target's own Python, 3.15 on."""
    name = "Tachyon"

    def __init__(self):
        self.entry = interpreter("3.15")

    def command(self, target, rate, seconds, out, all_threads=False, blocking=False,
                kind="--binary"):
        argv = [self.entry["exe"], "-m", "profiling.sampling", "attach", "-r", int(rate),
                "-d", seconds, kind, "-o", out]
        argv += ["-a"] if all_threads else []
        argv += ["--blocking"] if blocking else []
        argv.append(target.pid)
        return target.beside(*argv)

    def record(self, target, rate, seconds, **options):
        out = self.file()
        out.unlink(missing_ok=True)
        ran = run(self.command(target, rate, seconds, out, **options), seconds + 120)
        _check(ran, self.name)
        tried = find(r"Captured ([\d,]+) samples", ran.text)
        took = find(r"samples in ([\d.]+) seconds", ran.text)
        if not tried or not took:
            raise Failed("Tachyon said nothing of samples")
        errors = (find(r"Error rate: ([\d.]+)", ran.text) or 0) / 100
        samples = tried * (1 - errors)
        same = find(r"RLE repeat:.*\[([\d,]+) samples\]", ran.text)
        return Recording(samples=samples, seconds=took, bytes=self._size(out), failed=errors,
                         repeats=same / samples if same is not None else None,
                         cpu=ran.cpu_seconds / ran.seconds, memory=ran.memory, said=ran.text)


class Austin(Profiler):
    name = "Austin"

    def __init__(self):
        self.found = pythons.manifest().get("austin")
        if not self.found:
            raise Skipped("no austin; tests/pythons/get fetches it")

    def command(self, target, rate, seconds, out):
        options = ["-i", f"{max(1, round(1e6 / rate))}us", "-x", seconds, "-b", "-o", out,
                   "-p", target.pid]
        root, home = target.entry["root"], self.found["root"]
        if root == home:
            return target.beside(self.found["exe"], *options)
        if root:
            raise Skipped(f"Austin cannot be started beside {target.entry['source']}")
        # Its C library is newer than this system's.
        return [f"{home}/lib64/ld-linux-x86-64.so.2", "--library-path",
                f"{home}/usr/lib/x86_64-linux-gnu", f"{home}{self.found['exe']}",
                *map(str, options)]

    def record(self, target, rate, seconds):
        out = self.file()
        out.unlink(missing_ok=True)
        ran = run(self.command(target, rate, seconds, out), seconds + 60)
        _check(ran, self.name)
        tried = find(r"Error rate : \d+/(\d+)", ran.text)
        invalid = find(r"Error rate : (\d+)/", ran.text) or 0
        took = find(r"Sampling duration : ([\d.]+) s", ran.text)
        if not tried or not took:
            raise Failed("Austin said nothing of samples")
        return Recording(samples=tried - invalid, seconds=took, bytes=self._size(out),
                         failed=invalid / tried, cpu=ran.cpu_seconds / ran.seconds,
                         memory=ran.memory, said=ran.text)


class Rounds:
    """Several things measured in turn, so that a change of the machine meets them all. What failed
    once is not tried again, and says why."""

    def __init__(self, count, **measures):
        self.results = {name: [] for name in measures}
        self.failures = {}
        for _ in range(count):
            for name, measure in measures.items():
                if name in self.failures:
                    continue
                try:
                    self.results[name].append(measure())
                except (Failed, Skipped) as e:
                    self.failures[name] = str(e)

    def median(self, name, of=lambda r: r.rate):
        values = [v for v in map(of, self.results[name]) if v is not None]
        return statistics.median(values) if values and name not in self.failures else None
