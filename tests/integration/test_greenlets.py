"""Greenlets are shown as tasks: what `pyprof dump --async-aware` says of them is what the module
greenlet says itself; while sampling, those that are suspended wait, and a sample is of the one that runs."""
import json
import os
import re

import pytest

from conftest import find_interpreter
from support import TARGETS, Target, counts, pyprof, pythons, wait_for

GREENLETS = ["%d.%d" % minor for minor in pythons.MODULES_OF]


def start_greenlets(name, *args, script="greenlets.py", module="greenlet"):
    entry = find_interpreter(name)
    try:
        env = pythons.modules(entry, module)
    except LookupError as e:
        pytest.skip(f"Python {name}: {e}")
    return Target(pythons.command(entry, [f"{TARGETS}/{script}", *map(str, args)]),
                  env=env)


def dump(pid, *options):
    result = pyprof("dump", "--json", "--async-aware", *options, pid, check=True)
    return json.loads(result.out)


def places(frames):
    """Without the classes of functions, which versions before 3.11 do not tell."""
    return [(f["function"].rpartition(".")[2], f["file"], f["line"]) for f in frames]


class World:
    """greenlets.py of one version, looked at before it looked at itself, which changes how its
    frames are linked, and after that."""

    def __init__(self, name):
        self.target = start_greenlets(name)
        self.target.expect("parked")
        self.before = dump(self.target.pid, "-a")
        self.text = pyprof("dump", "--async-aware", "-a", self.target.pid, check=True).out
        self.main_only = dump(self.target.pid)
        self.target.say("report")
        self.truth = json.loads(self.target.line())
        self.after = dump(self.target.pid, "-a")


@pytest.fixture(scope="module")
def worlds():
    found = {}
    yield found
    for world in found.values():
        world.target.close()


@pytest.fixture(params=GREENLETS)
def world(request, worlds):
    if request.param not in worlds:
        worlds[request.param] = World(request.param)
    return worlds[request.param]


@pytest.mark.parametrize("when", ["before", "after"])
def test_greenlets_are_those_that_there_are(world, when):
    truth = {g["id"]: g for g in world.truth["greenlets"]}
    dumped = getattr(world, when)
    shown = {t["id"]: t for t in dumped["tasks"]}
    assert dumped["tasks_problem"] is None
    assert shown.keys() == truth.keys() and len(dumped["tasks"]) == len(truth)
    for key, g in truth.items():
        t = shown[key]
        assert (t["name"], t["loop"], t["thread"], t["state"], t["problem"], t["awaited_by"]) == \
            (g["name"], g["loop"], g["thread"], g["state"], None, [])
        if g["state"] == "waiting":
            assert places(t["frames"]) == places(g["frames"]), g


def test_the_world_holds_what_it_is_meant_to(world):
    greenlets = world.truth["greenlets"]
    functions = {f["function"] for g in greenlets for f in g["frames"]}
    assert {"recurse", "numbers", "__lt__", "nested", "world", "<module>"} <= functions
    assert [g["state"] for g in greenlets].count("running") == 2
    assert [g["name"] for g in greenlets].count("main greenlet") == 2
    assert [g["frames"] for g in greenlets].count([]) == 2      # that have not begun
    assert len({g["thread"] for g in greenlets}) == 2 and len(greenlets) == 36


def test_one_that_runs_has_its_thread_s_stack(world):
    running = [t for t in world.before["tasks"] if t["state"] == "running"]
    assert sorted(t["frames"][-1]["function"] for t in running) == ["runs_on", "runs_on"]
    stacks = {t["tid"]: t["frames"] for t in
              json.loads(pyprof("dump", "--json", "-a", world.target.pid, check=True).out)["threads"]}
    for t in running:
        assert places(t["frames"]) == places(stacks[t["thread"]])


def test_they_are_chosen_by_thread_and_state(world):
    main = {t["id"] for t in world.before["tasks"] if t["thread"] == world.target.pid}
    assert {t["id"] for t in world.main_only["tasks"]} == main and len(main) == 18
    running = dump(world.target.pid, "-a", "--async-mode", "running")["tasks"]
    assert [t["state"] for t in running] == ["running", "running"]


def test_the_text_shows_them(world):
    assert world.text.count('in main greenlet\n') == 2
    assert world.text.count("Stack dump") == len(world.before["tasks"])
    assert "in Sorts.__lt__\n" in world.text or "in __lt__\n" in world.text


@pytest.mark.parametrize("name", GREENLETS)
def test_suspended_greenlets_wait(name, workdir):
    """Each at each look, and where it stands."""
    target = start_greenlets(name)
    try:
        target.expect("parked")
        # They are known a little after the threads are: the longer it lasts, the less that is.
        result = pyprof("attach", "-a", "-d", "3", "-r", "100", "--async-aware", "--async-mode",
                        "all", "--collapsed", "-o", "-", target.pid, check=True)
        truth = [t for t in dump(target.pid, "-a")["tasks"]
                 if t["state"] == "waiting" and t["frames"]]
    finally:
        target.close()
    found = []
    for line in result.out.splitlines():
        stack, _, count = line.rpartition(" ")
        found.append((stack.split(";")[1:], int(count)))
    stacks = sorted(stack for stack, _ in found)
    # Each stack may be that of several, which are one line then.
    expected = {}
    for t in truth:
        key = tuple([f"<task>:{t['name']}:0"] + [
            f"{os.path.basename(f['file'])}:{f['function']}:{f['line']}"
            for f in reversed(t["frames"])])
        expected[key] = expected.get(key, 0) + 1
    assert sum(expected.values()) == 32 and stacks
    most = max(count for _, count in found)
    assert most >= 0.8 * counts(result)["due"] / 2
    assert sum(count for _, count in found) == pytest.approx(32 * most, rel=0.1)
    assert len(stacks) >= len(expected)


def told_tasks(result):
    """Of collapsed stacks with tasks: [(the task's name, names of functions from the base, count)]."""
    found = []
    for line in result.out.splitlines():
        stack, _, count = line.rpartition(" ")
        _, marker, *frames = stack.split(";")
        assert marker.startswith("<task>:"), line
        found.append((marker.split(":")[1], [f.split(":")[1] for f in frames if ":" in f],
                      int(count)))
    return found


# What greenlet 0.4 and 1 say of who runs is where nobody finds it.
TOLD = [name for name in GREENLETS if name != "3.9"]


# Where each has its turns for so long their shares are judged.
@pytest.mark.parametrize("microseconds", [pytest.param(3000, marks=pytest.mark.timing), 300, 5])
@pytest.mark.parametrize("name", TOLD)
def test_a_sample_is_of_the_greenlet_that_runs(name, microseconds):
    """And of no other, however fast they switch; of the first one in a thread of none."""
    target = start_greenlets(name, microseconds, script="greenlets_running.py")
    try:
        target.expect("ready")
        result = pyprof("attach", "-a", "-d", "1.5", "-r", "2khz", "--stop-budget", "20",
                        "--async-aware", "--collapsed", "-o", "-", target.pid, check=True)
    finally:
        target.close()
    shares = {}
    for task, functions, count in told_tasks(result):
        numbers = {name[-1] for name in functions if name[:3] in ("run", "spi")}
        assert task[:5] == "Green" and numbers <= {task[5:]}, (task, functions)
        shares[task] = shares.get(task, 0) + count
    total = sum(shares.values())
    assert len(shares) == 5 and min(shares.values()) > 0.1 * total, shares
    known = {word: int(n) for n, word in re.findall(r"(\d+) of \d+ samples (do not tell|are of no)",
                                                    result.err)}
    # Until a walk over the objects has found a thread's first greenlet nothing is told of it.
    assert known.get("do not tell", 0) < 0.5 * (total + sum(known.values())), result.err
    if microseconds == 3000:
        assert known["are of no"] == pytest.approx(total / 10, rel=0.25), result.err
        for share in shares.values():
            assert share == pytest.approx(total / 5, rel=0.2), shares


def test_where_it_does_not_tell_which_runs_none_is_told():
    target = start_greenlets("3.9", 3000, script="greenlets_running.py")
    try:
        target.expect("ready")
        result = pyprof("attach", "-a", "-d", "0.5", "--async-aware", "--collapsed", "-o", "-",
                        target.pid)
    finally:
        target.close()
    assert result.status == 6 and not result.out
    assert "do not tell whether a task ran" in result.err


def test_a_large_heap_is_walked(workdir):
    target = start_greenlets("3.11", 300000)
    try:
        target.expect("parked")
        assert len(dump(target.pid, "-a")["tasks"]) == 36
    finally:
        target.close()


@pytest.mark.parametrize("name", ["3.9", "3.11", "3.13", "3.15"])
def test_greenlets_that_switch_all_the_time(name):
    """Every stack that is shown is one that was possible, and all are found each time."""
    target = start_greenlets(name, script="greenlets_busy.py")
    try:
        target.expect("ready")
        seen = moved = 0
        for _ in range(20):
            dumped = dump(target.pid)
            assert dumped["tasks_problem"] is None
            tasks = dumped["tasks"]
            busy = [t for t in tasks if t["name"] == "Busy"]
            assert len(busy) <= 20
            seen += len(busy)
            for t in busy:
                if t["problem"]:
                    assert t["problem"] == "moved" and not t["frames"]
                    moved += 1
                    continue
                numbers = [int(f["function"][1:]) for f in reversed(t["frames"])
                           if f["function"][0] == "f" and f["function"][1:].isdigit()]
                # f0 of one calls f0, f1, f2, ... of its own: the line tells which.
                assert numbers == list(range(len(numbers))), t
            running = [t for t in tasks if t["state"] == "running"]
            assert len(running) <= 1
        assert seen >= 390, seen
        assert moved <= 0.05 * seen, (moved, seen)
    finally:
        target.close()


@pytest.mark.parametrize("name", ["3.11", "3.13", "3.15"])
def test_objects_that_come_and_go_all_the_time(name):
    """All greenlets are found, or that some may be missing is said."""
    target = start_greenlets(name, 20000, script="greenlets_churn.py")
    try:
        target.expect("ready")
        complete = 0
        for _ in range(10):
            dumped = dump(target.pid)
            waiting = [t for t in dumped["tasks"] if t["state"] == "waiting"]
            assert len(waiting) == 100 or dumped["tasks_problem"] == "too many"
            assert {tuple(f["function"] for f in t["frames"]) for t in waiting} <= \
                {("recurse",) * 4}
            complete += len(waiting) == 100
        assert complete >= 5
    finally:
        target.close()


def test_gevent():
    target = start_greenlets("3.11", script="gevents.py", module="gevent")
    try:
        target.expect("ready")
        tasks = dump(target.pid)["tasks"]
    finally:
        target.close()
    found = sorted((t["name"], t["state"], [f["function"] for f in reversed(t["frames"])
                                            if f["file"].endswith("gevents.py")]) for t in tasks)
    assert found == [
        ("Greenlet", "waiting", ["sleeps"]), ("Greenlet", "waiting", ["waits"]),
        ("Greenlet", "waiting", ["waits"] * 2), ("Greenlet", "waiting", ["waits"] * 3),
        ("Hub", "running", []), ("main greenlet", "waiting", ["<module>"])]


@pytest.fixture(scope="module")
def awaiting():
    target = start_greenlets("3.11", script="gevent_awaits.py", module="gevent")
    target.expect("ready")
    yield target
    target.close()


def own(functions):
    return [name for name in functions if name in
            ("sleeps", "computes", "joins", "gets", "joins_all", "iterates", "<module>")]


def test_greenlets_of_gevent_are_awaited_by_those_that_join_them(awaiting):
    tasks = dump(awaiting.pid)["tasks"]
    name = {t["id"]: own(f["function"] for f in t["frames"]) for t in tasks}
    found = sorted((name[t["id"]], sorted(name[i] for i in t["awaited_by"])) for t in tasks
                   if t["name"] != "Hub")
    assert found == sorted([
        (["sleeps"], [["joins"], ["joins_all"]]), (["joins"], [["gets"]]),
        (["gets"], [["joins_all"]]), (["joins_all"], [["iterates"]]), (["iterates"], []),
        (["computes"], [["joins"]]), (["joins"], [["<module>"]]), (["<module>"], [])])


@pytest.mark.parametrize("mode", ["running", "all"])
def test_who_awaits_a_greenlet_stands_below_it(awaiting, mode):
    result = pyprof("attach", "-d", "1", "--async-aware", "--async-mode", mode, "--collapsed", "-o",
                    "-", awaiting.pid, check=True)
    found = {}
    for line in result.out.splitlines():
        stack, _, count = line.rpartition(" ")
        frames = [f.split(":") for f in stack.split(";")[1:]]
        key = tuple(f[1] for f in frames if f[0] == "<task>" or own(f[1:2]))
        found[key] = found.get(key, 0) + int(count)
    running = ("main greenlet", "<module>", "Greenlet", "joins", "Sub", "computes")
    # Of those that await one the one at the lowest address is told.
    waiting = [("Greenlet", "iterates", "Greenlet", "joins_all", "Sub", "gets", "Greenlet", "joins",
                "Greenlet (2 parents)", "sleeps"),
               ("Greenlet", "iterates", "Greenlet", "joins_all", "Greenlet (2 parents)", "sleeps"),
               ("Greenlet", "iterates", "Greenlet", "joins_all", "Sub", "gets", "Greenlet", "joins")]
    total = sum(found.values())
    assert found.keys() <= {running, ("Hub",), *(waiting if mode == "all" else ())}, found
    assert found[running] > (0.9 if mode == "running" else 0.2) * total, found
    if mode == "all":
        assert max(found.get(stack, 0) for stack in waiting) > 0.2 * total, found


def test_greenlets_are_told_wherever_the_kernel_put_their_types():
    """What is remembered of types has its place by their addresses, which no two processes share: in
    one of eight what was no object at all was looked at again each time, and no greenlet told."""
    for _ in range(8):
        target = start_greenlets("3.11", script="gevent_awaits.py", module="gevent")
        try:
            target.expect("ready")
            result = pyprof("attach", "-d", "0.2", "--async-aware", "--collapsed", "-o", "-",
                            target.pid, check=True)
        finally:
            target.close()
        told = sum(int(line.rpartition(" ")[2]) for line in result.out.splitlines()
                   if "computes" in line)
        assert told > 50, result


def test_a_greenlet_that_is_none_that_we_know(start, python3, workdir):
    """A module of that name whose greenlets are something else."""
    with open(workdir + "/greenlet.py", "w") as f:
        f.write("class greenlet:\n    pass\n")
    with open(workdir + "/program.py", "w") as f:
        f.write("import greenlet\nkeep = [greenlet.greenlet() for _ in range(10)]\n"
                "print('ready', flush=True)\ninput()\n")
    target = Target(pythons.command(python3, [workdir + "/program.py"]))
    try:
        target.expect("ready")
        result = pyprof("dump", "--async-aware", target.pid, check=True)
        assert len(result.messages) == 1 and "greenlets" in result.err
        assert "cannot be read" in result.err and "Stack dump for PID" in result.out
        assert dump(target.pid)["tasks_problem"] == "no greenlets"
    finally:
        target.close()
