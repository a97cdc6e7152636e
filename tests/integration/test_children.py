"""--subprocesses: every Python that descends from the target is recorded, each by itself, and what is
recorded is what it says of itself."""
import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections import Counter

import pytest

import pyprof_reader
from conftest import find_interpreter
from support import (PYPROF, PYPROFD, SANITIZED, TARGETS, VERSIONS, Target, children, collapsed,
                     pyprof, pythons, state, wait_for, wait_for_socket)

WHOLE = ["3.9", "3.12", "3.15"]
FAMILY = os.path.join(TARGETS, "family.py")
OWN = re.compile(r"(work|outer|inner)_(\d+)$")
# Of what a process says it worked, and of the samples that were not missed: the rest is what starting
# a session takes on a busy machine, and longer where the session is a sanitized one.
SHARE = 0.1 if SANITIZED else 0.4
GRACE_MS = 25
root_only = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")


@pytest.fixture(params=WHOLE)
def whole(request):
    return find_interpreter(request.param)


@pytest.fixture
def python312():
    return find_interpreter("3.12")


def told(report):
    """What the processes said of themselves: {pid: {number: seconds}}, {pid: parent}."""
    worked, parents = {}, {}
    with open(report) as f:
        for line in f:
            pid, parent, number, seconds = line.split()
            numbers = worked.setdefault(int(pid), Counter())
            numbers[int(number)] += float(seconds)
            parents[int(pid)] = int(parent)
    return worked, parents


def own_samples(text, pid):
    """How often each number was on a stack; no stack may have two of them, nor another process."""
    sums = Counter()
    for tid, frames, count in collapsed(text):
        numbers = {match[2] for _, function, _ in frames if (match := OWN.match(function))}
        assert len(numbers) <= 1, frames
        chain = [match[1] for _, function, _ in frames if (match := OWN.match(function))]
        assert chain == ["work", "outer", "inner"][:len(chain)], frames
        assert tid == pid, (tid, frames)
        for number in numbers:
            sums[int(number)] += count
    return sums


def coverage(err, pid):
    """The share of the samples of a process that was not missed, of its summary line."""
    found = re.search(rf"process {pid}, [^:]*: [\d.]+ s: due (\d+), achieved (\d+)", err)
    return int(found[2]) / int(found[1])


def check_profile(text, pid, numbers, share=1.0):
    """Held against what the process said."""
    sums = own_samples(text, pid)
    assert set(sums) <= set(numbers), (sums, numbers)
    for number, seconds in numbers.items():
        assert sums[number] >= SHARE * share * (1000 * seconds - GRACE_MS), (pid, sums, numbers)
        assert sums[number] <= 1000 * seconds * 1.02 + 5, (pid, number, sums, numbers)


def run(entry, workdir, *mode, output=("--collapsed", "-o", "p.txt"), program=(), **options):
    report = os.path.join(workdir, "report")
    argv = [*program, PYPROF, "run", "--subprocesses", "-r", "1khz", *output, "--",
            *pythons.command(entry, [FAMILY, report, *map(str, mode)])]
    p = subprocess.run(argv, cwd=workdir, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       timeout=120, **options)
    err = p.stderr.decode()
    assert "Sanitizer" not in err and "runtime error:" not in err, err
    return p.returncode, p.stdout.decode(), err, *told(report)


def read(workdir, name):
    with open(os.path.join(workdir, name)) as f:
        return f.read()


def check_files(workdir, worked, target, err):
    """A file of each process, with the pid before the extension, but of the target."""
    for pid, numbers in worked.items():
        name = "p.txt" if pid == target else f"p_{pid}.txt"
        check_profile(read(workdir, name), pid, numbers, coverage(err, pid))


MODES = ["fork", "spawn", "forkserver", "pool", "subprocess", "exec", "shell"]


@pytest.mark.parametrize("mode", MODES)
def test_each_process_is_recorded_by_itself(whole, workdir, mode):
    status, _, err, worked, _ = run(whole, workdir, mode)
    assert status == 0, err
    (target,) = [pid for pid, numbers in worked.items() if 0 in numbers]
    assert sorted(n for numbers in worked.values() for n in numbers) == sorted(
        {"exec": [0, 1, 2], "shell": [0, 1]}.get(mode, [0, 1, 2])), worked
    check_files(workdir, worked, target, err)
    assert f"process {target}, target exited: " in err
    assert re.search(rf"^pyprof: \d+ process(es)?, together ", err, re.M), err


@pytest.mark.parametrize("version", [v for v in VERSIONS if v not in WHOLE])
def test_a_forked_child_is_recorded_by_itself(version, workdir):
    status, _, err, worked, _ = run(find_interpreter(version), workdir, "fork")
    assert status == 0, err
    (target,) = [pid for pid, numbers in worked.items() if 0 in numbers]
    check_files(workdir, worked, target, err)


def test_what_outlives_the_target_is_recorded_to_its_end(whole, workdir):
    status, _, err, worked, parents = run(whole, workdir, "daemon")
    assert status == 0, err
    (target,) = [pid for pid, numbers in worked.items() if 0 in numbers]
    (daemon,) = [pid for pid, numbers in worked.items() if 1 in numbers]
    assert parents[daemon] != target
    check_files(workdir, worked, target, err)
    assert re.search(r"process \d+ has ended, 1 that descends from it are still recorded", err), err


@root_only
@pytest.mark.parametrize("mode", ["fork", "subprocess", "exec", "daemon"])
def test_without_the_kernels_events_descendants_are_found_too(python312, workdir, mode):
    # In another network namespace they are not to be had.
    status, _, err, worked, _ = run(python312, workdir, mode, program=["unshare", "-n"])
    assert status == 0, err
    assert "by reading the children of each" in err
    (target,) = [pid for pid, numbers in worked.items() if 0 in numbers]
    check_files(workdir, worked, target, err)


def watch(process, stop, found):
    """The most descriptors that a process had, and children whose remains lay for a second."""
    while not stop.wait(0.02):
        try:
            found["fds"] = max(found["fds"], len(os.listdir(f"/proc/{process.pid}/fd")))
            zombies = [pid for pid in children(process.pid) if state(pid) == "Z"]
        except (FileNotFoundError, ProcessLookupError):
            break
        now = time.monotonic()
        found["seen"] = {pid: found["seen"].get(pid, now) for pid in zombies}
        found["zombies"] |= {pid for pid, since in found["seen"].items() if now - since > 1}


def record_500(entry, workdir):
    """The children without a sample of their own work, and what else there is to know."""
    for name in os.listdir(workdir):
        os.unlink(os.path.join(workdir, name))
    report = os.path.join(workdir, "report")
    process = subprocess.Popen(
        [PYPROF, "run", "--subprocesses", "--collapsed", "-o", "p.txt", "--",
         *pythons.command(entry, [FAMILY, report, "short", "500", "0.05"])],
        cwd=workdir, stderr=subprocess.PIPE)
    stop, found = threading.Event(), {"fds": 0, "zombies": set(), "seen": {}}
    watcher = threading.Thread(target=watch, args=(process, stop, found))
    watcher.start()
    err = process.communicate(timeout=150)[1].decode()
    stop.set()
    watcher.join()
    assert process.returncode == 7, err
    worked, _ = told(report)
    assert len(worked) == 501
    (target,) = [pid for pid, numbers in worked.items() if 0 in numbers]
    missing, absent = [], 0
    for pid, numbers in worked.items():
        name = f"p_{pid}.txt"
        if pid == target:
            continue
        if not os.path.exists(os.path.join(workdir, name)):
            missing.append(pid)
            absent += 1
            continue
        sums = own_samples(read(workdir, name), pid)
        assert set(sums) <= set(numbers), (sums, numbers)
        if not sums:
            missing.append(pid)
    told_of = sum(map(int, re.findall(r"(\d+) descendants? ended before", err)))
    assert absent <= told_of, (absent, err)
    # A session, or a few, of those that live and of those that just ended.
    assert found["fds"] < 60, found
    assert len(found["zombies"] - {target}) == 0, found
    assert re.search(r"^pyprof: \d+ more: ", err, re.M), err
    return missing, err


@pytest.mark.timing
@pytest.mark.parametrize("version", ["3.9", "3.15"])
def test_of_500_short_lived_children_none_is_missed(version, workdir):
    entry = find_interpreter(version)
    # Sessions start in milliseconds where there is a CPU to be had: a machine that others use gets
    # another chance, but nobody is missed without being told of.
    for _ in range(4):
        missing, err = record_500(entry, workdir)
        if not missing:
            break
    assert not missing, (missing, err)
    assert len(glob.glob(os.path.join(workdir, "p_*.txt"))) == 500


# What Yama refuses at 1 to those who have no CAP_SYS_PTRACE is what the kernel refuses of processes that
# are not dumpable; where there is no Yama, a file that says 1 makes it its doing.
YAMA = """\
set -e
cap=$(cat /proc/sys/kernel/cap_last_cap) boot=$(cat /proc/sys/kernel/random/boot_id)
mount -t tmpfs none /proc/sys/kernel
mkdir /proc/sys/kernel/yama /proc/sys/kernel/random
echo 1 > /proc/sys/kernel/yama/ptrace_scope
echo $cap > /proc/sys/kernel/cap_last_cap
echo $boot > /proc/sys/kernel/random/boot_id
mount -t tmpfs none /run
if test -n "$PYPROFD"; then
    "$PYPROFD" --socket /run/pyprofd.sock & trap "kill $!" EXIT
    until python3 -c 'import socket; socket.socket(socket.AF_UNIX).connect("/run/pyprofd.sock")' 2>/dev/null
    do sleep 0.01; done
fi
setpriv --bounding-set=-sys_ptrace --inh-caps=-all -- "$@"
"""


def run_under_yama(entry, workdir, pyprofd=""):
    return run(entry, workdir, "undumpable", 6, program=["unshare", "-m", "sh", "-c", YAMA, "sh"],
               env={**os.environ, "PYPROFD": pyprofd})


@root_only
def test_what_yama_keeps_from_us_is_told_once_and_counted(workdir, python3):
    status, _, err, worked, _ = run_under_yama(python3, workdir)
    assert status == 0, err
    (target,) = [pid for pid, numbers in worked.items() if 0 in numbers]
    told_of = [line for line in err.splitlines() if "ptrace_scope" in line]
    assert len(told_of) == 1, err
    assert re.match(r"pyprof: process \d+ cannot be read: kernel.yama.ptrace_scope is 1, ", told_of[0])
    assert "only the target itself can be read; start the container with" in told_of[0]
    assert "pyprof: 6 descendants could not be read" in err.splitlines()
    assert glob.glob(os.path.join(workdir, "p*.txt")) == [os.path.join(workdir, "p.txt")]
    check_profile(read(workdir, "p.txt"), target, worked[target], coverage(err, target))


@root_only
def test_what_yama_keeps_from_us_a_daemon_shows(workdir, python3):
    status, _, err, worked, _ = run_under_yama(python3, workdir, PYPROFD)
    assert status == 0, err
    assert "ptrace_scope" not in err
    (target,) = [pid for pid, numbers in worked.items() if 0 in numbers]
    for pid, numbers in worked.items():
        name = "p.txt" if pid == target else f"p_{pid}.txt"
        assert set(own_samples(read(workdir, name), pid)) == set(numbers), err


# ---- one recording ----

@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    entry = find_interpreter("3.12")
    workdir = str(tmp_path_factory.mktemp("recorded"))
    status, _, err, worked, parents = run(entry, workdir, "fork",
                                          output=("--binary", "-o", "r.pyprof"))
    assert status == 0, err
    return os.path.join(workdir, "r.pyprof"), worked, parents


def test_a_recording_has_a_stream_of_each_process(recorded):
    path, worked, parents = recorded
    with open(path, "rb") as f:
        streams, skipped = pyprof_reader.read(f.read())
    assert skipped == 0
    assert {s.header["pid"] for s in streams} == set(worked)
    (target,) = [pid for pid, numbers in worked.items() if 0 in numbers]
    for s in streams:
        pid = s.header["pid"]
        assert s.header["parent"] == (0 if pid == target else parents[pid])
        assert s.header["subprocesses"] in ("connector", "children", "scan")
        assert s.summary["end"] == "target exited"
        assert s.samples == s.summary["totals"]["achieved"]
    assert len({s.number for s in streams}) == len(streams)


def test_replay_shows_each_process_by_itself(recorded):
    path, worked, _ = recorded
    for pid, numbers in worked.items():
        result = pyprof("replay", "--pid", pid, "--collapsed", "-o", "-", path, check=True)
        check_profile(result.out, pid, numbers)


def test_replay_shows_all_processes_below_a_frame_of_each(recorded):
    path, worked, _ = recorded
    result = pyprof("replay", "--collapsed", "-o", "-", path, check=True)
    parts = {}
    for line in result.out.splitlines():
        head, _, rest = line.partition(";")
        parts.setdefault(head, []).append(rest)
    assert set(parts) == {f"pid:{pid}" for pid in worked}
    for pid, numbers in worked.items():
        check_profile("\n".join(parts[f"pid:{pid}"]), pid, numbers)
    assert "3 processes in one profile" in result.err


def test_replay_of_some_processes_is_the_sum_of_each(recorded):
    path, worked, _ = recorded
    pids = sorted(worked)[:2]
    both = pyprof("replay", "--pid", ",".join(map(str, pids)), "--collapsed", "-o", "-", path,
                  check=True)
    single = [f"pid:{pid};{line}" for pid in pids for line in
              pyprof("replay", "--pid", pid, "--collapsed", "-o", "-", path,
                     check=True).out.splitlines()]
    assert sorted(both.out.splitlines()) == sorted(single)


def test_pstats_has_a_row_of_each_process(recorded, workdir):
    import marshal
    path, worked, _ = recorded
    pyprof("replay", "-o", os.path.join(workdir, "p.pstats"), path, check=True)
    with open(os.path.join(workdir, "p.pstats"), "rb") as f:
        stats = marshal.load(f)
    for pid in worked:
        single = pyprof("replay", "--pid", pid, "--collapsed", "-o", "-", path, check=True)
        total = sum(count for *_, count in collapsed(single.out))
        assert stats["~", 0, f"pid:{pid}"][:2] == (0, total)


def test_a_process_that_is_not_in_the_recording_is_said(recorded):
    path, worked, _ = recorded
    result = pyprof("replay", "--pid", f"{min(worked)},1", path)
    assert result.status == 1
    assert result.out == ""
    assert result.messages == [
        f"pyprof: process 1 is not in {path}: there are "
        + ", ".join(re.findall(r"\d+", result.messages[0].partition("there are ")[2]))]
    assert {int(p) for p in re.findall(r"\d+", result.messages[0].partition("there are ")[2])} \
        == set(worked)


@pytest.mark.parametrize("pids", ["", "x", "0", "-1", "12,", "12,,13", "99999999999999999999"])
def test_a_list_of_processes_that_is_none_is_refused(recorded, pids):
    result = pyprof("replay", f"--pid={pids}", recorded[0])
    assert result.status == 2
    assert "process ids, separated by commas" in result.err


def test_a_recording_cut_anywhere_is_read_up_to_there(python312, start, workdir):
    target = start(python312, "family.py", os.path.join(workdir, "report"), "idle", 2,
                   start_new_session=True)
    target.expect("ready")
    path = os.path.join(workdir, "r.pyprof")
    pyprof("attach", "--subprocesses", "-d", "4", "--binary", "-o", path, target.pid, check=True)
    target.say("end")
    with open(path, "rb") as f:
        data = f.read()
    whole = sum(s.samples for s in pyprof_reader.read(data)[0])
    for part in (0.6, 0.75, 0.9):
        cut = data[:int(len(data) * part)]
        with open(path, "wb") as f:
            f.write(cut)
        streams, _ = pyprof_reader.read(cut)
        expected = sum(s.samples for s in streams)
        assert 0 < expected < whole
        result = pyprof("replay", "--collapsed", "-o", "-", path, check=True)
        assert "the recording is cut" in result.err
        counted = sum(int(line.rpartition(" ")[2]) for line in result.out.splitlines())
        assert counted == expected - sum(1 for s in streams for (_, frames), n in s.stacks.items()
                                         if not frames for _ in range(n))


# ---- where the results go ----

def test_the_standard_output_gets_one_profile_of_all(python312, workdir):
    status, out, err, worked, _ = run(python312, workdir, "fork", output=("--collapsed", "-o", "-"))
    assert status == 0, err
    assert {line.partition(";")[0] for line in out.splitlines()} == {f"pid:{p}" for p in worked}
    assert os.listdir(workdir) == ["report"]


@pytest.mark.parametrize("output, main, other", [
    ((), None, "profile_{}.pstats"),
    (("--collapsed",), "collapsed_{}.txt", "collapsed_{}.txt"),
    (("-o", "p.x.pstats"), "p.x.pstats", "p.x_{}.pstats"),
    (("--collapsed", "-o", "plain"), "plain", "plain_{}"),
    (("--collapsed", "-o", ".hidden"), ".hidden", ".hidden_{}"),
    (("--collapsed", "-o", "."), "collapsed_{}.txt", "collapsed_{}.txt"),
])
def test_files_are_named_as_the_original_names_them(python312, workdir, output, main, other):
    status, out, err, worked, _ = run(python312, workdir, "fork", output=output)
    assert status == 0, err
    (target,) = [pid for pid, numbers in worked.items() if 0 in numbers]
    expected = {other.format(pid) for pid in worked if pid != target}
    if main:
        expected.add(main.format(target))
    else:
        assert "Profile Stats:" in out
    assert set(os.listdir(workdir)) - {"report"} == expected


# ---- attach ----

def ask(port, count):
    """What workers answered."""
    answers = Counter()
    for _ in range(count):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
            answers[tuple(map(int, s.makefile().readline().split()))] += 1
    return answers


def test_a_prefork_server_is_recorded_with_its_workers_old_and_new(whole, start, workdir):
    report = os.path.join(workdir, "report")
    target = start(whole, "prefork.py", report)
    port = int(target.expect("ready"))
    recording = subprocess.Popen(
        [PYPROF, "attach", "--subprocesses", "--collapsed", "-o", "p.txt", str(target.pid)],
        cwd=workdir, stderr=subprocess.PIPE)
    time.sleep(1)
    os.truncate(report, 0) if os.path.exists(report) else None
    first = ask(port, 30)
    victim = next(iter(first))[0]
    os.kill(victim, signal.SIGTERM)
    wait_for(lambda: victim not in children(target.pid) and len(children(target.pid)) == 3,
             "another worker")
    time.sleep(0.5)
    answers = first + ask(port, 30)
    recording.send_signal(signal.SIGINT)
    err = recording.communicate(timeout=30)[1].decode()
    assert recording.returncode == 0, err
    assert state(target.pid) in "RS"
    worked, _ = told(report)
    assert {(pid, n) for pid, numbers in worked.items() for n in numbers} == set(answers)
    assert len(worked) >= 2
    for pid, numbers in worked.items():
        check_profile(read(workdir, f"p_{pid}.txt"), pid, numbers, coverage(err, pid))
    assert own_samples(read(workdir, "p.txt"), target.pid) == {}


def test_the_duration_ends_the_recording_of_all(python312, start, workdir):
    target = start(python312, "family.py", os.path.join(workdir, "report"), "idle", 3,
                   start_new_session=True)
    target.expect("ready")
    begin = time.monotonic()
    result = pyprof("attach", "--subprocesses", "-d", "1", "--binary", "-o", "-", target.pid,
                    check=True)
    assert time.monotonic() - begin < 5
    streams, skipped = pyprof_reader.read(result.raw)
    assert skipped == 0
    assert {s.header["pid"] for s in streams} == {target.pid, *children(target.pid)}
    for s in streams:
        assert 0.5e9 < s.last - s.first < 1.2e9
    assert {s.summary["end"] for s in streams} <= {"duration", "stopped"}
    assert all(state(pid) == "S" for pid in children(target.pid))
    target.say("end")


def test_run_with_a_duration_ends_the_target(python312, workdir):
    report = os.path.join(workdir, "report")
    begin = time.monotonic()
    result = pyprof("run", "--subprocesses", "-d", "1", "--binary", "-o",
                    os.path.join(workdir, "r.pyprof"), "--",
                    *pythons.command(python312, [FAMILY, report, "short", "500", "0.05"]))
    assert result.status == 0, result
    assert time.monotonic() - begin < 8
    assert "the time is over: the target was ended" in result.err
    with open(os.path.join(workdir, "r.pyprof"), "rb") as f:
        streams, skipped = pyprof_reader.read(f.read())
    assert skipped == 0 and len(streams) >= 2
    assert all(s.summary for s in streams)


def test_an_interrupt_ends_the_recording_and_keeps_it(python312, start, workdir):
    target = start(python312, "family.py", os.path.join(workdir, "report"), "idle", 3,
                   start_new_session=True)
    target.expect("ready")
    path = os.path.join(workdir, "r.pyprof")
    recording = subprocess.Popen([PYPROF, "attach", "--subprocesses", "--binary", "-o", path,
                                  str(target.pid)], stderr=subprocess.PIPE)
    wait_for(lambda: os.path.exists(path) and os.path.getsize(path) > 1000, "the recording")
    time.sleep(1)
    recording.send_signal(signal.SIGINT)
    err = recording.communicate(timeout=20)[1].decode()
    assert recording.returncode == 0, err
    with open(path, "rb") as f:
        streams, _ = pyprof_reader.read(f.read())
    assert {s.header["pid"] for s in streams} == {target.pid, *children(target.pid)}
    assert {s.summary["end"] for s in streams} == {"stopped"}
    target.say("end")


def test_a_launcher_that_is_no_python_is_followed(python312, workdir):
    report = os.path.join(workdir, "report")
    python = " ".join(pythons.command(python312, [FAMILY, report, "wait", "1"]))
    target = Target(["sh", "-c", f"{python}; true"])
    try:
        target.expect("ready")
        recording = subprocess.Popen(
            [PYPROF, "attach", "--subprocesses", "--collapsed", "-o", "p.txt", str(target.pid)],
            cwd=workdir, stderr=subprocess.PIPE)
        time.sleep(1)
        target.say("go")
        err = recording.communicate(timeout=20)[1].decode()
    finally:
        target.close()
    assert recording.returncode == 0, err
    assert f"process {target.pid} is not a Python; what descends from it is recorded" in err
    worked, _ = told(report)
    assert len(worked) == 2
    for pid, numbers in worked.items():
        check_profile(read(workdir, f"p_{pid}.txt"), pid, numbers, coverage(err, pid))
    assert not os.path.exists(os.path.join(workdir, "p.txt"))


def test_a_program_that_becomes_a_python_later_is_seen_to(python312, workdir):
    report = os.path.join(workdir, "report")
    python = " ".join(pythons.command(python312, [FAMILY, report, "work", "1", "0.5"]))
    # Longer than a session waits for one that was a Python.
    script = f"import os; os.execv('/bin/sh', ['sh', '-c', 'sleep 4; exec {python}'])"
    outer = f"import subprocess, sys; subprocess.run([sys.executable, '-c', \"{script}\"])"
    result = pyprof("run", "--subprocesses", "--collapsed", "-o", "p.txt", "--",
                    *pythons.command(python312, ["-c", outer]), cwd=workdir, check=True)
    worked, _ = told(report)
    ((pid, numbers),) = worked.items()
    check_profile(read(workdir, f"p_{pid}.txt"), pid, numbers, coverage(result.err, pid))
    assert f"process {pid}, target exited" in result.err


def test_the_number_of_sessions_is_bounded_and_said(python312, start, workdir):
    target = start(python312, "family.py", os.path.join(workdir, "report"), "idle", 104,
                   start_new_session=True)
    target.expect("ready")
    result = pyprof("attach", "--subprocesses", "-r", "2", "-d", "2", "--binary", "-o", "-",
                    target.pid, check=True)
    assert "no more than 100 processes are recorded at a time" in result.err
    assert "5 descendants were not recorded" in result.err
    streams, skipped = pyprof_reader.read(result.raw)
    assert skipped == 0
    assert len({s.header["pid"] for s in streams}) == 100
    target.say("end")


def test_run_ends_with_the_status_of_a_target_that_is_no_python(workdir):
    result = pyprof("run", "--subprocesses", "--", "sh", "-c", "exit 3", cwd=workdir)
    assert result.status == 3
    assert "had anything to show" in result.err
    result = pyprof("run", "--subprocesses", "--", "/nonexistent", cwd=workdir)
    assert result.status == 125


# ---- through the daemon ----

@root_only
def test_the_daemons_policy_is_asked_for_every_process(python3, workdir):
    for name in (PYPROF, PYPROFD, FAMILY):
        shutil.copy(name, workdir)
    path, out = os.path.join(workdir, "socket"), os.path.join(workdir, "out")
    os.mkdir(out)
    os.chown(out, 65534, 65534)
    daemon = subprocess.Popen([PYPROFD, "--socket", path])
    user = {"user": 65534, "group": 65534, "extra_groups": []}
    target = Target([python3["exe"], os.path.join(workdir, "family.py"), os.path.join(out, "report"), "hidden"], **user)
    try:
        wait_for_socket(path, daemon)
        target.expect("ready")
        recording = subprocess.Popen(
            [os.path.join(workdir, "pyprof"), "attach", "--subprocesses", "--socket", path,
             "--collapsed", "-o", "p.txt", str(target.pid)], cwd=out, stderr=subprocess.PIPE,
            **user)
        time.sleep(1)
        target.say("go")
        target.expect("done")
        recording.send_signal(signal.SIGINT)
        err = recording.communicate(timeout=20)[1].decode()
    finally:
        target.close()
        daemon.terminate()
        daemon.wait(10)
    assert recording.returncode == 0, err
    worked, _ = told(os.path.join(out, "report"))
    for pid, numbers in worked.items():
        if 2 in numbers:
            assert f"the daemon may not show you process {pid}: it is not dumpable" in err
            assert not os.path.exists(os.path.join(out, f"p_{pid}.txt"))
        else:
            name = "p.txt" if pid == target.pid else f"p_{pid}.txt"
            # The last quarter of a second of one that has ended may be withheld.
            assert set(own_samples(read(out, name), pid)) == set(numbers)
    assert sorted(n for numbers in worked.values() for n in numbers) == [0, 1, 2]


def test_a_shell_is_recorded_without_the_recorder_that_it_started(python312, workdir):
    report = os.path.join(workdir, "report")
    python = " ".join(pythons.command(python312, [FAMILY, report, "work", "1", "1"]))
    shell = f"{python} & {PYPROF} attach --subprocesses -d 0.7 --binary -o r.pyprof $$; wait"
    p = subprocess.run(["sh", "-c", shell], cwd=workdir, stderr=subprocess.PIPE, timeout=30)
    err = p.stderr.decode()
    ((pid, _),) = told(report)[0].items()
    with open(os.path.join(workdir, "r.pyprof"), "rb") as f:
        streams, _ = pyprof_reader.read(f.read())
    assert {s.header["pid"] for s in streams} == {pid}, err
    assert "1 process, together" in err


# ---- with questions ----

QUESTIONS = {
    "mode": (["--mode", "cpu"], None),
    "function": (["--function", "outer_1"], {1}),
    "source": (["--source", "<numbers>"], {0, 1, 2}),
}


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_put_to_each_process(python312, workdir, question):
    options, numbers = QUESTIONS[question]
    status, _, err, worked, _ = run(python312, workdir, "fork",
                                    output=(*options, "--collapsed", "-o", "p.txt"))
    assert status == 0, err
    (target,) = [pid for pid, own in worked.items() if 0 in own]
    shown = set()
    for pid, own in worked.items():
        name = "p.txt" if pid == target else f"p_{pid}.txt"
        if numbers is not None and not numbers & own.keys():
            # Whoever has nothing of it has no file.
            assert not os.path.exists(os.path.join(workdir, name)), name
            continue
        sums = own_samples(read(workdir, name), pid)
        shown |= set(sums)
        least = 100 * coverage(err, pid) * sum(own.values())
        assert set(sums) <= set(own) and sum(sums.values()) > least, (sums, own, err)
    assert shown == (numbers or {0, 1, 2})


def test_a_recording_of_several_is_asked_later_and_holds_their_instructions(python312, workdir):
    status, _, err, worked, _ = run(python312, workdir, "fork",
                                    output=("--opcodes", "--binary", "-o", "p.pyprof"))
    assert status == 0, err
    with open(os.path.join(workdir, "p.pyprof"), "rb") as f:
        streams, _ = pyprof_reader.read(f.read())
    assert {s.header["pid"] for s in streams} == set(worked)
    assert all(s.leaf_ops for s in streams)
    path = os.path.join(workdir, "p.pyprof")
    result = pyprof("replay", "--mode", "gil", "--function", "inner_[12]", "--collapsed", "-o", "-",
                    path, check=True)
    # A frame for each process is what a stack begins with.
    lines = result.out.splitlines()
    assert {line.split(";")[0] for line in lines} == {
        f"pid:{pid}" for pid, own in worked.items() if own.keys() & {1, 2}}
    assert {re.search(r":inner_(\d+):", line)[1] for line in lines} == {"1", "2"}


def test_a_question_that_no_process_answers_is_said_once(python312, workdir):
    output = ("--function", "nobody", "--collapsed", "-o", "p.txt")
    status, _, err, _, _ = run(python312, workdir, "fork", output=output)
    assert status == 125 and len(re.findall("is of what was asked for", err)) == 1, err
    assert "could not be read" not in err and "before they could" not in err, err
    assert not glob.glob(os.path.join(workdir, "p*.txt"))
