"""The programs that are measured, under the interpreters of tests/pythons."""
import contextlib
import os
import signal
import statistics
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(REPO / "tests" / "pythons"))
import pythons  # noqa: E402

TARGETS = REPO / "tests" / "targets"


class Skipped(Exception):
    """A section, or a part of one, that cannot be measured here; says why."""


def interpreter(name):
    for entry in pythons.load():
        if entry["name"] == name:
            if entry["missing"]:
                raise Skipped(f"no Python {name}: {entry['missing']}")
            return entry
    raise Skipped(f"no Python {name}; tests/pythons/get fetches it")


def shared():
    """A directory that has the same path inside every root, for what the peers write."""
    return Path(pythons.manifest()["shared"])


class Target:
    """A program under an interpreter, started and ready."""

    def __init__(self, entry, program, *args):
        self.entry = entry
        argv = pythons.command(entry, [str(TARGETS / program), *map(str, args)])
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
        if self.process.stdout.readline().strip() != "ready":
            self.process.kill()
            self.process.wait()
            raise Skipped(f"{program} does not start under Python {entry['name']}")
        self.pid = self.process.pid
        time.sleep(0.5)  # specialised by then, and asleep who should be

    def beside(self, *argv):
        """A command in the target's own root and mounts, as the peers need it."""
        return ["nsenter", "-t", str(self.pid), "-m", "-r", "--", "sh", "-c", 'cd / && exec "$@"',
                "sh", *map(str, argv)]

    @contextlib.contextmanager
    def paused(self):
        """Not running meanwhile, so that it takes no CPU from another."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.send_signal(signal.SIGKILL)
        self.process.communicate()


class Counting(Target):
    """A target that counts its work in a mapped file."""

    def __init__(self, entry, program, *args):
        self.file = tempfile.NamedTemporaryFile(dir=shared(), prefix="bench-count-")
        super().__init__(entry, program, *args, "--count", self.file.name)

    def count(self):
        self.file.seek(0)
        return struct.unpack("<Q", self.file.read(8))[0]

    def work(self, seconds):
        """What it does in so long, and how long that was."""
        began, before = time.perf_counter(), self.count()
        time.sleep(seconds)
        return self.count() - before, time.perf_counter() - began


# Of Student's t, two-sided 95 %, by degrees of freedom.
STUDENT = {1: 12.71, 2: 4.303, 3: 3.182, 4: 2.776, 9: 2.262, 19: 2.093, 29: 2.045}


def interval(values):
    """Mean, and the ends of its 95 % interval."""
    mean = statistics.mean(values)
    t = STUDENT[max(k for k in STUDENT if k <= len(values) - 1)]
    half = t * statistics.stdev(values) / len(values) ** 0.5
    return mean, mean - half, mean + half
