"""Samples come at the rate asked for, and their shares are the target's own."""
import bisect
import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections import Counter

import pytest

import pyprof_reader
from pyprof_reader import CPU_TIME_KNOWN, WAIT, WAIT_KNOWN
from support import (PYPROF, TARGETS, collapsed, counts, leaf_counts, leaf_shares, pyprof, pythons,
                     state, undisturbed, wait_for)


# For what does not differ by version, but for how the stacks are read.
SOME = ["3.8", "3.12", "3.15"]


def sample(pid, *options):
    """2 s at 1 kHz: the counts, and the stacks."""
    result = pyprof("attach", "-r", "1khz", "-d", "2", "--collapsed", "-o", "-", *options, pid,
                    check=True)
    return counts(result), collapsed(result.out), result


def check_rate(found):
    assert found["due"] == 2000
    assert found["achieved"] >= 0.98 * found["due"], found
    assert found["lost"] <= 0.005 * found["due"], found
    assert found["due"] == found["achieved"] + found["missed"] + found["lost"]


@pytest.mark.timing
def test_idle_target_is_sampled_at_the_rate_and_seen_where_it_sleeps(interpreter, start):
    target = start(interpreter, "known.py")
    target.expect("ready")
    found, stacks, _ = undisturbed(lambda: sample(target.pid), [target.pid])
    check_rate(found)
    assert sum(count for *_, count in stacks) == found["achieved"]
    (only,) = stacks
    assert [function for _, function, _ in only[1]] == [
        "<module>", "known_base", "known_middle", "known_leaf"]
    assert only[0] == target.pid


def sums(target):
    os.kill(target.pid, signal.SIGUSR1)
    return {name: int(ns) for name, _, ns in
            (word.partition("=") for word in target.expect("sums").split())}


@pytest.mark.timing
def test_busy_target_is_sampled_at_the_rate_with_the_shares_it_measures(interpreter, start):
    target = start(interpreter, "shares.py")
    target.expect("ready")

    def measure():
        before = sums(target)
        result = sample(target.pid)
        after = sums(target)
        return result, {name: after[name] - before[name] for name in before}

    (found, stacks, result), truth = undisturbed(measure, [target.pid])
    check_rate(found)
    total = sum(truth.values())
    shares = leaf_shares(stacks)
    print(found, shares, {name: 100 * ns / total for name, ns in truth.items()})
    for name, ns in truth.items():
        assert shares[name] == pytest.approx(100 * ns / total, abs=2), (shares, truth)
    # Nothing but them, and the loop around them.
    assert sum(shares[name] for name in truth) > 97, shares


def test_threads_that_sleep_are_seen_where_they_sleep_each_time(interpreter, start):
    """What tells that a thread sleeps on must tell the lines of all its frames."""
    target = start(interpreter, "sleepers.py")
    target.expect("ready")
    result = pyprof("attach", "-a", "-r", 400, "-d", 1, "--collapsed", "-o", "-", target.pid,
                    check=True)
    found = {}
    for thread, frames, count in collapsed(result.out):
        for _, function, line in frames:
            if function in ("wide", "over"):
                lines = found.setdefault((thread, function), {})
                lines[line] = lines.get(line, 0) + count
    print(found)
    assert sorted(function for _, function in found) == ["over", "over", "wide"]
    for lines in found.values():
        # The two, and now and then the one that leads back.
        first, second, *others = sorted(lines.values(), reverse=True)
        assert second > 0.35 * sum(lines.values())
        assert sum(others) < 0.05 * sum(lines.values())


@pytest.mark.parametrize("interpreter", ["3.8", "3.11", "3.12", "3.13", "3.13t", "3.14", "3.15"],
                         indirect=True)
@pytest.mark.parametrize("rate,busy", [(100, 2), (1000, 0), (1000, 2)])
def test_threads_that_slept_elsewhere_since_are_not_taken_to_have_slept_on(
        interpreter, start, workdir, rate, busy):
    """Of many that rest, all but those who ran: each knows where it is at each instant, and since
    when it wants to be elsewhere, and waits for the GIL."""
    target = start(interpreter, "turns.py", 60, busy)
    target.expect("ready")
    out = os.path.join(workdir, "out.pyprof")
    pyprof("attach", "-a", "-r", rate, "-d", 1, "--binary", "-o", out, target.pid, check=True)
    with open(out, "rb") as f:
        ((stream,), _) = pyprof_reader.read(f.read(), pyprof_reader.EachSample)
    with open(os.path.join(TARGETS, "turns.py"), encoding="utf-8") as f:
        lines = f.read().splitlines()
    places = {i + 1: line.rpartition("# ")[2] for i, line in enumerate(lines) if "# " in line}
    target.say("over")
    came = json.loads(target.line())
    right = wrong = 0
    waits = {(want, got): 0 for want in (False, True) for got in (False, True)}
    for time_ns, name, frames, bits in stream.each:
        where = [places[line] for _, function, line in frames
                 if function.rpartition(".")[2] == "over" and line in places]
        if not where or not name.startswith("turn-"):
            continue
        # The instant is somewhere in the tick; and when it says that it comes it is not there yet.
        at, turns = time_ns / 1e9, came[int(name[5:])]
        i = bisect.bisect(turns, [at - 0.03, 0])
        if 0 < i < len(turns) and turns[i][0] > at + 0.03:
            good = where == [("even", "odd")[int(turns[i - 1][1]) % 2]]
            right, wrong = right + good, wrong + (not good)
        i = bisect.bisect(turns, [at, 0])
        if bits & WAIT_KNOWN and 0 < i < len(turns):
            left, due, comes = turns[i - 1][0], turns[i][2], turns[i][0]
            if left + 0.002 < at < due - 0.002 or due + 0.002 < at < comes - 0.002:
                waits[at > due, bool(bits & WAIT)] += 1
    print(right, wrong, waits, stream.statistics)
    assert right > 60 * rate * 0.2
    assert wrong == 0
    if rate == 1000 and interpreter["name"] == "3.15":
        assert waits[False, False] > 60 * rate * 0.2
        assert waits[False, True] <= waits[False, False] / 1000
        # One that wakes late on a busy machine does not wait for the GIL meanwhile.
        if busy:
            assert waits[True, True] > 60 * rate * 0.004
            assert waits[True, False] <= waits[True, True] / 10


def test_threads_that_start_and_end_are_sampled_whole_or_counted_lost(interpreter, start):
    target = start(interpreter, "churn.py")
    target.expect("ready")
    found, stacks, result = sample(target.pid, "-a", "-r", "5khz")
    assert state(target.pid) in "RS"
    target.say("over")
    assert int(target.expect("started")) > 50
    assert target.process.wait(30) == 0
    chains = {tuple(function.rpartition(".")[2] for _, function, _ in frames)
              for _, frames, _ in stacks}
    whole = ("_bootstrap", "_bootstrap_inner", "run", "worker", "short_task")
    assert whole in chains
    for chain in chains:
        if chain[-1] == "<moving>":
            chain = chain[:-1]
        # A task only ever runs in a worker, and that at the base of a thread of its own.
        if "short_task" in chain or "worker" in chain:
            assert chain[:len(whole)] == whole[:len(chain)], chain
        assert "churn" not in chain or chain[0] == "<module>", chain
    assert len({tid for tid, *_ in stacks}) > 20
    assert found["due"] == found["achieved"] + found["missed"] + found["lost"]


@pytest.mark.parametrize("interpreter", SOME, indirect=True)
def test_recording_ends_well_when_the_target_does(interpreter, start, workdir):
    target = start(interpreter, "churn.py")
    target.expect("ready")
    out = os.path.join(workdir, "out.pyprof")
    recorder = subprocess.Popen([PYPROF, "attach", "-a", "--binary", "-o", out, str(target.pid)],
                                stderr=subprocess.PIPE, text=True)
    wait_for(lambda: os.path.exists(out) and os.path.getsize(out) > 0, "a recording")
    time.sleep(0.6)  # something to record
    target.say("over")
    assert target.process.wait(30) == 0
    err = recorder.communicate(timeout=30)[1]
    assert recorder.returncode == 0, err
    assert "warning" not in err
    replayed = pyprof("replay", "--collapsed", "-o", "-", out, check=True)
    assert "warning" not in replayed.err
    assert "worker" in replayed.out and "churn" in replayed.out


@pytest.mark.parametrize("interpreter", SOME, indirect=True)
def test_recording_goes_on_over_an_exec(interpreter, start):
    script = os.path.join(TARGETS, "lives.py")
    target = start(interpreter, "lives.py", 1, interpreter["exe"], script, 2)
    target.expect("life")
    result = pyprof("attach", "--collapsed", "-o", "-", target.pid, check=True)
    assert target.line() == "life 2"
    assert target.process.wait(30) == 0
    found = leaf_counts(collapsed(result.out))
    assert found["life_1"] > 200 and found["life_2"] > 200


@pytest.mark.parametrize("interpreter", ["3.11", "3.14"], indirect=True)
def test_program_that_executes_itself_at_the_same_addresses_is_another_one(interpreter, start, workdir):
    """As Debian's interpreters do. To the reader nothing changes but the threads."""
    out = os.path.join(workdir, "out.pyprof")
    target = start(interpreter, "lives.py", 1, interpreter["exe"], os.path.join(TARGETS, "lives.py"), 2)
    target.expect("life")
    pyprof("attach", "--binary", "-o", out, target.pid, check=True)
    with open(out, "rb") as f:
        streams, _ = pyprof_reader.read(f.read())
    assert [s.summary["end"] for s in streams] == ["exec", "target exited"]
    for stream, name in zip(streams, ["life_1", "life_2"]):
        asked = sum(n for state, n in stream.states.items() if state & CPU_TIME_KNOWN)
        assert asked > 0.9 * stream.samples > 200, (name, stream.states)
    found = leaf_counts(collapsed(pyprof("replay", "--mode", "cpu", "--collapsed", "-o", "-", out).out))
    assert found["life_1"] > 50 and found["life_2"] > 50, found


def test_recording_ends_well_when_the_target_becomes_no_python(python3, start):
    target = start(python3, "lives.py", 1, "/bin/sleep", "30")
    target.expect("life")
    result = pyprof("attach", "--collapsed", "-o", "-", target.pid)
    assert result.status == 0, result
    assert "life_1" in result.out and "became another program" in result.err
    assert state(target.pid) == "S"


def test_run_samples_a_script_from_its_first_to_its_last_line(interpreter, workdir):
    out = os.path.join(workdir, "out.txt")
    script = os.path.join(TARGETS, "lives.py")
    result = pyprof("run", "--collapsed", "-o", out, "--",
                    *pythons.command(interpreter, [script, "1"]))
    assert result.status == 0, result
    assert result.out == "life 1\n"
    with open(out) as f:
        assert "life_1" in f.read()


@pytest.mark.parametrize("interpreter", SOME, indirect=True)
def test_threads_have_their_names_from_their_beginning(interpreter):
    """Also where threading is imported long after the first look for it, and all at once."""
    result = pyprof("run", "-a", "--collapsed", "-o", "-", "--thread", "late-*", "--",
                    *pythons.command(interpreter, [os.path.join(TARGETS, "late_threads.py")]), check=True)
    samples = {}
    for tid, _, count in collapsed(result.out):
        samples[tid] = samples.get(tid, 0) + count
    # 250 each: what of them is before the name does not count as of it.
    assert len(samples) == 8 and min(samples.values()) > 180, (samples, result.err)
    main = pyprof("run", "-a", "--collapsed", "-o", "-", "--thread", "MainThread", "--",
                  *pythons.command(interpreter, [os.path.join(TARGETS, "late_threads.py")]), check=True)
    assert sum(count for _, _, count in collapsed(main.out)) > 200, main


@pytest.mark.timing
@pytest.mark.parametrize("budget", ["3%", "100%"])
@pytest.mark.parametrize("interpreter", ["3.11", "3.15"], indirect=True)
def test_samples_do_not_gather_at_the_ends_of_system_calls(interpreter, budget, start):
    """As those by an interrupt do, while it travels: then the short function is seen in few."""
    target = start(interpreter, "calls.py")
    target.expect("ready")

    def measure():
        target.say("")
        before = json.loads(target.line())
        result = pyprof("attach", "-a", "-r", "1khz", "-d", "2", "--stop-budget", budget, "--collapsed",
                        "-o", "-", target.pid, check=True)
        target.say("")
        truth = {name: ns - before[name] for name, ns in json.loads(target.line()).items()}
        found = Counter()
        for _, frames, count in collapsed(result.out):
            found.update({name: count for _, name, _ in frames if name in truth})
        return tuple(100 * which["short"] / sum(which.values()) for which in (truth, found)), result
    for _ in range(3):
        (truth, found), result = measure()
        if abs(truth - found) < 4:
            break
    assert abs(truth - found) < 4, (truth, found, result.err)


@pytest.mark.parametrize("interpreter", ["3.11", "3.13t", "3.15"], indirect=True)
def test_a_thread_has_its_kernel_id_from_its_beginning(interpreter, start):
    target = start(interpreter, "late_identity.py", 0.7)
    tid = int(target.expect("ready"))
    result = pyprof("attach", "-a", "-d", "1.5", "--collapsed", "-o", "-", target.pid, check=True)
    found = Counter()
    for number, _, count in collapsed(result.out):
        found[number] += count
    assert set(found) == {target.pid, tid} and 400 < found[tid] < 1000, (found, result.err)


# ---- run: what passes through ----

def run_code(code, *options, **more):
    return pyprof("run", *options, "--", sys.executable, "-c", code, **more)


@pytest.mark.parametrize("status", [0, 1, 3, 125, 255])
def test_run_ends_with_the_status_of_the_target(status, workdir):
    code = f"import time, sys; time.sleep(0.3); sys.exit({status})"
    assert run_code(code, cwd=workdir).status == status


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_run_ends_with_128_and_the_signal_that_ended_the_target(number, workdir):
    code = f"import time, os; time.sleep(0.3); os.kill(os.getpid(), {int(number)})"
    assert run_code(code, cwd=workdir).status == 128 + number


def test_run_passes_input_and_outputs_through(workdir):
    code = ("import sys, time; time.sleep(0.3); t = sys.stdin.read(); print(t.upper(), end='');"
            "print('to stderr', file=sys.stderr)")
    with open(os.path.join(workdir, "in"), "w+") as f:
        f.write("some input\n")
        f.seek(0)
        result = run_code(code, "--collapsed", "-o", "o.txt", stdin=f, cwd=workdir)
    assert result.status == 0, result
    assert result.out == "SOME INPUT\n"
    assert "to stderr" in result.messages


def test_run_passes_arguments_that_look_like_options_to_the_script(workdir):
    script = os.path.join(workdir, "s.py")
    with open(script, "w") as f:
        f.write("import sys, time; time.sleep(0.3); print(sys.argv[1:])\n")
    result = pyprof("run", "--collapsed", "-o", os.path.join(workdir, "o.txt"),
                    "--python", sys.executable, script, "-d", "--help", "--", "x")
    assert result.status == 0, result
    assert result.out == "['-d', '--help', '--', 'x']\n"


def test_run_takes_a_module(workdir):
    with open(os.path.join(workdir, "amodule.py"), "w") as f:
        f.write("import time\ndef here(): time.sleep(0.5)\nhere()\nprint(__name__)\n")
    result = pyprof("run", "--collapsed", "-o", "o.txt", "--python", sys.executable,
                    "-m", "amodule", cwd=workdir)
    assert (result.status, result.out) == (0, "__main__\n"), result
    with open(os.path.join(workdir, "o.txt")) as f:
        assert ":here:" in f.read()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_run_hands_a_signal_on_to_the_target_and_reports(number, workdir):
    code = ("import signal, sys, time\n"
            f"signal.signal({int(number)}, lambda *_: sys.exit(7))\n"
            "print('ready', flush=True)\n"
            "def sleeping(): time.sleep(60)\n"
            "sleeping()\n")
    out = os.path.join(workdir, "o.txt")
    p = subprocess.Popen([PYPROF, "run", "--collapsed", "-o", out, "--", sys.executable, "-c",
                          code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert p.stdout.readline() == "ready\n"
    time.sleep(0.5)  # something to record
    p.send_signal(number)
    err = p.communicate(timeout=30)[1]
    assert p.returncode == 7, err
    with open(out) as f:
        assert ":sleeping:" in f.read()


def test_run_d_ends_the_target_when_the_time_is_over_and_says_so(workdir):
    began = time.monotonic()
    result = run_code("import time\ntime.sleep(60)", "-d", "1", cwd=workdir)
    assert result.status == 0, result
    assert 1 <= time.monotonic() - began < 15
    assert "the time is over" in result.err


def test_attach_d_leaves_the_target_alone(interpreter, start):
    target = start(interpreter, "known.py")
    target.expect("ready")
    pyprof("attach", "-d", "0.3", target.pid, check=True)
    assert state(target.pid) == "S"
    assert target.process.poll() is None


def test_interrupted_attach_reports_what_it_has(start, python3, workdir):
    target = start(python3, "known.py")
    target.expect("ready")
    out = os.path.join(workdir, "o.pyprof")
    p = subprocess.Popen([PYPROF, "attach", "--binary", "-o", out, str(target.pid)],
                         stderr=subprocess.PIPE, text=True)
    wait_for(lambda: os.path.exists(out) and os.path.getsize(out) > 0, "a recording")
    time.sleep(0.5)  # something to record
    p.send_signal(signal.SIGINT)
    err = p.communicate(timeout=30)[1]
    assert p.returncode == 0, err
    replayed = pyprof("replay", "--collapsed", "-o", "-", out, check=True)
    assert ":known_leaf:" in replayed.out and "warning" not in replayed.err
    assert state(target.pid) == "S"


def test_what_is_written_is_readable_by_its_owner(start, python3, workdir):
    target = start(python3, "known.py")
    target.expect("ready")
    out = os.path.join(workdir, "o.pyprof")
    pyprof("attach", "-d", "0.3", "--binary", "-o", out, target.pid, check=True)
    found = os.stat(out)
    assert stat.S_ISREG(found.st_mode) and found.st_mode & 0o600 == 0o600
    assert found.st_uid == os.geteuid()
