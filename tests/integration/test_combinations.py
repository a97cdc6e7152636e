"""All that can be asked together: every set of options in every format works, or says in one line why
it cannot."""
import gzip
import html.parser
import itertools
import json
import marshal
import os
import shutil
import subprocess
import xml.etree.ElementTree as ElementTree

import pytest

from conftest import find_interpreter
from support import PYPROF, SANITIZED, TARGETS, Target, pyprof, pythons
from test_flamegraph import Data as FlameGraph

MODES = ["wall", "cpu", "gil", "exception"]
ASYNC = {"": [], "running": ["--async-aware"], "all": ["--async-aware", "--async-mode", "all"]}
THREADS = {"": [], "all": ["-a"]}
OPCODES = {"": [], "opcodes": ["--opcodes"]}
PROCESSES = {"": [], "family": ["--subprocesses"]}
SETS = list(itertools.product(ASYNC, THREADS, OPCODES, PROCESSES))


# ---- whether a file is well formed: what it counts, or None where that is not asked ----

def of_collapsed(path):
    with open(path) as f:
        lines = f.read().splitlines()
    stacks = [line.rpartition(" ") for line in lines]
    assert all(all(stack.split(";")) and int(count) > 0 for stack, _, count in stacks)
    return sum(int(count) for *_, count in stacks)


def of_table(path):
    with open(path) as f:
        text = f.read()
    assert text.startswith(("Profile Stats:", "Profile Stats (Mode: ")) and "nsamples" in text


def of_pstats(path):
    with open(path, "rb") as f:
        stats = marshal.load(f)
    assert all(len(k) == 3 and len(v) == 5 for k, v in stats.items())
    return sum(direct for direct, *_ in stats.values())


def of_flamegraph(path):
    data = FlameGraph(path)
    return sum(count for _, _, count, _ in data.counts)


class Tags(html.parser.HTMLParser):
    VOID = {"meta", "link", "br", "hr", "img", "input", "col", "wbr"}

    def __init__(self, text):
        super().__init__()
        self.open = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        # Some need no end of their own.
        while self.open and self.open[-1] != tag and self.open[-1] in ("p", "li", "tr", "td", "th",
                                                                       "tbody", "option"):
            self.open.pop()
        assert self.open and self.open.pop() == tag, tag


def of_heatmap(path):
    names = set(os.listdir(path))
    assert {"index.html", "1.html", "heatmap.css", "heatmap.js"} <= names
    # Others take long to take apart.
    sizes = {name: os.path.getsize(os.path.join(path, name)) for name in names}
    for name in ["index.html", *(n for n in names if n.endswith(".html") and sizes[n] < 20000)]:
        with open(os.path.join(path, name), encoding="utf-8") as f:
            assert set(Tags(f.read()).open) <= {"html", "body"}


def of_svg(path):
    assert ElementTree.parse(path).getroot().tag.endswith("svg")


def of_gecko(path):
    with open(path, encoding="utf-8") as f:
        profile = json.load(f)
    for thread in profile["threads"]:
        for name in ("samples", "stackTable", "frameTable", "funcTable", "markers"):
            for column in thread[name].values():
                assert not isinstance(column, list) or len(column) == thread[name]["length"]
    return sum(thread["samples"]["length"] for thread in profile["threads"])


def of_chrometrace(path):
    with open(path, encoding="utf-8") as f:
        events = json.load(f)["traceEvents"]
    depth = {}
    for event in events:
        if event["ph"] in "BE":
            key = event["pid"], event["tid"]
            depth[key] = depth.get(key, 0) + (1 if event["ph"] == "B" else -1)
            assert depth[key] >= 0
    assert depth and not any(depth.values())


def of_jsonl(path):
    with open(path, encoding="utf-8") as f:
        records = [json.loads(line) for line in f]
    assert records[0]["type"] == "meta" and records[-1]["type"] == "end"
    return records[-1]["samples_total"]


def of_speedscope(path):
    with open(path, encoding="utf-8") as f:
        profile = json.load(f)
    frames = len(profile["shared"]["frames"])
    for p in profile["profiles"]:
        assert len(p["samples"]) == len(p["weights"]) > 0
        assert all(0 <= i < frames for stack in p["samples"] for i in stack)


def of_pprof(path):
    with gzip.open(path) as f:
        data = f.read()
    at, fields = 0, set()

    def varint():
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    while at < len(data):
        tag = varint()
        fields.add(tag >> 3)
        if tag & 7 == 2:
            size = varint()
            at += size
        else:
            assert tag & 7 == 0
            varint()
    assert at == len(data) and {1, 2, 4, 5, 6} <= fields  # types, samples, locations, functions, strings


def of_callgrind(path):
    with open(path) as f:
        lines = f.read().splitlines()
    assert lines[0] == "# callgrind format" and any(line.startswith("events: ") for line in lines)
    assert any(line.startswith("fn=") for line in lines)


FORMATS = {"table": of_table, "pstats": of_pstats, "collapsed": of_collapsed,
           "flamegraph": of_flamegraph, "heatmap": of_heatmap, "svg": of_svg, "gecko": of_gecko,
           "chrometrace": of_chrometrace, "jsonl": of_jsonl, "speedscope": of_speedscope,
           "pprof": of_pprof, "callgrind": of_callgrind}
# Gecko and chrometrace show times: tasks that wait are not in them.
COUNTED_ALIKE = ("collapsed", "pstats", "flamegraph", "jsonl")


def output(format, directory):
    """The file, and the options that have it written."""
    path = os.path.join(directory, "out.pstats" if format == "pstats" else "out")
    return path, [] if format == "table" else [f"--{format}", "-o", path]


def written(format, directory, *args):
    """Runs a command that must write this format, and checks it: what it counts, what it said."""
    path, options = output(format, directory)
    shutil.rmtree(path, ignore_errors=True)
    if os.path.exists(path):
        os.unlink(path)
    result = pyprof(args[0], *options, *args[1:], check=True, cwd=directory)
    if format == "table":
        with open(path, "wb") as f:
            f.write(result.raw)
    return FORMATS[format](path), result.messages


def refused(*args):
    """The one line in which a command says why it does not do what it was asked."""
    result = pyprof(*args)
    assert result.status in (1, 2) and not result.raw and len(result.messages) == 1, (args, result)
    return result.messages[0]


@pytest.fixture(scope="module")
def target():
    t = Target(pythons.command(find_interpreter("3.12"), [os.path.join(TARGETS, "combined.py")]))
    try:
        t.expect("ready")
        yield t
    finally:
        t.close()


@pytest.fixture(scope="module")
def recordings(target, tmp_path_factory):
    """A recording of each set of options, made two at a time."""
    directory, made = tmp_path_factory.mktemp("combinations"), {}
    for pair in zip(SETS[::2], SETS[1::2]):
        running = []
        for names in pair:
            made[names] = directory / ("-".join(names) + ".pyprof")
            options = ASYNC[names[0]] + THREADS[names[1]] + OPCODES[names[2]] + PROCESSES[names[3]]
            running.append(subprocess.Popen(
                [PYPROF, "attach", "-r", "500", "-d", "0.4",
                 "--stop-budget", "20", "--binary", "-o", str(made[names]), *options,
                 str(target.pid)], stderr=subprocess.PIPE, text=True))
        for process in running:
            err = process.communicate(timeout=60)[1]
            assert process.returncode == 0, err
    return made


@pytest.mark.parametrize("names", SETS, ids=lambda names: "-".join(names))
def test_every_set_is_written_in_every_format_in_every_mode(names, recordings, workdir):
    tasks, _, opcodes, _ = names
    for number, mode in enumerate(MODES):
        if SANITIZED and number % 2 != sum(map(bool, names)) % 2:
            continue  # every two of set, format and mode meet, not all three
        asked = ["--mode", mode, *ASYNC[tasks], *OPCODES[opcodes],
                 *(["--native"] if number % 2 else [])]
        counts = {}
        for format in FORMATS:
            counts[format], _ = written(format, workdir, "replay", *asked, recordings[names])
        assert len({counts[format] for format in COUNTED_ALIKE}) == 1, (mode, counts)
        assert counts["collapsed"] > 0


@pytest.mark.parametrize("format", FORMATS)
def test_what_is_not_in_a_recording_is_refused_in_a_line(format, recordings, workdir):
    path, options = output(format, workdir)
    plain = recordings["", "", "", ""]
    assert "lacks opcodes" in refused("replay", *options, "--opcodes", plain)
    assert "lacks tasks" in refused("replay", *options, "--async-aware", plain)
    assert "async-mode all" in refused("replay", *options, *ASYNC["all"],
                                       recordings["running", "", "", ""])
    assert not os.path.exists(path)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("fold", ["thread", "process", "process,thread"])
def test_what_is_folded_is_written_in_every_format(format, fold, recordings, workdir):
    path = recordings["running", "all", "opcodes", "family"]
    count, _ = written(format, workdir, "replay", "--fold", fold, path)
    if format in COUNTED_ALIKE:
        assert count == written("collapsed", workdir, "replay", path)[0]


@pytest.mark.parametrize("mode", MODES)
def test_tasks_that_wait_have_a_part_in_wall_mode_alone(mode, recordings, workdir):
    running, both = (written("collapsed", workdir, "replay", "--mode", mode, *ASYNC[tasks],
                             recordings["all", "", "", ""])[0] for tasks in ("running", "all"))
    assert both > running > 0 if mode == "wall" else both == running > 0


LIVE = [(format, MODES[i % 4]) for i, format in enumerate(FORMATS)] + [
    ("binary", mode) for mode in MODES]


@pytest.mark.parametrize("format, mode", LIVE)
def test_everything_at_once_while_recording(format, mode, target, workdir):
    asked = ["-r", "500", "-d", "0.4", "--stop-budget", "20", "--mode", mode, "-a", "--native",
             "--opcodes", "--async-aware", "--subprocesses"]
    if format != "binary":
        written(format, workdir, "attach", *asked, target.pid)
        return
    path = os.path.join(workdir, "out.pyprof")
    pyprof("attach", *asked, "--binary", "-o", path, target.pid, check=True)
    count, _ = written("collapsed", workdir, "replay", "--async-aware", "--opcodes", "--native",
                       path)
    assert count > 0


FLAGS = [["-a"], ["--native"], ["--opcodes"], ["--async-aware"], ["--mode", "gil"], ["--json"],
         ["--blocking"]]


@pytest.mark.parametrize("which", range(1 << len(FLAGS)))
def test_a_dump_takes_every_set_of_options(which, target):
    options = [word for i, flag in enumerate(FLAGS) if which >> i & 1 for word in flag]
    if "--async-aware" in options and "--mode" in options:
        assert "tasks" in refused("dump", *options, target.pid)
        return
    result = pyprof("dump", *options, target.pid)
    if result.status == 6 and "--mode" in options:
        return  # it held no GIL at that moment
    assert result.status == 0, result
    if "--json" in options:
        # Of a mode there may be none at that moment.
        assert json.loads(result.raw)["threads"] or "--mode" in options
    else:
        assert "combined.py" in result.out
