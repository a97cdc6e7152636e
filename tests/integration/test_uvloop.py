"""With uvloop's event loop pyprof shows the same tasks as with asyncio's own."""
import json

import pytest

from async_stacks import impossible
from conftest import find_interpreter
from support import TARGETS, Target, collapsed, pyprof, pythons
from test_tasks import dump, edges, places

VERSIONS = ["3.9", "3.11", "3.13", "3.14"]
NAMED = VERSIONS[1:]    # the uvloop of the first takes no names for tasks


def start_with(name, uvloop, script, *args):
    entry = find_interpreter(name)
    try:
        env = pythons.modules(entry, "uvloop")
    except LookupError as e:
        pytest.skip(f"Python {name}: {e}")
    argv = [f"{TARGETS}/{script}", *map(str, args)]
    if uvloop:
        argv.insert(0, TARGETS + "/with_uvloop.py")
    return Target(pythons.command(entry, argv), env=env)


def by_name(tasks):
    found = {t["name"]: (t["state"], t["problem"], places(t)) for t in tasks
             if not t["name"].startswith("Task-")}      # numbers of those that nobody named
    assert len(found) > 30
    return found


@pytest.mark.parametrize("name", NAMED)
def test_a_dump_shows_the_same_tasks(name):
    shown = {}
    for uvloop in False, True:
        target = start_with(name, uvloop, "tasks.py")
        try:
            target.expect("parked")
            tasks = dump(target.pid, "-a")["tasks"]
            maps = open(f"/proc/{target.pid}/maps").read()
            target.say("report")
            truth = json.loads(target.line())
        finally:
            target.close()
        assert ("/uvloop/loop." in maps) == uvloop
        assert {t["id"]: (t["name"], t["loop"], t["thread"], places(t)) for t in tasks} == \
            {t["id"]: (t["name"], t["loop"], t["thread"], t["frames"]) for t in truth["tasks"]}
        assert edges(tasks) == sorted(map(tuple, truth["edges"]))
        shown[uvloop] = by_name(tasks), edges(tasks)
    assert shown[True] == shown[False]


def stacks(pid):
    result = pyprof("attach", "-d", "0.5", "-r", "50", "--async-aware", "--async-mode", "all",
                    "--collapsed", "-o", "-", pid, check=True)
    return {line.rpartition(" ")[0].partition(";")[2] for line in result.out.splitlines()}


@pytest.mark.parametrize("name", NAMED)
def test_samples_have_the_same_tasks(name):
    shown = {}
    for uvloop in False, True:
        target = start_with(name, uvloop, "tasks_tree.py", 4, 2)
        try:
            target.expect("parked")
            shown[uvloop] = stacks(target.pid)
        finally:
            target.close()
    assert len(shown[True]) == 16 and shown[True] == shown[False]


@pytest.mark.parametrize("name", VERSIONS)
def test_the_task_that_runs(name):
    """Stacks are those that can be: each task has its own number's frames."""
    target = start_with(name, True, "async_truth.py", 1)
    try:
        target.expect("ready")
        result = pyprof("attach", "-d", "1", "-r", "500", "--async-aware", "--collapsed", "-o", "-",
                        target.pid, check=True)
    finally:
        target.close()
    stacks = collapsed(result.out)
    bad = [(why, frames) for _, frames, _ in stacks if (why := impossible(frames))]
    assert not bad, bad[:3]
    assert sum(n for *_, n in stacks) > 25 and len(stacks) > 10
