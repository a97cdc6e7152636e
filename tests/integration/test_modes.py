"""Each mode shows what the target measured itself: asked of a recording, and while recording."""
import json
import os
import subprocess
import textwrap
import time
from collections import Counter

import pytest

import pyprof_reader
import states
from conftest import find_interpreter
from support import (PYPROF, TARGETS, VERSIONS, Result, alone, collapsed, counts, leaf_counts, pyprof,
                     pythons, version_of, wait_for)

GIL, CPU_KNOWN, CPU, WAIT_KNOWN, WAIT, CPU_TIME = 2, 4, 8, 0x400, 0x800, 0x4000
EXCEPTION_KNOWN, HANDLING = 0x100, 0x200
RATE = 2000


def function_shares(stacks):
    """The share of each part of the target among all samples, in percent."""
    found = {}
    for _, frames, count in stacks:
        part = states.part([name for _, name, _ in frames])
        found[part] = found.get(part, 0) + count
    total = sum(found.values())
    return {name: 100 * n / total for name, n in found.items()}


def replay(path, *options):
    result = pyprof("replay", "--collapsed", "-o", "-", *options, path, check=True)
    return collapsed(result.out)


class Recorded:
    """A recording of modes.py, and what it measured in a part of that time, which is known to the
    microsecond. A machine that stands still for some ticks is seen by the clocks of the target and
    by no sampler: then it is recorded again, and the recording that missed least is taken, whatever
    it says."""

    def __init__(self, target, path, *options, attempts=4):
        alone(0, target.pid)
        best = 100
        for attempt in range(attempts):
            part = f"{path}.{attempt}"
            recorder = subprocess.Popen(
                [PYPROF, "attach", "-r", str(RATE), "-d", "2.2", "--binary", "-o", part, *options,
                 str(target.pid)], stderr=subprocess.PIPE, text=True, preexec_fn=lambda: alone(1))
            wait_for(lambda: os.path.exists(part) and os.path.getsize(part) > 0, "a recording")
            time.sleep(0.2)
            measured = states.Measured(target.pid, target.line, 1.6)
            err = recorder.communicate(timeout=30)[1]
            assert recorder.returncode == 0, err
            found = counts(Result(0, b"", err))
            missed = 100 * found["missed"] / found["due"]
            if missed < best:
                best = missed
                os.rename(part, path)
                self.measured = measured
                self.wall, self.cpu = measured.wall, measured.cpu
            if missed < 0.5:
                break
            print(f"attempt {attempt}: {missed:.1f} % missed")
        self.path = path
        with open(path, "rb") as f:
            (self.stream,), _ = pyprof_reader.read(f.read())

    def stacks(self, *options):
        """Of the time that was measured."""
        first, measured = self.stream.first, self.measured
        return replay(self.path, "--from", (measured.start - first) / 1e9,
                      "--to", (measured.end - first) / 1e9, *options)

    def shares(self, *options):
        return function_shares(self.stacks(*options))

    def states(self):
        """Percent of the time, by state."""
        expected = RATE * (self.measured.end - self.measured.start) / 1e9
        return states.of_replays(lambda *options: [
            ([name for _, name, _ in frames], n) for _, frames, n in self.stacks(*options)], expected)


@pytest.fixture(scope="module")
def recorded_cache(tmp_path_factory):
    return {"directory": tmp_path_factory.mktemp("modes")}


@pytest.fixture
def recorded(interpreter, start, recorded_cache, workdir):
    """One a version: the tests below ask it."""
    name = interpreter["name"]
    if name not in recorded_cache:
        target = start(interpreter, "modes.py")
        target.expect("ready")
        found = recorded_cache[name] = Recorded(
            target, os.path.join(recorded_cache["directory"], name + ".pyprof"))
        if name == "3.15":
            try:
                found.tachyon = states.of_tachyon(
                    lambda *args: ["nsenter", "-t", str(target.pid), "-m", "-r",
                                   interpreter["exe"], *args],
                    target, os.path.join(workdir, "tachyon.bin"))
            except (RuntimeError, OSError) as e:
                found.tachyon = str(e)
    return recorded_cache[name]


def check_shares(shares, truth):
    """Within two points for each part, and nothing else beside."""
    total = sum(truth.values())
    wanted = {name: 100 * ns / total for name, ns in truth.items()}
    for name, percent in wanted.items():
        assert shares.get(name, 0) == pytest.approx(percent, abs=2), (name, shares, wanted)
    assert sum(shares.get(name, 0) for name in wanted) > 97, shares


@pytest.mark.timing
def test_wall_mode_takes_all_time(recorded):
    check_shares(recorded.shares("--mode", "wall"), recorded.wall)
    assert recorded.shares() == recorded.shares("--mode", "wall")


@pytest.mark.timing
def test_cpu_mode_takes_cpu_time(recorded):
    shares = recorded.shares("--mode", "cpu")
    check_shares(shares, recorded.cpu)
    assert shares.get("sleeping", 0) < 1


@pytest.mark.timing
def test_cpu_time_of_a_thread_is_all_that_it_used(recorded):
    stream = recorded.stream
    (used,) = stream.cpu.values()
    rate = sum(recorded.cpu.values()) / (recorded.measured.end - recorded.measured.start)
    assert used / (stream.last - stream.first) == pytest.approx(rate, abs=0.02)
    assert {"cpu", "cpu-time"} <= set(stream.header["collected"].split())


@pytest.mark.timing
def test_states_take_the_share_of_time_that_they_have(recorded):
    truth = recorded.measured.truth()
    found = recorded.states()
    for state in states.STATES:
        assert found[state] == pytest.approx(truth[state], abs=2), (state, found, truth)


@pytest.mark.timing
@pytest.mark.parametrize("interpreter", ["3.15"], indirect=True)
def test_the_figures_of_profiling_sampling_are_printed_beside_ours(recorded, capsys):
    """For comparison: nothing is asked of them."""
    if isinstance(recorded.tachyon, str):
        pytest.skip(recorded.tachyon)
    truth, (theirs, their_truth) = recorded.measured.truth(), recorded.tachyon
    ours = recorded.states()
    with capsys.disabled():
        print("\n  percent of the time     truth  pyprof   truth  profiling.sampling")
        for state in states.STATES:
            print(f"  {state:<22} {truth[state]:6.1f}  {ours[state]:6.1f}  "
                  f"{their_truth[state]:6.1f}  {theirs[state]:6.1f}")


# What follows is known of each part of the target by what it does, whatever the machine does
# meanwhile: the share of its samples that a mode takes.

def part_counts(stacks):
    found = {}
    for _, frames, count in stacks:
        names = [name.rpartition(".")[2] for _, name, _ in frames]
        if len(names) < 3 or names[-1] == "<moving>":
            continue
        # Between two values it is not in the generator that it handles the exception.
        part = "generator" if names[2] == "generating" and "numbers" in names else names[2]
        found[part] = found.get(part, 0) + count
    return found


def check_rates(part, whole, taken):
    """Of the parts in taken all samples but two in a hundred, of the others no more."""
    rates = {name: round(100 * part.get(name, 0) / whole[name], 1) for name in PARTS}
    # A generator that yields has given up its exceptions some instructions before its frame; and
    # OpenSSL is asked for an algorithm while the GIL is held.
    known_less = {"generator": 6, "hashing": 5}
    for name, rate in rates.items():
        assert rate == pytest.approx(100 if name in taken else 0,
                                     abs=known_less.get(name, 2)), rates


PARTS = {"pure", "hashing", "sleeping", "handling", "propagating", "handled", "undisturbed",
         "generator", "calm_generating", "collecting"}


@pytest.mark.timing
def test_all_parts_were_seen(recorded):
    """The rates below are worth something."""
    found = part_counts(replay(recorded.path))
    assert PARTS <= found.keys() and min(found[name] for name in PARTS) > 100, found


@pytest.mark.timing
def test_gil_mode_takes_what_holds_the_gil(recorded):
    check_rates(part_counts(replay(recorded.path, "--mode", "gil")),
                part_counts(replay(recorded.path)), PARTS - {"sleeping", "hashing"})


@pytest.mark.timing
def test_exception_mode_takes_what_raises_or_handles(recorded):
    check_rates(part_counts(replay(recorded.path, "--mode", "exception")),
                part_counts(replay(recorded.path)), {"handling", "propagating", "generator"})


@pytest.mark.timing
def test_cpu_mode_takes_nothing_that_sleeps(recorded):
    found = part_counts(replay(recorded.path, "--mode", "cpu"))
    assert found.get("sleeping", 0) < 0.08 * found["pure"]  # it goes to sleep, and wakes
    assert all(found[name] > 0 for name in PARTS - {"sleeping"})


@pytest.mark.parametrize("version", VERSIONS)
def test_generators_handle_their_exceptions_as_long_as_they_stand_on_the_stack(version, start,
                                                                               workdir):
    """Whoever else is on it. That an exception is being raised is no matter: to 3.9 each generator ends
    by one."""
    target = start(find_interpreter(version), "generators.py")
    target.expect("ready")
    out = os.path.join(workdir, "out.pyprof")
    pyprof("attach", "-r", "4khz", "-d", "1.5", "--stop-budget", "20", "--binary", "-o", out,
           target.pid, check=True)
    with open(out, "rb") as f:
        (stream,), _ = pyprof_reader.read(f.read(), pyprof_reader.EachSample)
    with open(os.path.join(TARGETS, "generators.py"), encoding="utf-8") as f:
        marks = {i + 1: line.rpartition("# ")[2].strip() for i, line in enumerate(f) if "  # " in line}
    whole, taken = Counter(), Counter()
    for _, _, frames, state in stream.each:
        found = {marks[line] for _, _, line in frames if line in marks}
        if len(frames) > 2 and frames[-1][1] != "<moving>" and state & EXCEPTION_KNOWN and (
                "handles" in found or not found):
            key = frames[2][1], "handles" in found
            whole[key] += 1
            taken[key] += state & HANDLING != 0
    rates = {key: 100 * taken[key] / whole[key] for key in whole}
    known = sum(state & EXCEPTION_KNOWN != 0 for *_, state in stream.each) / len(stream.each)
    print(known, whole, rates)
    assert known > 0.9
    for (part, handles), rate in rates.items():
        if whole[part, handles] >= 20:
            # A machine that others use can stand still where a handler ends.
            assert rate > 90 if handles else rate < 1, rates
    assert len(whole) >= 8


def leaf_total(stacks):
    return sum(count for *_, count in stacks)


def part_leaves(stacks, leaf):
    return part_counts([s for s in stacks if s[1][-1][1] == leaf])


@pytest.mark.timing
def test_gc_frames_are_there_while_garbage_is_collected(recorded):
    stacks = replay(recorded.path)
    check_rates(part_leaves(stacks, "<GC>"), part_counts(stacks), {"collecting"})
    without = replay(recorded.path, "--no-gc")
    assert "<GC>" not in leaf_counts(without)
    assert leaf_total(without) == leaf_total(stacks)


@pytest.mark.timing
def test_native_leaves_are_where_a_thread_works_without_the_gil(recorded):
    stacks = replay(recorded.path, "--native")
    assert "<native>" not in leaf_counts(replay(recorded.path))
    check_rates(part_leaves(stacks, "<native>"), part_counts(stacks), {"sleeping", "hashing"})


@pytest.mark.timing
@pytest.mark.parametrize("mode", ["cpu", "gil", "exception"])
@pytest.mark.parametrize("name", ["3.8", "3.13t", "3.15"])
def test_a_mode_while_recording_has_the_same_truth(name, mode, start, workdir):
    """A recording of a mode has the other samples left out, and nothing else is different."""
    target = start(find_interpreter(name), "modes.py")
    target.expect("ready")
    part = Recorded(target, os.path.join(workdir, "part.pyprof"), "--mode", mode, attempts=2)
    truth = {"cpu": part.cpu,
             "gil": {n: ns for n, ns in part.wall.items() if n not in ("sleeping", "hashing")},
             "exception": {n: part.wall[n] for n in ("handling", "propagating")}}
    shares, total = part.shares(), sum(truth[mode].values())
    if mode == "exception":
        # Of this one it does not know how much of its time it was in the generator.
        rest = 100 - shares.pop("generating")
        shares = {function: 100 * share / rest for function, share in shares.items()}
    for function in shares.keys() | truth[mode].keys():
        assert shares.get(function, 0) == pytest.approx(
            100 * truth[mode].get(function, 0) / total, abs=3), (function, shares, truth[mode])
    assert part.shares("--mode", mode) == part.shares()
    totals = part.stream.statistics
    assert part.stream.header["mode"] == mode and totals["skipped"] > 0
    assert part.stream.samples + totals["skipped"] == totals["achieved"]
    refused = pyprof("replay", "--mode", "wall", part.path)
    assert refused.status == 1 and not refused.out
    assert refused.messages == [f"pyprof: the recording has only samples of mode {mode}: mode wall "
                                "cannot be asked of it"]


SYS_FUTEX = "202"  # in which a thread waits for the GIL


def system_call(pid):
    """Of its main thread: the number, or "running"."""
    with open(f"/proc/{pid}/syscall") as f:
        return f.read().split()[0]


@pytest.mark.timing
@pytest.mark.parametrize("version", [v for v in VERSIONS if not v.endswith("t")])
def test_threads_that_want_the_gil_hold_it_or_wait_for_it(version, start, workdir):
    interpreter = find_interpreter(version)
    code = textwrap.dedent("""\
        import threading, time
        def work():
            while True:
                sum(i * i for i in range(1000))
        for _ in range(2):
            threading.Thread(target=work, daemon=True).start()
        time.sleep(0.2)
        print("ready", flush=True)
        time.sleep(60)
        """)
    target = start(pythons.command(interpreter, ["-c", code]))
    target.expect("ready")
    # Beside those two the main thread takes a while to fall asleep.
    wait_for(lambda: system_call(target.pid) not in ("running", SYS_FUTEX), "it to sleep")
    out = os.path.join(workdir, "out.pyprof")
    pyprof("attach", "-a", "-d", "1", "--binary", "-o", out, target.pid, check=True)
    with open(out, "rb") as f:
        (stream,), _ = pyprof_reader.read(f.read())
    holds = waits = 0
    for tid, states in stream.thread_states.items():
        total = sum(states.values())
        assert all(state & WAIT_KNOWN and state & CPU_KNOWN for state in states)
        gil = 100 * sum(n for state, n in states.items() if state & GIL) / total
        wait = 100 * sum(n for state, n in states.items() if state & WAIT) / total
        if tid == target.pid:
            assert gil < 2 and wait < 2
            continue
        # One that has just let go waits until another has taken it, which is no wish for it.
        assert gil + wait > 70, (gil, wait)
        assert not any(state & GIL and state & WAIT for state in states)
        holds += gil
        waits += wait
    assert holds == pytest.approx(100, abs=8) and waits > 50


# ---- the examples of the documentation of profiling.sampling, by our own words ----

SLEEP_AND_COMPUTE = """\
import time
def wait():
    time.sleep(1.5)
def compute():
    end = time.process_time() + 0.5
    while time.process_time() < end:
        sum(i ** 2 for i in range(1000))
wait()
compute()
"""

HASH_AND_PYTHON = """\
import hashlib, time
def hash_work():
    data = b"data" * 250000
    end = time.process_time() + 0.6
    while time.process_time() < end:
        hashlib.sha256(data).hexdigest()
def python_work():
    end = time.process_time() + 0.6
    while time.process_time() < end:
        sum(i ** 2 for i in range(1000))
hash_work()
python_work()
"""

EXCEPTION_REGIONS = """\
import time
def spin(seconds):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
def in_except():
    spin(0.3)
def cleanup_after():
    spin(0.3)
def cleanup_passing():
    spin(0.3)
def cleanup_calm():
    spin(0.3)
try:
    raise ValueError
except ValueError:
    in_except()
finally:
    cleanup_after()
try:
    try:
        raise ValueError
    finally:
        cleanup_passing()
except ValueError:
    pass
try:
    pass
finally:
    cleanup_calm()
"""


def run_shares(entry, code, workdir, *options):
    """Inclusive shares of functions, in percent."""
    script = os.path.join(workdir, "script.py")
    with open(script, "w") as f:
        f.write(code)
    out = os.path.join(workdir, "out.txt")
    pyprof("run", "-r", "2khz", "--collapsed", "-o", out, *options, "--",
           *pythons.command(entry, [script]), check=True)
    with open(out) as f:
        stacks = collapsed(f.read())
    total = leaf_total(stacks)
    names = {}
    for _, frames, count in stacks:
        for name in {n for _, n, _ in frames}:
            names[name] = names.get(name, 0) + 100 * count / total
    return names


@pytest.mark.timing
@pytest.mark.parametrize("name", ["3.8", "3.11", "3.15"])
def test_a_sleep_dominates_wall_mode_and_is_absent_from_cpu_mode(name, workdir):
    entry = find_interpreter(name)
    wall = run_shares(entry, SLEEP_AND_COMPUTE, workdir, "--mode=wall")
    cpu = run_shares(entry, SLEEP_AND_COMPUTE, workdir, "--mode=cpu")
    assert wall["wait"] > 60 and wall["wait"] > 2 * wall["compute"]
    # What is left is the interpreter's start.
    assert cpu.get("wait", 0) < 1 and cpu["compute"] > 75


@pytest.mark.timing
@pytest.mark.parametrize("name", ["3.8", "3.11", "3.15"])
def test_hashing_weighs_in_cpu_mode_and_hardly_in_gil_mode(name, workdir):
    entry = find_interpreter(name)
    cpu = run_shares(entry, HASH_AND_PYTHON, workdir, "--mode=cpu")
    gil = run_shares(entry, HASH_AND_PYTHON, workdir, "--mode=gil")
    assert cpu["hash_work"] == pytest.approx(cpu["python_work"], abs=5)
    assert gil.get("hash_work", 0) < 15 and gil["python_work"] > 65


@pytest.mark.timing
@pytest.mark.parametrize("name", ["3.8", "3.11", "3.13t", "3.15"])
def test_exception_mode_has_the_regions_that_are_documented(name, workdir):
    found = run_shares(find_interpreter(name), EXCEPTION_REGIONS, workdir, "--mode=exception")
    assert found["in_except"] == pytest.approx(50, abs=8)
    assert found["cleanup_passing"] == pytest.approx(50, abs=8)
    assert found.get("cleanup_after", 0) < 1 and found.get("cleanup_calm", 0) < 1


# ---- special frames ----

CALLED_BACK = """\
import sys, time
def key(n):
    end = time.monotonic() + 0.1
    while time.monotonic() < end:
        pass
    return n
def sort():
    while True:
        sorted([1, 2, 3], key=key)
print("ready", flush=True)
sort()
"""


def test_c_code_between_python_frames_is_marked(interpreter, start, workdir):
    target = start(pythons.command(interpreter, ["-c", CALLED_BACK]))
    target.expect("ready")
    result = pyprof("attach", "-d", "0.3", "--native", "--collapsed", "-o", "-", target.pid,
                    check=True)
    chains = {tuple(name for _, name, _ in frames) for _, frames, _ in collapsed(result.out)}
    if version_of(interpreter["name"]) >= (3, 11):
        assert ("<module>", "sort", "<native>", "key") in chains
        assert not any(("sort", "key") == chain[1:3] for chain in chains)
    else:
        assert ("<module>", "sort", "key") in chains
        assert "does not tell where C code calls Python" in result.err
    plain = pyprof("attach", "-d", "0.2", "--collapsed", "-o", "-", target.pid, check=True)
    assert "<native>" not in plain.out


FINALIZER = """\
import gc, time
class Cycle:
    def __init__(self):
        self.me = self
    def __del__(self):
        end = time.monotonic() + 0.05
        while time.monotonic() < end:
            pass
def collect():
    while True:
        Cycle()
        gc.collect()
print("ready", flush=True)
collect()
"""


def test_a_collection_stands_below_the_finalizers_that_it_runs(start):
    """3.15 tells which frame it interrupts."""
    target = start(pythons.command(find_interpreter("3.15"), ["-c", FINALIZER]))
    target.expect("ready")
    for options in ([], ["--native"]):
        result = pyprof("attach", "-d", "0.3", "--collapsed", "-o", "-", *options, target.pid,
                        check=True)
        stacks = collapsed(result.out)
        inside = sum(count for _, frames, count in stacks if [n for _, n, _ in frames][:4] == [
            "<module>", "collect", "<GC>", "Cycle.__del__"])
        assert inside > 0.9 * leaf_total(stacks), stacks


# ---- selecting ----

THREADS = """\
import threading, time
def even(): time.sleep(60)
def odd(): time.sleep(60)
for i in range(6):
    threading.Thread(target=odd if i % 2 else even, name="worker-%d" % i, daemon=True).start()
time.sleep(0.1)
import json
class Slow(dict):
    def items(self):
        print("ready", flush=True)
        while True:
            time.sleep(60)
json.dumps(Slow(a=1), indent=1)
"""


@pytest.fixture(scope="module")
def threads(tmp_path_factory):
    """The bytes of a recording of all threads of a program, and its file."""
    from support import Target
    target = Target(pythons.command(find_interpreter("3.13"), ["-c", THREADS]))
    try:
        target.expect("ready")
        path = tmp_path_factory.mktemp("threads") / "all.pyprof"
        pyprof("attach", "-a", "-d", "1", "--binary", "-o", path, target.pid, check=True)
        yield target, path
    finally:
        target.close()


SELECTIONS = [
    (["--thread", "worker-*"], 6, {"even", "odd"}),
    (["--thread", "worker-[024]"], 3, {"even"}),
    (["--thread", "MainThread"], 1, {"Slow.items"}),
    (["--function", "odd"], 3, {"odd"}),
    (["--function", "o[a-e]?"], 3, {"odd"}),
    (["--source", "json.encoder"], 1, {"Slow.items"}),
    (["--source", "*/json/*"], 1, {"Slow.items"}),
    (["--source", "threading", "--thread", "worker-5"], 1, {"odd"}),
]


@pytest.mark.parametrize("options,n,leaves", SELECTIONS)
def test_a_selection_is_the_same_asked_of_a_recording_and_while_recording(
        options, n, leaves, threads, workdir):
    target, path = threads
    of_recording = replay(path, *options)
    assert len({tid for tid, *_ in of_recording}) == n
    assert {frames[-1][1] for _, frames, _ in of_recording} == leaves
    everything = [] if "--thread" in options else ["-a"]
    live = pyprof("attach", *everything, "-d", "0.3", "--collapsed", "-o", "-", *options,
                  target.pid, check=True)
    assert {(tid, str(frames)) for tid, frames, _ in collapsed(live.out)} == {
        (tid, str(frames)) for tid, frames, _ in of_recording}
    part = os.path.join(workdir, "part.pyprof")
    pyprof("attach", *everything, "-d", "0.3", "--binary", "-o", part, *options, target.pid,
           check=True)
    result = pyprof("replay", "--collapsed", "-o", "-", part, check=True)
    assert {(tid, str(frames)) for tid, frames, _ in collapsed(result.out)} == {
        (tid, str(frames)) for tid, frames, _ in of_recording}
    assert "there are no other samples" in result.err


def test_a_thread_can_be_named_by_its_id(threads):
    target, path = threads
    for tid in {tid for tid, *_ in replay(path)}:
        assert {found for found, *_ in replay(path, "--thread", tid)} == {tid}
    dump = json.loads(pyprof("dump", "-a", "--json", target.pid, check=True).out)
    (thread,) = [t for t in dump["threads"] if t["name"] == "worker-4"]
    for number in thread["tid"], thread["ident"]:
        assert {found for found, *_ in replay(path, "--thread", number)} == {thread["tid"]}
        live = pyprof("attach", "-d", "0.2", "--collapsed", "-o", "-", "--thread", number,
                      target.pid, check=True)
        assert {found for found, *_ in collapsed(live.out)} == {thread["tid"]}


def test_a_dump_shows_only_what_is_asked_for(threads):
    target, _ = threads
    text = pyprof("dump", "--thread", "worker-3", target.pid, check=True).out
    assert text.count("Stack dump") == 1 and '"worker-3"' in text
    text = pyprof("dump", "-a", "--function", "even", target.pid, check=True).out
    assert text.count("Stack dump") == 3
    nothing = pyprof("dump", "-a", "--function", "nowhere", target.pid)
    assert nothing.status == 6 and not nothing.out
    assert len(nothing.messages) == 1 and "asked for" in nothing.err


def test_nothing_of_what_was_asked_for_is_said_in_a_line(threads, workdir):
    target, path = threads
    result = pyprof("replay", "--function", "nowhere", path)
    assert result.status == 6 and not result.out
    assert result.messages == ["pyprof: no sample is of what was asked for: nothing to write"]
    result = pyprof("attach", "-d", "0.2", "--function", "nowhere", target.pid)
    assert result.status == 6 and "is of what was asked for" in result.messages[0]


def test_a_range_of_time_is_that_part_of_the_recording(threads):
    _, path = threads
    total = leaf_total(replay(path))
    with open(path, "rb") as f:
        (stream,), _ = pyprof_reader.read(f.read())
    middle = (stream.last - stream.first) / 2e9
    half = leaf_total(replay(path, "--from", middle))
    assert half == pytest.approx(total / 2, rel=0.2)
    assert 0 < leaf_total(replay(path, "--from", middle, "--to", middle + 0.1)) < half
    assert half + leaf_total(replay(path, "--to", middle)) == total
    assert leaf_total(replay(path, "--to", "250ms")) == leaf_total(replay(path, "--to", "0.25"))
    parts = [leaf_total(replay(path, "--from", a, "--to", b))
             for a, b in ((0, 0.4), (0.4, 0.5), (0.5, 100))]
    assert sum(parts) == total
    assert pyprof("replay", "--from", "2", "--to", "1", path).status == 2


# ---- what a recording lacks ----

def test_cpu_mode_of_a_recording_without_cpu_time_is_refused(start, workdir):
    target = start(find_interpreter("3.12"), "known.py")
    target.expect("ready")
    out = os.path.join(workdir, "out.pyprof")
    pyprof("attach", "-r", "20khz", "-d", "0.3", "--binary", "-o", out, target.pid, check=True)
    refused = pyprof("replay", "--mode", "cpu", out)
    assert refused.status == 1 and not refused.out
    assert refused.messages == ["pyprof: the recording lacks CPU time: that is recorded with "
                                "--mode cpu, or up to 10000 samples of threads a second"]
    refused = pyprof("replay", "--native", out)
    assert refused.status == 1 and "wait for it" in refused.err
    # Asked for, it is recorded at any rate.
    pyprof("attach", "-r", "20khz", "-d", "0.3", "--native", "--binary", "-o", out, target.pid,
           check=True)
    assert "<native>" in pyprof("replay", "--native", "--collapsed", "-o", "-", out,
                                check=True).out


# ---- several interpreters ----

@pytest.mark.parametrize("version", ["3.12", "3.13", "3.13t", "3.14", "3.15"])
@pytest.mark.parametrize("kind", ["isolated", "legacy"])
def test_each_interpreter_has_the_gil_that_it_has(version, kind, start, workdir):
    """Two that compute: with a GIL each, both hold theirs all the time; with one together they hold
    it in turn, half of the time at most."""
    target = start(find_interpreter(version), "interpreters_busy.py", kind)
    tids = [int(tid) for tid in target.expect("ready").split()]
    out = os.path.join(workdir, "out.pyprof")
    pyprof("attach", "-a", "-d", "1", "--binary", "-o", out, target.pid, check=True)

    def counts(*options):
        found = Counter()
        for tid, frames, count in replay(out, *options):
            # The thread has a state in the main interpreter too, which waits in run() meanwhile.
            if any(name == "compute" for _, name, _ in frames):
                found[tid] += count
        return found

    whole, taken = counts(), counts("--mode", "gil")
    shares = [100 * taken[tid] / whole[tid] for tid in tids]
    if kind == "isolated":
        assert min(shares) > 95, shares
    else:
        assert min(shares) > 15, shares
        assert sum(shares) < (125 if version.endswith("t") else 103), shares
    assert {tid for tid, *_ in replay(out, "--mode", "gil")} >= set(tids)
