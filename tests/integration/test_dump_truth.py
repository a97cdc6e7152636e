"""What `pyprof dump` shows is what the parked target says of itself."""
import json
import re

import pytest

from support import pyprof, version_of


def dump(pid, *options):
    return json.loads(pyprof("dump", "--json", *options, pid, check=True).out)


def frames_of(thread):
    """Frames without what only says their kind."""
    assert all(f["kind"] == "python" for f in thread["frames"]), thread["frames"][:3]
    return [{k: v for k, v in f.items() if k != "kind"} for f in thread["frames"]]


def by_tid(threads):
    found = {t["tid"]: t for t in threads}
    assert len(found) == len(threads)
    return found


def comm(pid, tid):
    with open(f"/proc/{pid}/task/{tid}/comm") as f:
        return f.read().rstrip("\n")


class Parked:
    """One parked target: looked at before and after it looked at itself."""

    def __init__(self, target):
        self.pid = target.pid
        target.expect("parked")
        self.before = dump(target.pid, "-a")
        self.text = pyprof("dump", "-a", target.pid, check=True, cwd="/").out
        self.main_only = dump(target.pid)
        target.say("report")
        self.truth = json.loads(target.line())
        self.after = dump(target.pid, "-a")
        self.comm = {t["tid"]: comm(self.pid, t["tid"]) for t in self.truth["threads"]}
        # The one that answers cannot stand still while it does.
        self.reporter = [t["tid"] for t in self.truth["threads"] if t["name"] == "reporter"][0]

    def true_threads(self):
        return by_tid([t for t in self.truth["threads"] if t["tid"] != self.reporter])

    def shown_threads(self, which):
        return by_tid([t for t in which["threads"] if t["tid"] != self.reporter])


@pytest.fixture(scope="module")
def parked_cache():
    return {}


@pytest.fixture
def parked(interpreter, start, workdir, parked_cache):
    """Looked at once a version: the tests below share what was seen."""
    name = interpreter["name"]
    if name not in parked_cache:
        parked_cache[name] = Parked(start(interpreter, "parked.py", workdir))
    return parked_cache[name]


@pytest.mark.parametrize("when", ["before", "after"])
def test_frames_of_every_thread_are_those_the_target_sees(parked, interpreter, when):
    """Before and after: looking at a frame from inside gives it a frame object."""
    truth, shown = parked.true_threads(), parked.shown_threads(getattr(parked, when))
    assert shown.keys() == truth.keys()
    for tid, thread in truth.items():
        assert frames_of(shown[tid]) == thread["frames"], thread["name"]


def test_the_truth_holds_what_it_is_meant_to(parked, interpreter):
    """The comparison is worth something: the target did park where it should."""
    stacks = [t["frames"] for t in parked.truth["threads"]]
    names = {f["function"].rpartition(".")[2] for stack in stacks for f in stack}
    for name in ("leaf_generator", "<genexpr>", "driven", "__await__", "numbers", "in_c_code",
                 "Body", "__del__", "__init__", "attribute", "функция", "𠮷野家", "<lambda>",
                 "<module>", "closure", "select"):
        assert name in names, name
    assert max(len(stack) for stack in stacks) > 900
    if version_of(interpreter["name"]) >= (3, 11):
        assert "Outer.Inner.method.<locals>.closure" in {
            f["function"] for s in stacks for f in s}
        assert any(f["end_line"] > f["line"] for s in stacks for f in s if f["end_line"])
    else:
        assert all(f["column"] is None for s in stacks for f in s)


def test_names_and_ids_of_threads_are_those_of_threading(parked):
    truth, shown = parked.true_threads(), parked.shown_threads(parked.before)
    for tid, thread in truth.items():
        # One that threading does not know has the kernel's name for it.
        expected = parked.comm[tid] if thread["name"] is None else thread["name"]
        assert shown[tid]["name"] == expected
        assert shown[tid]["ident"] == thread["ident"]
        assert shown[tid]["main"] == thread["main"]
        assert shown[tid]["interpreter"] == 0


def test_main_thread_alone_is_shown_without_a(parked):
    (shown,) = parked.main_only["threads"]
    (main,) = [t for t in parked.truth["threads"] if t["main"]]
    assert shown["tid"] == main["tid"] == parked.pid
    assert frames_of(shown) == main["frames"]


def test_the_working_thread_is_on_cpu_and_the_others_are_not(parked):
    for thread in parked.shown_threads(parked.before).values():
        working = any(f["function"] == "in_c_code" for f in thread["frames"])
        assert ("cpu" in thread["state"]) == working, thread["name"]


FAULTHANDLER_FRAME = re.compile(r'  File "(.*)", line (\d+) in (.*)$')


def test_lines_are_those_of_faulthandler(parked):
    """faulthandler walks the frames by itself, and shows the first hundred."""
    stacks = {}
    for line in parked.truth["faulthandler"].splitlines():
        header = re.match(r"(?:Thread|Current thread) 0x([0-9a-f]+)", line)
        if header:
            frames = stacks[str(int(header[1], 16))] = []
        elif FAULTHANDLER_FRAME.match(line):
            file, number, name = FAULTHANDLER_FRAME.match(line).groups()
            frames.append((file, int(number), name))
    shown = parked.shown_threads(parked.after)
    assert len(stacks) == len(shown) + 1
    for thread in shown.values():
        expected = stacks[thread["ident"]]
        assert expected
        # From 3.13 on it ends at an __init__ whose caller was specialised.
        assert len(expected) == len(thread["frames"]) or len(expected) in (99, 100) \
            or expected[-1][2] == "__init__"
        frames = [(escape(f["file"]), f["line"], f["function"]) for f in thread["frames"]]
        for (file, line, name), (true_file, true_line, true_name) in zip(frames, expected):
            # It knows the last part of a qualified name.
            assert (file, line) == (true_file, true_line)
            assert escape(name).endswith(true_name)


def escape(text):
    """As faulthandler writes what is not ASCII."""
    return text.encode("ascii", "backslashreplace").decode()


TEXT_HEADER = re.compile(r"Stack dump(?: for PID (\d+))?, thread (\d+)")
TEXT_FRAME = re.compile(r'  File "(.*)", line (\d+), in (.*)$')


def test_text_has_the_same_frames_with_their_source(parked, interpreter):
    """The most recent call last, each line as it stands in the source."""
    stacks = {}
    for line in parked.text.splitlines():
        header = TEXT_HEADER.match(line)
        if header:
            frames = stacks[int(header[2])] = []
        elif TEXT_FRAME.match(line):
            file, number, name = TEXT_FRAME.match(line).groups()
            frames.append([file, int(number), name, None])
        elif line.startswith("    "):
            frames[-1][3] = line.strip()
    truth = parked.true_threads()
    assert stacks.keys() == truth.keys() | {parked.reporter}
    sources = 0
    for tid, thread in truth.items():
        assert len(stacks[tid]) == len(thread["frames"])
        for (file, line, name, source), frame in zip(stacks[tid], reversed(thread["frames"])):
            # Run from /, where every file lies below.
            assert "/" + file.lstrip("/") == frame["file"] or file == frame["file"]
            assert (line, name) == (frame["line"], frame["function"])
            if "/targets/" in frame["file"]:
                sources += 1
                with open(frame["file"], encoding="utf-8") as f:
                    assert source == f.read().splitlines()[line - 1].strip()
            elif frame["file"] == "<string>":
                assert source is None
    assert sources > 900


def test_source_of_a_file_with_a_non_ascii_name_is_shown(parked):
    assert '日本語 = "😀" * 3; wait(日本語 is not None)' in parked.text


def test_no_source_leaves_the_source_out(interpreter, start, workdir):
    target = start(interpreter, "known.py")
    target.expect("ready")
    assert "time.sleep" in pyprof("dump", target.pid, check=True).out
    assert "time.sleep" not in pyprof("dump", "--no-source", target.pid, check=True).out


def test_frames_and_names_of_all_interpreters(interpreter, start):
    target = start(interpreter, "subinterpreters.py")
    ids = [int(target.expect("interpreter")) for _ in range(2)]
    target.expect("parked")
    before = dump(target.pid, "-a")
    target.say("report")
    truth = json.loads(target.line())
    for shown in before, dump(target.pid, "-a"):
        found = {(t["interpreter"], t["tid"]): t for t in shown["threads"]}
        assert len(found) == len(shown["threads"]) == 7
        assert {i for i, _ in found} == {0, *ids}
        for part in truth:
            assert part["threads"]
            for thread in part["threads"]:
                seen = found.pop((part["interpreter"], thread["tid"]))
                assert frames_of(seen) == thread["frames"]
                assert seen["name"] == thread["name"]
                assert seen["ident"] == thread["ident"]
        # The threads that answer: one in each, beside the main thread.
        assert {t["name"] for t in found.values()} == {
            "MainThread", "интерпретатор 1", "интерпретатор 2"}
