"""A kernel thread that works in two interpreters has a state in each; its CPU time is that of one."""
import os
import subprocess
import time
from collections import Counter

import pytest

import pyprof_reader
from conftest import find_interpreter
from support import PYPROF, VERSIONS, collapsed, pyprof, version_of

# Of tests/targets/interpreter_shares.py, in the order in which it tells of them.
NAMES = "outer_computes", "inner_computes", "inner_hashes", "inner_sleeps"


def moments(target, until):
    """What the target says of itself, now and then: (time, CPU time, begin of its round, and the CPU
    time of each of NAMES until then)."""
    last = False
    while not last:
        last = not until()
        target.say("?")
        yield tuple(map(int, target.line().split()))
        time.sleep(0.02)


def at(found, moment):
    """The CPU time at a moment, between two that are known."""
    before, after = max(m for m in found if m[0] <= moment), min(m for m in found if m[0] > moment)
    return before[1] + (after[1] - before[1]) * (moment - before[0]) / (after[0] - before[0])


def replay(path, mode, start, end):
    """Percent of the samples from start to end (seconds) by function of the target."""
    found = Counter()
    text = pyprof("replay", "--mode", mode, "--from", start, "--to", end, "--collapsed", "-o", "-",
                  path, check=True).out
    for _, frames, count in collapsed(text):
        names = [name for _, name, _ in frames]
        found[next((n for n in names if n in NAMES), names[-1])] += count
    return {name: 100 * n / sum(found.values()) for name, n in found.items()}


def kinds():
    for version in VERSIONS:
        yield from ((version, kind) for kind in ("legacy", "isolated")
                    if kind == "legacy" or version_of(version) >= (3, 12))


@pytest.mark.timing
@pytest.mark.parametrize("version, kind", kinds())
def test_cpu_time_is_of_the_interpreter_that_the_thread_works_in(version, kind, start, workdir):
    target = start(find_interpreter(version), "interpreter_shares.py", kind)
    target.expect("ready")
    out = os.path.join(workdir, "out.pyprof")
    found = list(moments(target, lambda: False))
    recorder = subprocess.Popen(
        [PYPROF, "attach", "-a", "-r", "2500", "-d", "1.6", "--stop-budget", "50%", "--binary", "-o",
         out, str(target.pid)],
        stderr=subprocess.PIPE, text=True)
    found += moments(target, lambda: recorder.poll() is None)
    assert recorder.returncode == 0, recorder.stderr.read()
    recorder.stderr.close()
    with open(out, "rb") as f:
        (stream,), _ = pyprof_reader.read(f.read())
    used = at(found, stream.last) - at(found, stream.first)
    # The target's clock is read a little before or after it is told: of 1.6 s, a tick or two.
    assert sum(stream.cpu.values()) == pytest.approx(used, rel=0.02), (stream.cpu, used)

    rounds = sorted({begun[2:] for begun in found if stream.first < begun[2] < stream.last})
    assert len(rounds) > 2
    part = [(began - stream.first) / 1e9 for began, *_ in (rounds[0], rounds[-1])]
    truth = {name: after - before for name, before, after in zip(NAMES, rounds[0][1:], rounds[-1][1:])}
    shares = replay(out, "cpu", *part)
    for name, ns in truth.items():
        percent = 100 * ns / sum(truth.values())
        assert shares.get(name, 0) == pytest.approx(percent, abs=2), (name, percent, shares)
    # The state that waits for the other interpreter is on no CPU, though its thread is.
    assert shares.get("work", 0) < 1.5, shares
    if not version.endswith("t"):
        holding = replay(out, "gil", *part)
        assert holding.get("work", 0) < 2, holding
        assert min(holding[name] for name in ("outer_computes", "inner_computes")) > 40, holding
