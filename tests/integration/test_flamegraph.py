"""The flame graph page: what it carries is what was recorded."""
import base64
import json
import os
import re
import textwrap
import zlib

import pytest

from support import pyprof

PROGRAM = textwrap.dedent("""\
    import threading, time
    def slow(): return sum(i * i for i in range(3000))
    def quick(): return sum(i * i for i in range(300))
    def busy(seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            slow(); quick()
    threading.Thread(target=time.sleep, args=(9,), daemon=True, name="idle").start()
    busy(1)
""")


MISSING, CHANGED, NO_PATH = 1, 3, 6     # of enum source in formats/flame-source.c


class Data:
    """The data of a page, read by the rules of formats/flame.c."""

    def __init__(self, path):
        with open(path, encoding="utf-8") as f:
            self.html = f.read()
        packed = re.search(r'<script id="data" type="application/octet-stream">([A-Za-z0-9+/=]*)<',
                           self.html).group(1)
        self.bytes, self.at = zlib.decompress(base64.b64decode(packed)), 0
        self.facts = json.loads(self.take(self.number()))
        lengths = self.numbers(self.number())
        self.text = [""] + [self.take(n).decode() for n in lengths]
        ups, self.parent = self.numbers(self.number()), [0]
        for i, up in enumerate(ups):
            at = i
            for _ in range(up):
                at = self.parent[at]
            self.parent.append(at)
        self.cell = self.renamed(len(ups))
        cells = self.number()
        function, line, _ = self.renamed(cells), self.signed(cells), self.numbers(cells)
        functions = self.number()
        name, file = self.numbers(functions), self.numbers(functions)
        first, _ = self.signed(functions), self.numbers(functions)
        self.frames = [None] + [
            (self.text[file[f - 1]], self.text[name[f - 1]],
             0 if d == -2 ** 31 else d + first[f - 1])
            for f, d in zip(function[1:], line)]
        interval, unit = self.number(), self.number()
        self.counts = []            # [thread, stack from the root, samples, ns]
        for thread in range(len(self.facts["threads"])):
            n, at = self.number(), 0
            places, counts, rests = self.numbers(n), self.numbers(n), self.signed(n)
            for place, count, rest in zip(places, counts, rests):
                at += place
                self.counts.append((thread, self.stack(at), count,
                                    (rest + count * (interval // unit)) * unit))
        self.sources, self.why = {}, {}
        for _ in range(self.number()):
            path, lines, at = self.text[self.number()], {}, 0
            self.why[path] = self.number()
            if not self.why[path]:
                self.number()   # how many lines there are, where the file is too short
            for _ in range(0 if self.why[path] else self.number()):
                at += self.number()
                lines[at] = self.take(self.number()).decode()
            self.sources[path] = lines

    def number(self):
        value = shift = 0
        while True:
            byte = self.bytes[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def numbers(self, n):
        return [self.number() for _ in range(n)]

    def signed(self, n):
        return [v // 2 if v % 2 == 0 else -(v + 1) // 2 for v in self.numbers(n)]

    def renamed(self, n):
        names, last = [0], 0
        for back in self.numbers(n):
            last += back == 0
            names.append(last + 1 - back if back else last)
        return names

    def take(self, n):
        self.at += n
        return self.bytes[self.at - n:self.at]

    def stack(self, node):
        frames = []
        while node:
            frames.append(self.frames[self.cell[node]])
            node = self.parent[node]
        return tuple(reversed(frames))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    directory = tmp_path_factory.mktemp("flame")
    script = directory / "program.py"
    script.write_text(PROGRAM)
    path = directory / "out.pyprof"
    pyprof("run", "--binary", "-a", "-r", "1khz", "-o", path, script, check=True)
    return path


def test_it_carries_what_collapsed_stacks_count(recorded, workdir):
    page, text = os.path.join(workdir, "out.html"), os.path.join(workdir, "out.txt")
    pyprof("replay", "-o", page, recorded, check=True)
    pyprof("replay", "-o", text, recorded, check=True)
    data, ours, theirs = Data(page), {}, {}
    for thread, stack, count, _ in data.counts:
        line = ";".join([f"tid:{data.facts['threads'][thread]['tid']}"] + [
            f"{os.path.basename(file)}:{name}:{line}" if file else name
            for file, name, line in stack])
        ours[line] = ours.get(line, 0) + count
    with open(text, encoding="utf-8") as f:
        for line in f:
            stack, _, count = line.rpartition(" ")
            theirs[stack] = int(count)
    assert ours == theirs and sum(ours.values()) > 500
    sampling = data.facts["sides"][0]["sampling"]
    assert sampling["due"] == sampling["achieved"] + sampling["missed"] + sampling["lost"]
    # The lines that ran, as they are in the file.
    lines = next(lines for path, lines in data.sources.items() if path.endswith("program.py"))
    assert lines[2] == PROGRAM.splitlines()[1]


def test_a_source_that_was_changed_since_is_not_shown(recorded, workdir):
    script = recorded.with_name("program.py")
    os.utime(script)
    page = os.path.join(workdir, "out.html")
    pyprof("replay", "--flamegraph", "-o", page, recorded, check=True)
    data = Data(page)
    assert [(lines, data.why[path]) for path, lines in data.sources.items()
            if path.endswith("program.py")] == [({}, CHANGED)]


def test_a_source_that_is_gone_is_told_from_one_that_may_not_be_read(recorded, workdir):
    script, page = str(recorded.with_name("program.py")), os.path.join(workdir, "out.html")
    os.rename(script, f"{script}.away")
    try:
        pyprof("replay", "--flamegraph", "-o", page, recorded, check=True)
    finally:
        os.rename(f"{script}.away", script)
    why = Data(page).why
    assert [n for path, n in why.items() if path.endswith("program.py")] == [MISSING]
    assert {n for path, n in why.items() if path.startswith("<")} <= {NO_PATH}


def test_reports_of_the_recorder_are_there_to_tell_of_a_range(recorded, workdir):
    page = os.path.join(workdir, "out.html")
    pyprof("replay", "--flamegraph", "-o", page, recorded, check=True)
    side = Data(page).facts["sides"][0]
    numbers, = side["reports"]
    rows = [numbers[i:i + 5] for i in range(0, len(numbers), 5)]
    assert rows[0][1:] == [0] * 4 and rows == sorted(rows)
    assert rows[-1][1:] == [side["sampling"][key] for key in ("due", "achieved", "missed", "lost")]
    assert len(rows) >= 2 and abs(rows[-1][0] - side["span"]) < 1e9


def test_it_needs_nothing_from_elsewhere(recorded, workdir):
    page = os.path.join(workdir, "out.html")
    pyprof("replay", "--flamegraph", "-o", page, recorded, check=True)
    html = Data(page).html
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html).group(1)
    assert "default-src 'none'" in policy and "unsafe" not in policy
    assert not re.search(r"""(src|href)\s*=|@import|url\(""", html.split("<script>")[0])
    assert os.path.getsize(page) < 200000


def test_what_cannot_be_compared_is_refused_in_a_line(recorded, workdir):
    other, page = os.path.join(workdir, "gil.pyprof"), os.path.join(workdir, "out.html")
    script = recorded.with_name("program.py")
    pyprof("run", "--binary", "-a", "--mode", "gil", "-r", "1khz", "-o", other, script, check=True)
    for base, why in ((other, "is of mode gil, this is of mode wall"),
                      (os.path.join(workdir, "none"), "cannot read"),
                      (script, "not a recording")):
        result = pyprof("replay", "--diff-flamegraph", base, "-o", page, recorded)
        assert result.status == 1 and why in result.err, result.err
        assert len(result.err.splitlines()) == 1 and not os.path.exists(page)
    # Before anything runs.
    result = pyprof("run", "--diff-flamegraph", other, "-o", page, script)
    assert result.status == 125 and "cannot be compared" in result.err
    main = os.path.join(workdir, "main.pyprof")
    pyprof("run", "--binary", "-r", "1khz", "-o", main, script, check=True)
    result = pyprof("replay", "--diff-flamegraph", main, "-o", page, recorded)
    assert result.status == 1 and "has the main thread only" in result.err


def test_compared_with_itself_both_sides_are_the_same(recorded, workdir):
    page = os.path.join(workdir, "out.html")
    pyprof("replay", "--diff-flamegraph", recorded, "-o", page, recorded, check=True)
    data = Data(page)
    threads = data.facts["threads"]
    sides = [sorted((threads[t]["tid"], stack, count, ns) for t, stack, count, ns in data.counts
                    if threads[t].get("base", False) == base) for base in (False, True)]
    assert sides[0] == sides[1] and sides[0]


@pytest.mark.parametrize("fold", ["thread", "process,thread"])
def test_folded_threads_are_one_row_with_all_samples(recorded, workdir, fold):
    page, apart = os.path.join(workdir, "out.html"), os.path.join(workdir, "apart.html")
    pyprof("replay", "--flamegraph", "-o", apart, recorded, check=True)
    pyprof("replay", "--flamegraph", "--fold", fold, "-o", page, recorded, check=True)
    apart, data = Data(apart), Data(page)
    assert len(data.facts["threads"]) == 1 < len(apart.facts["threads"])
    assert sum(c[2] for c in data.counts) == sum(c[2] for c in apart.counts) > 500
    assert "noStrip" not in data.facts
    for other in ("gecko", "chrometrace"):
        out = os.path.join(workdir, other)
        done = pyprof("replay", f"--{other}", "--fold", fold, "-o", out, recorded, check=True)
        assert f"{other} shows each thread over time: they are kept apart" in done.err
        with open(out, encoding="utf-8") as f:
            read = json.load(f)
        threads = read.get("threads") or {e["tid"] for e in read["traceEvents"]}
        assert len(threads) == 2
