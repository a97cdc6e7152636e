#!/usr/bin/env python3
"""make bench: pyprof beside Tachyon (profiling.sampling of Python 3.15) and Austin, in turn on the
same targets, in one run.

usage: bench.py [--build DIR] [--quick] [SECTION ...]
sections: rate dump replay slowdown

rate      the highest real rate at stack depths 2, 20 and 200
dump      one dump of a simple process, the whole command
replay    replay --collapsed of the recording of the same program
slowdown  a target that counts its own work, at 10 kHz, pairs with and without, 95 % interval

Figures are medians of rounds taken in turn; machines differ and are noisy, so ratios count."""
import argparse
import os
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
sys.path.insert(0, str(REPO / "tests" / "pythons"))
import pythons  # noqa: E402

DEPTH = REPO / "tests" / "targets" / "depth.py"
ORACLE = REPO / "tests" / "targets" / "oracle.py"
WORK = REPO / "tests" / "targets" / "work.py"
SECONDS = 3
ROUNDS = 3


def fail(text):
    sys.exit(f"bench: {text}")


def run(argv, **kw):
    return subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **kw)


class Target:
    """A program under an interpreter of the manifest, started and ready."""

    def __init__(self, entry, program, *args):
        argv = pythons.command(entry, [str(program), *map(str, args)])
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            fail(f"{program} did not start")
        self.pid = self.process.pid
        time.sleep(0.3)

    def beside(self, *argv):
        """A command in the target's own root and mounts, as Tachyon and Austin need it."""
        return ["nsenter", "-t", str(self.pid), "-m", "-r", "--", "sh", "-c", 'cd / && exec "$@"',
                "sh", *map(str, argv)]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGTERM)
        self.said = self.process.communicate(timeout=20)[0]


def number(pattern, text):
    found = re.search(pattern, text)
    return float(found.group(1).replace(",", "")) if found else None


class Bench:
    def __init__(self, build, quick):
        self.pyprof = str(Path(build).resolve() / "pyprof")
        entries = {e["name"]: e for e in pythons.load() if not e.get("missing")}
        self.entry = entries.get("3.15")
        self.austin_entry = entries.get("3.13")
        self.austin = pythons.manifest().get("austin")
        self.quick = quick
        if not self.entry:
            fail("there is no Python 3.15; tests/pythons/get makes it")
        # Seen at the same path in the root, for what the peers write.
        self.shared = Path(pythons.manifest()["shared"])

    # -- rates ---------------------------------------------------------------------------------

    def pyprof_rate(self, target, out):
        said = run([self.pyprof, "attach", "-r", "1mhz", "-d", str(SECONDS), "--binary",
                    "-o", str(out), str(target.pid)]).stdout
        return number(r"achieved \d+ \(([\d.]+)/s\)", said), number(r"missed (\d+)", said)

    def tachyon_rate(self, target, out):
        said = run(target.beside(self.entry["exe"], "-m", "profiling.sampling", "attach", "-r",
                                 "1000khz", "-d", SECONDS, "--binary", "-o", out,
                                 target.pid)).stdout
        samples = number(r"Captured ([\d,]+) samples", said)
        seconds = number(r"in ([\d.]+) seconds", said)
        errors = number(r"Error rate: ([\d.]+)", said) or 0
        if not samples:
            return None
        return samples / seconds * (1 - errors / 100)

    def austin_rate(self, target, out):
        text = run(target.beside(self.austin["exe"], "-i", "1us", "-x", SECONDS, "-b", "-o", out,
                                 "-p", target.pid)).stdout
        text = re.sub("\x1b\\[[\\d;]*m", "", text)
        tried = number(r"Error rate : \d+/(\d+)", text)
        invalid = number(r"Error rate : (\d+)/", text) or 0
        return (tried - invalid) / SECONDS if tried else None

    def rate(self):
        print("Highest real rate, one busy thread, samples/s (3.15; Austin on 3.13)")
        print(f"{'depth':>7} {'pyprof':>10} {'Tachyon':>10} {'ratio':>7} {'Austin':>10} {'ratio':>7}")
        for depth in (2, 20, 200):
            ours, tachyon, austin = [], [], []
            out = self.shared / "bench.out"
            with Target(self.entry, DEPTH, depth) as t:
                for _ in range(1 if self.quick else ROUNDS):
                    ours.append(self.pyprof_rate(t, out)[0])
                    tachyon.append(self.tachyon_rate(t, out) or 0)
            if self.austin and self.austin_entry:
                with Target(self.austin_entry, DEPTH, depth) as t:
                    for _ in range(1 if self.quick else ROUNDS):
                        austin.append(self.austin_rate(t, out) or 0)
            out.unlink(missing_ok=True)
            a, b = statistics.median(ours), statistics.median(tachyon)
            c = statistics.median(austin) if austin else 0
            print(f"{depth:>7} {a:>10.0f} {b:>10.0f} {ratio(a, b):>7} "
                  f"{c:>10.0f} {ratio(a, c):>7}", flush=True)

    # -- dump ----------------------------------------------------------------------------------

    def dump(self):
        print("One dump of a simple process, whole command, ms (median of 30 and 10)")
        with Target(self.entry, DEPTH, 20) as t:
            ours, tachyon = [], []
            for i in range(30):
                ours.append(timed([self.pyprof, "dump", str(t.pid)]))
                if i % 3 == 0:
                    tachyon.append(timed(t.beside(self.entry["exe"], "-m", "profiling.sampling",
                                                  "dump", t.pid)))
            a, b = statistics.median(ours) * 1e3, statistics.median(tachyon) * 1e3
            print(f"  pyprof {a:.1f} (lowest {min(ours) * 1e3:.1f})   Tachyon {b:.1f}   "
                  f"{ratio(b, a)} faster", flush=True)

    # -- replay --------------------------------------------------------------------------------

    def replay(self):
        print("replay --collapsed of 3 s at the highest rate, depth 20, samples/s")
        ours_file, theirs = self.shared / "bench.pyprof", self.shared / "bench.bin"
        with Target(self.entry, DEPTH, 20, "churn") as t:
            a_rate = self.pyprof_rate(t, ours_file)[0]
            b_rate = self.tachyon_rate(t, theirs) or 0
            a = statistics.median(timed([self.pyprof, "replay", "--collapsed", "-o",
                                         str(self.shared / "bench.txt"), str(ours_file)])
                                  for _ in range(5))
            b = statistics.median(timed(t.beside(
                self.entry["exe"], "-m", "profiling.sampling", "replay", "--collapsed", "-o",
                self.shared / "bench.txt", theirs)) for _ in range(3))
        sizes = ours_file.stat().st_size / (a_rate * SECONDS), theirs.stat().st_size / max(
            1, b_rate * SECONDS)
        for f in ("bench.pyprof", "bench.bin", "bench.txt"):
            (self.shared / f).unlink(missing_ok=True)
        a_speed, b_speed = a_rate * SECONDS / a, b_rate * SECONDS / b
        print(f"  pyprof {a_speed:,.0f} ({sizes[0]:.2f} bytes a sample)   "
              f"Tachyon {b_speed:,.0f} ({sizes[1]:.2f})   {ratio(a_speed, b_speed)}", flush=True)

    # -- slowdown ------------------------------------------------------------------------------

    def slowdown(self):
        pairs = 3 if self.quick else 20
        seconds = 2 if self.quick else 10
        print(f"Slowdown by attach -r 10khz, {pairs} pairs of {seconds} s with and without, by the "
              "target's own count of its work")
        for name, program, args in (("ordinary functions", WORK, []),
                                    ("the oracle, the worst case", ORACLE, ["--count"])):
            slow, budget = [], []
            for i in range(pairs):
                order = (True, False) if i % 2 else (False, True)
                rates = {}
                for attached in order:
                    with Target(self.entry, program, *args) as t:
                        if attached:
                            said = run([self.pyprof, "attach", "-r", "10khz", "-d", str(seconds),
                                        "--binary", "-o", "/dev/null", str(t.pid)]).stdout
                            budget.append(number(r"stopped for ([\d.]+) %", said) or 0)
                        else:
                            time.sleep(seconds)
                    words = t.said.split()
                    rates[attached] = float(words[1]) / float(words[2])
                slow.append((rates[False] / rates[True] - 1) * 100)
            mean = statistics.mean(slow)
            half = 2.093 * statistics.stdev(slow) / len(slow) ** 0.5  # t, 19 degrees of freedom
            print(f"  {name}: {mean:.2f} % (95 % interval {mean - half:.2f} to {mean + half:.2f}); "
                  f"stopped for {statistics.mean(budget):.2f} % of the time", flush=True)


def ratio(a, b):
    return f"{a / b:.2f}x" if b else "-"


def timed(argv):
    began = time.perf_counter()
    done = subprocess.run(list(map(str, argv)), stdout=subprocess.DEVNULL,
                          stderr=subprocess.DEVNULL)
    took = time.perf_counter() - began
    if done.returncode:
        fail(f"{' '.join(map(str, argv))} ended with {done.returncode}")
    return took


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--build", default=str(REPO / "build"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("sections", nargs="*")
    a = parser.parse_args()
    bench = Bench(a.build, a.quick)
    for section in a.sections or ("rate", "dump", "replay", "slowdown"):
        getattr(bench, section)()


if __name__ == "__main__":
    main()
