"""How much of its time tests/targets/modes.py was in each state: what it measured itself, what a
recording of pyprof's says, and what one of CPython 3.15's profiling.sampling (Tachyon) does."""
import os
import re
import signal
import subprocess
import time
from collections import Counter

import tach

GIL, CPU, EXCEPTION, COLLECTING = "holds the GIL", "on a CPU", "exception", "collects garbage"
STATES = (GIL, CPU, EXCEPTION, COLLECTING)
WITHOUT_GIL = {"sleeping", "hashing"}
# How much of it is in the generator that handles an exception, it does not know.
UNKNOWN = {EXCEPTION: {"generating"}}


def sums(pid, read_line):
    """The time, and what was spent until then: wall and CPU by function."""
    os.kill(pid, signal.SIGUSR1)
    word, moment, *words = read_line().split()
    assert word == "sums"
    return int(moment), {name: tuple(int(n) for n in both.split("/"))
                         for name, _, both in (w.partition("=") for w in words)}


class Measured:
    """What the target measured between two moments (CLOCK_MONOTONIC, ns)."""

    def __init__(self, pid, read_line, seconds):
        self.start, before = sums(pid, read_line)
        time.sleep(seconds)
        self.end, after = sums(pid, read_line)
        self.wall, self.cpu = ({name: after[name][i] - before[name][i] for name in before}
                               for i in (0, 1))

    def truth(self):
        """Percent of its time, by state."""
        total, spent = sum(self.wall.values()), self.wall
        calm = total - sum(spent[name] for name in UNKNOWN[EXCEPTION])
        return {GIL: 100 * (1 - sum(spent[name] for name in WITHOUT_GIL) / total),
                CPU: 100 * sum(self.cpu.values()) / total,
                EXCEPTION: 100 * (spent["handling"] + spent["propagating"]) / calm,
                COLLECTING: 100 * spent["collecting"] / total}


def part(names):
    """The part of the target that a stack is of, by the names of its functions from the base."""
    return names[2].rpartition(".")[2] if len(names) > 2 else "loop"


def percent(state, taken, whole):
    """Of counters by part."""
    without = UNKNOWN.get(state, ())
    known = [sum(n for name, n in c.items() if name not in without) for c in (taken, whole)]
    return 100 * known[0] / known[1]


def of_replays(replay, expected):
    """By state, in percent. replay(options): the stacks as [(names from the base, count)]; expected:
    how many samples their time has, missed ones too."""
    def parts(stacks):
        found = Counter()
        for names, count in stacks:
            found[part(names)] += count
        return found

    stacks = replay()
    whole = parts(stacks)
    taken = {state: parts(replay("--mode", mode))
             for state, mode in ((GIL, "gil"), (CPU, "cpu"), (EXCEPTION, "exception"))}
    taken[COLLECTING] = parts((names, n) for names, n in stacks if names[-1] == "<GC>")
    return {state: percent(state, taken[state], whole if state != CPU else {"all": expected})
            for state in STATES}


def _tachyon(command, target, mode, path, rate, seconds):
    """One recording, and what was measured in a part of its time."""
    argv = command("-m", "profiling.sampling", "attach", "-r", rate, "-d", seconds + 1, "--mode", mode,
                   "--binary", "--compression", "none", "-o", path, target.pid)
    recorder = subprocess.Popen(list(map(str, argv)), stdin=subprocess.DEVNULL,
                                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    time.sleep(0.7)  # until it has begun
    measured = Measured(target.pid, target.line, seconds)
    said = recorder.communicate(timeout=seconds + 60)[0].decode(errors="replace")
    if recorder.returncode:
        raise RuntimeError(f"profiling.sampling ended with {recorder.returncode}: {said[-200:]}")
    with open(path, "rb") as f:
        frames, samples = tach.read(f.read())
    os.unlink(path)
    if not (1000 * samples[0][2] < measured.start and measured.end < 1000 * samples[-1][2]):
        raise RuntimeError("profiling.sampling began too late, or ended too soon")
    failed = re.search(r"Error rate:\S*\s+([\d.]+)", said)
    return measured, frames, samples, float(failed[1]) / 100 if failed else 0


def of_tachyon(command, target, path, rate=2000, seconds=2):
    """(percent by state, the truth of the same times). command(*args): an argv that becomes the
    target's own Python where it sees the target; path: the same for both. RuntimeError: it says
    what profiling.sampling said."""
    measured, frames, samples, _ = _tachyon(command, target, "wall", path, rate, seconds)
    taken, whole = {state: Counter() for state in STATES}, Counter()
    for _, _, us, status, stack in samples:
        if not measured.start <= 1000 * us <= measured.end:
            continue
        names = [frames[n][1] for n in reversed(stack)]
        name = part(names)
        whole[name] += 1
        taken[GIL][name] += bool(status & tach.GIL)
        taken[EXCEPTION][name] += bool(status & tach.EXCEPTION)
        taken[COLLECTING][name] += "<GC>" in names
    found = {state: percent(state, taken[state], whole) for state in STATES if state != CPU}
    truth = measured.truth()
    # In this mode it leaves out what is on none, and says nothing of it otherwise.
    measured, _, samples, failed = _tachyon(command, target, "cpu", path, rate, seconds)
    on_cpu = sum(measured.start <= 1000 * us <= measured.end for _, _, us, *_ in samples)
    attempts = rate * (measured.end - measured.start) / 1e9 * (1 - failed)
    found[CPU], truth[CPU] = 100 * on_cpu / attempts, measured.truth()[CPU]
    return found, truth
