"""What `pyprof dump --async-aware` shows of asyncio is what the target says of its own tasks."""
import json
import os
import re
import socket
import struct
import subprocess
import sys
import time

import pytest

import pyprof_reader
from conftest import find_interpreter
from support import PYPROFD, pyprof, pythons, version_of, wait_for_socket

# Each version that keeps tasks, frames or awaiters in another way.
BUSY = ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15"]


def dump(pid, *options):
    return json.loads(pyprof("dump", "--json", "--async-aware", *options, pid, check=True).out)


def places(task):
    return [{k: f[k] for k in ("function", "file", "line")} for f in task["frames"]]


def by_id(tasks):
    found = {t["id"]: t for t in tasks}
    assert len(found) == len(tasks)
    return found


def edges(tasks):
    """Pairs of names: a task, and one that awaits it."""
    names = {t["id"]: t["name"] for t in tasks}
    return sorted((t["name"], names[a]) for t in tasks for a in t["awaited_by"])


class World:
    """tasks.py of one version, looked at before and after it looked at itself."""

    def __init__(self, target):
        self.target = target
        target.expect("parked")
        self.before = dump(target.pid, "-a")
        self.main_only = dump(target.pid)
        self.text = pyprof("dump", "--async-aware", "-a", target.pid, check=True).out
        target.say("report")
        self.truth = json.loads(target.line())
        self.after = dump(target.pid, "-a")


@pytest.fixture(scope="module")
def worlds():
    found = {}
    yield found
    for world in found.values():
        world.target.close()


@pytest.fixture
def world(interpreter, worlds):
    """One a version: the tests below share what was seen."""
    from support import TARGETS, Target
    name = interpreter["name"]
    if name not in worlds:
        worlds[name] = World(Target(pythons.command(interpreter, [TARGETS + "/tasks.py"])))
    return worlds[name]


@pytest.mark.parametrize("when", ["before", "after"])
def test_tasks_are_those_the_target_knows(world, when):
    truth, shown = by_id(world.truth["tasks"]), by_id(getattr(world, when)["tasks"])
    assert {t["name"] for t in shown.values()} == {t["name"] for t in truth.values()}
    assert shown.keys() == truth.keys()
    for key, task in truth.items():
        for what in "name", "loop", "thread", "state", "problem":
            assert shown[key][what] == task[what], (task["name"], what)
        assert places(shown[key]) == task["frames"], task["name"]
        # Task.get_stack() knows the task's own coroutine only.
        assert shown[key]["frames"][-1]["line"] == task["base_line"], task["name"]


def test_who_awaits_whom(world):
    expected = sorted(map(tuple, world.truth["edges"]))
    assert edges(world.before["tasks"]) == expected
    assert edges(world.after["tasks"]) == expected


@pytest.mark.parametrize("tasks", ["python", "mixed"])
@pytest.mark.parametrize("name", ["3.9", "3.13", "3.14", "3.15"])
def test_who_awaits_whom_of_tasks_in_python(name, tasks, start):
    """asyncio notes it from 3.14 on, but not of them."""
    target = start(find_interpreter(name), "tasks.py", tasks)
    target.expect("parked")
    shown = dump(target.pid, "-a")["tasks"]
    target.say("report")
    truth = json.loads(target.line())
    assert {t["id"]: (t["name"], places(t)) for t in shown} == \
        {t["id"]: (t["name"], t["frames"]) for t in truth["tasks"]}
    names = {t["name"] for t in shown}
    expected = {e for e in map(tuple, truth["edges"]) if e[1] in names}
    # From 3.14 on wait_for() does not know that it is in a task when that is in Python.
    assert {t for t, _ in truth["edges"]} - {t for t, _ in expected} <= {"slow"}
    assert edges(shown) == sorted(expected) and len(expected) >= 12


def test_awaiters_are_those_that_the_tasks_know(world, interpreter):
    """From 3.14 on asyncio keeps them, though not of a task in Python that awaits one in C."""
    if version_of(interpreter["name"]) < (3, 14):
        return
    for task in world.truth["tasks"]:
        shown = by_id(world.before["tasks"])
        more = set(shown[task["id"]]["awaited_by"]) - set(task["knows"])
        assert set(task["knows"]) <= set(shown[task["id"]]["awaited_by"])
        assert {shown[i]["name"] for i in more} <= {"awaits Python", "Python awaits"}


def test_the_world_holds_what_it_is_meant_to(world, interpreter):
    """The comparison is worth something: every kind of await is there."""
    version = version_of(interpreter["name"])
    tasks = {t["name"]: t for t in world.truth["tasks"]}
    functions = {f["function"].rpartition(".")[2] for t in tasks.values() for f in t["frames"]}
    for name in "numbers", "more_numbers", "catches", "__await__", "by_generator", "acquire":
        assert name in functions, name
    assert "only_referred_to" not in functions
    assert ("eager" in tasks) == (version >= (3, 12))
    assert ("grouped 1" in tasks) == (version >= (3, 11))
    assert "имя задачи 😀" in tasks and any(re.match(r"Task-\d+$", n) for n in tasks)
    assert not {"done", "cancelled"} & tasks.keys()
    assert len(tasks["имя задачи 😀"]["frames"]) == 5
    awaiters = [a for t, a in world.truth["edges"] if t == "shared"]
    assert awaiters == ["Python awaits", "first", "second", "shielder"]
    assert len({t["thread"] for t in tasks.values()}) == 3
    assert len({t["loop"] for t in tasks.values()}) == 3


def test_only_tasks_of_the_main_thread_without_a(world):
    names = {t["name"] for t in world.main_only["tasks"]}
    elsewhere = {t["name"] for t in world.truth["tasks"] if t["thread"] not in
                 (None, world.target.pid)}
    assert elsewhere and not names & elsewhere
    assert names == {t["name"] for t in world.truth["tasks"]} - elsewhere
    assert world.main_only["tasks_total"] == len(world.truth["tasks"])


def test_text_shows_each_task_and_all_its_awaiters(world):
    stacks, tree = world.text.split("\nTasks, each above those that it awaits:\n")
    marked = set(re.findall(r'^  File "<task>", in (.*?)(?: \(\d+ parents\))?$', stacks, re.M))
    assert marked == {t["name"] for t in world.truth["tasks"]}
    # Each edge of the tree: a name below that of its awaiter.
    seen, above = [], []
    for line in tree.splitlines():
        branch, name = re.match(
            r"((?:[│ ]   )*(?:[├└]── )?)(.*?)(?: \(running\))?(?: \(\d+ parents\))?(?: \.\.\.)?$",
            line).groups()
        depth = len(branch) // 4
        above[depth:] = [name]
        if depth:
            seen.append((name, above[depth - 1]))
    assert sorted(seen) == sorted(map(tuple, world.truth["edges"]))


def pstree_edges(text):
    """Pairs of names: a task, and the nearest task above it."""
    found, above = set(), []
    for line in text.splitlines():
        match = re.match(r"^([│├└─ ]*?)\(T\) (.*)$", line)
        if not match:
            continue
        depth, name = len(match[1]), match[2]
        above = [(d, n) for d, n in above if d < depth]
        if above:
            found.add((name, above[-1][1]))
        above.append((depth, name))
    return found


@pytest.mark.parametrize("name", ["3.14", "3.15"])
def test_pstree_of_asyncio_shows_the_same_edges(name, start):
    """From 3.14 on Python can look at another process of its own version itself."""
    interpreter = find_interpreter(name)
    target = start(interpreter, "tasks.py")
    target.expect("parked")
    shown = edges(dump(target.pid, "-a")["tasks"])
    # In the target's own root, where the files are that it maps.
    judge = subprocess.run(
        ["nsenter", "-t", str(target.pid), "-m", "-r", interpreter["exe"], "-m", "asyncio",
         "pstree", str(target.pid)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60)
    assert judge.returncode == 0, judge.stderr
    found = pstree_edges(judge.stdout.decode())
    assert len(found) > 10
    # It does not look for tasks in Python.
    expected = {e for e in shown if "Python" not in e[0] + e[1]}
    # In 3.14 it sees some threads only.
    assert found == expected or name == "3.14" and found == {
        e for e in expected if "elsewhere" not in e[0]}


@pytest.mark.parametrize("name", ["3.9", "3.11", "3.12", "3.13", "3.14", "3.15"])
def test_a_thousand_tasks(name, start):
    target = start(find_interpreter(name), "tasks_tree.py", 10, 3)
    count = int(target.expect("parked"))
    began = time.monotonic()
    shown = dump(target.pid)
    assert time.monotonic() - began < 5
    tasks = [t for t in shown["tasks"] if t["name"][0] == "0"]
    assert count == len(tasks) == 1111
    assert all(t["problem"] is None for t in shown["tasks"])
    assert shown["tasks_problem"] is None
    expected = {(t["name"], t["name"].rpartition(".")[0]) for t in tasks if t["name"] != "0"}
    assert {e for e in edges(shown["tasks"]) if e[0] != "0"} == expected
    for task in tasks:
        assert [f["function"] for f in task["frames"]] == ["node"]
    text = pyprof("dump", "--async-aware", target.pid, check=True).out
    assert text.count("Stack dump") == 1001  # the thread waits for events


@pytest.mark.parametrize("name", BUSY)
def test_a_running_task_has_the_stack_of_its_thread(name, start):
    target = start(find_interpreter(name), "tasks_running.py")
    target.expect("running")
    shown = dump(target.pid)
    tasks = {t["name"]: t for t in shown["tasks"]}
    assert [f["function"] for f in tasks["works"]["frames"]] == ["spin", "deeper", "works"]
    assert tasks["works"]["state"] == "running"
    assert {t["state"] for n, t in tasks.items() if n != "works"} == {"waiting"}
    (thread,) = shown["threads"]
    assert places(thread)[1:3] == places(tasks["works"])[1:]
    running = dump(target.pid, "--async-mode", "running")
    assert {t["name"] for t in running["tasks"]} == {t["name"] for t in shown["tasks"]} - {"sleeps"}
    assert edges(running["tasks"]) == edges(shown["tasks"])
    text = pyprof("dump", "--async-aware", "--async-mode=running", target.pid, check=True).out
    order = re.findall(r", in (\S+)$", text.partition("Tasks, each above")[0], re.M)
    assert order[order.index("outer"):] == ["outer", "awaits", "works", "works", "deeper", "spin"]


@pytest.mark.parametrize("name", ["3.12", "3.13", "3.15"])
def test_an_eager_task_runs_inside_the_one_that_made_it(name, start):
    target = start(find_interpreter(name), "tasks_running.py", "eager")
    target.expect("running")
    tasks = {t["name"]: t for t in dump(target.pid)["tasks"]}
    assert [f["function"] for f in tasks["works"]["frames"]] == ["spin", "deeper", "works"]
    assert [f["function"] for f in tasks["outer"]["frames"]][-2:] == ["calls", "makes"]
    assert tasks["works"]["state"] == tasks["outer"]["state"] == "running"


WAITING = re.compile(
    r"forever top_(\d) (?:middle_\1|other_\1 numbers_\1) lower_\1 (?:leaf_\1 )?sleep __sleep0$")
RUNNING = re.compile(
    r"forever(?: top_(\d)(?: (?:middle_\1|other_\1(?: numbers_\1)?)"
    r"(?: lower_\1(?: work_\1(?: <genexpr>)?| leaf_\1)?)?)?(?: sleep(?: __sleep0)?)?)?$")


def stack_of(task):
    return task["state"] + ": " + " ".join(f["function"] for f in reversed(task["frames"]))


def judge(task):
    """Whether a task of tasks_busy.py can stand where it is said to; "not started" also can."""
    stack = stack_of(task).partition(": ")[2]
    if stack == "forever" and task["state"] == "waiting":
        return task["frames"][0]["line"] is not None
    return bool((RUNNING if task["state"] == "running" else WAITING).match(stack))


@pytest.mark.parametrize("name", BUSY)
def test_a_busy_loop_shows_no_stack_that_could_not_be(name, start):
    target = start(find_interpreter(name), "tasks_busy.py", 20)
    target.expect("ready")
    moved = seen = running = 0
    started = set()
    for _ in range(40):
        for task in dump(target.pid)["tasks"]:
            if not task["name"].startswith("busy"):
                continue
            seen += 1
            if task["problem"]:
                moved += 1
                assert task["problem"] == "moved" and not task["frames"]
                continue
            assert judge(task), stack_of(task)
            running += task["state"] == "running"
            started.add(task["name"])
    assert seen == 800 and len(started) == 20
    # It was looked at while it stood still: nearly all of it is known.
    assert moved <= 4 and running >= 2, (moved, running)


# PTRACE_SEIZE, which stops nothing; it ends with the process.
SEIZE = """import ctypes, sys, time
print(ctypes.CDLL(None).ptrace(0x4206, int(sys.argv[1]), None, None), flush=True)
time.sleep(1000)"""


@pytest.mark.parametrize("name", ["3.11", "3.13", "3.15"])
def test_a_busy_loop_that_may_not_be_stopped(name, start):
    """Another tracer holds its thread: what cannot be proven is said to have moved."""
    target = start(find_interpreter(name), "tasks_busy.py", 20)
    target.expect("ready")
    tracer = subprocess.Popen([sys.executable, "-c", SEIZE, str(target.pid)],
                              stdout=subprocess.PIPE)
    try:
        assert tracer.stdout.readline() == b"0\n"
        tasks = []
        # It moves under most dumps, unless others keep it from running.
        for i in range(100):
            tasks += dump(target.pid)["tasks"]
            if i >= 9 and any(t["problem"] == "moved" for t in tasks):
                break
    finally:
        tracer.kill()
        tracer.wait()
        tracer.stdout.close()
    assert any(t["problem"] == "moved" for t in tasks)
    for task in tasks:
        assert not task["problem"] or not task["frames"]
        if task["name"].startswith("busy") and not task["problem"]:
            assert judge(task), stack_of(task)


def test_a_process_without_asyncio_is_said_to_have_none(start, python3):
    target = start(python3, "known.py")
    target.expect("ready")
    result = pyprof("dump", "--async-aware", target.pid, check=True)
    assert "has not imported asyncio" in result.err
    assert "Stack dump for PID" in result.out
    assert dump(target.pid)["tasks_problem"] == "no asyncio"


def test_async_mode_is_only_of_async_aware(python3):
    result = pyprof("dump", "--async-mode", "all", "1")
    assert result.status == 2 and "--async-aware" in result.err
    result = pyprof("dump", "--async-aware", "--async-mode", "some", "1")
    assert result.status == 2 and "running, all" in result.err


@pytest.mark.parametrize("options", [["--mode", "gil"], ["--thread", "MainThread"],
                                     ["--function", "main"], ["--source", "asyncio.*"]])
def test_threads_are_not_chosen_among_tasks(options):
    result = pyprof("dump", "--async-aware", *options, "1")
    assert result.status == 2 and len(result.messages) == 1
    assert options[0] in result.err and "--async-aware" in result.err


def test_tasks_are_shown_beside_instructions_and_native_frames(start, python3):
    target = start(python3, "tasks.py")
    target.expect("parked")
    shown = json.loads(pyprof("dump", "--async-aware", "--opcodes", "--native", "--mode", "wall",
                              "--json", "-a", target.pid, check=True).out)
    plain = dump(target.pid, "-a")
    assert [task["name"] for task in shown["tasks"]] == [task["name"] for task in plain["tasks"]]
    assert any(frame.get("opcode") for thread in shown["threads"] for frame in thread["frames"])


def test_a_plain_dump_has_no_tasks(start, python3):
    target = start(python3, "tasks.py")
    target.expect("parked")
    plain = json.loads(pyprof("dump", "--json", target.pid, check=True).out)
    assert not [key for key in plain if key.startswith("tasks")]


def record_dump(path, pid, flags):
    """The recording that a dump is made of, as a session sends it."""
    request = struct.pack("<IIIIiIQQQI7I384x", 0x31667270, 2, 2, flags, pid, 1, 1000000, 0, 0,
                          1000000, *[0] * 7)
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(path)
        client.sendall(request)
        data = b"".join(iter(lambda: client.recv(1 << 16), b""))
    status, waiting = struct.unpack_from("<II", data, 8)
    assert (status, waiting) == (0, 0), data[:528]
    return data[528:]


@pytest.mark.parametrize("name", ["3.11", "3.15"])
def test_the_recording_holds_what_the_dump_shows(name, start, workdir):
    """Read by the reader that was written from pyprof(5)."""
    target = start(find_interpreter(name), "tasks.py")
    target.expect("parked")
    path = workdir + "/socket"
    daemon = subprocess.Popen([PYPROFD, "--socket", path], stderr=subprocess.PIPE)
    try:
        wait_for_socket(path, daemon)
        streams, skipped = pyprof_reader.read(record_dump(path, target.pid, 1 | 16))
        plain, _ = pyprof_reader.read(record_dump(path, target.pid, 1))
    finally:
        daemon.terminate()
        daemon.wait()
        daemon.stderr.close()
    (stream,) = streams
    shown = dump(target.pid, "-a")
    assert skipped == 0 and "async" in stream.header["collected"].split()
    assert stream.tasks_seen == (len(stream.tasks), 0, 0)
    assert len(stream.tasks) == len(shown["tasks"]) == shown["tasks_total"]
    truth = by_id(shown["tasks"])
    for task in stream.tasks:
        other = truth[str(task["id"])]
        assert [str(a) for a in task["awaiters"]] == other["awaited_by"]
        assert (task["name"], task["tid"], str(task["loop"])) == (
            other["name"], other["thread"], other["loop"])
        assert (task["state"], task["problem"]) == (0, 0)
        assert list(task["frames"]) == [(f["file"], f["function"], f["line"])
                                        for f in reversed(other["frames"])]
    assert not plain[0].tasks and plain[0].tasks_seen is None
    assert "async" in plain[0].header["not_collected"].split()
