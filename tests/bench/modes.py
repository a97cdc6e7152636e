"""How true the states are: a program that measures itself how long it is in each."""
import subprocess
import sys
import time

from peers import Failed
from table import number
from targets import REPO, Skipped, Target, interpreter
from truth import VERSIONS

sys.path.insert(0, str(REPO / "tests" / "integration"))
import pyprof_reader  # noqa: E402
import states  # noqa: E402

RATE = 2000


class SelfMeasuring(Target):
    def line(self):
        return self.process.stdout.readline()


def _replay(ours, path, first, measured):
    """What states.of_replays() asks, of the time that was measured."""
    def stacks(*options):
        argv = [ours.exe, "replay", "--collapsed", "-o", "-", "--from",
                str((measured.start - first) / 1e9), "--to", str((measured.end - first) / 1e9),
                *options, str(path)]
        out = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        if out.returncode:
            raise Failed(f"replay ended with {out.returncode}: {out.stderr.strip()[-120:]}")
        for line in out.stdout.splitlines():
            head, _, count = line.rpartition(" ")
            yield ([frame.rsplit(":", 2)[1] if ":" in frame else frame
                    for frame in head.split(";")[1:]], int(count))
    return lambda *options: list(stacks(*options))


def _ours(ours, target, seconds):
    path = ours.file()
    recorder = subprocess.Popen(ours.command(target.pid, RATE, seconds + 1, path),
                                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                stderr=subprocess.PIPE, text=True)
    time.sleep(0.5)
    measured = states.Measured(target.pid, target.line, seconds)
    said = recorder.communicate(timeout=60)[1]
    if recorder.returncode:
        raise Failed(f"pyprof ended with {recorder.returncode}: {said.strip()[-120:]}")
    (stream,), _ = pyprof_reader.read(path.read_bytes())
    expected = RATE * (measured.end - measured.start) / 1e9
    return (states.of_replays(_replay(ours, path, stream.first, measured), expected),
            measured.truth())


def _row(table, version, name, result):
    found, truth = result
    cells = []
    for state in states.STATES:
        cells += [number(truth[state], 1), f"{found[state] - truth[state]:+.1f}"]
    table.row(version, name, *cells)


def modes(bench):
    """the share of time in each state, against what the program measured (Tachyon beside 3.15)"""
    seconds = 2 if bench.quick else 10
    columns = [cell for state in states.STATES for cell in (state, "off")]
    table = bench.table(f"States at {RATE // 1000} kHz: percent of the time as the program measured "
                        "it, and by how many points the profiler is off", "version", "profiler",
                        *columns)
    ours, tachyon = bench.pyprof(), bench.tachyon()
    for version in bench.versions or VERSIONS:
        try:
            with SelfMeasuring(interpreter(version), "modes.py") as t:
                _row(table, version, "pyprof", _ours(ours, t, seconds))
                if version == "3.15" and tachyon:
                    _row(table, version, "Tachyon", states.of_tachyon(
                        lambda *argv: t.beside(tachyon.entry["exe"], *argv), t,
                        tachyon.file(), RATE, seconds))
        except (Failed, Skipped, RuntimeError) as e:
            table.note(f"{version}: {e}")
