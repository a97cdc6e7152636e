"""The formats that other tools read hold the same, as those tools tell it."""
import gzip
import json
import marshal
import os
import re
import subprocess
import textwrap
from collections import Counter

import pytest

import pyprof_reader
import readers
from conftest import find_interpreter
from support import pyprof, pythons

FORMATS = {"gecko": "json", "jsonl": "jsonl", "speedscope": "speedscope.json",
           "pprof": "pb.gz", "callgrind": "callgrind", "chrometrace": "json"}
# Slices over time cannot overlap: one ends a nanosecond before the next begins, and the first sample
# of a thread that was numbered anew stands for no more than there is time since the one before.
TRACE_NEAR = 2e6
PLAIN = re.compile(r"^[A-Za-z_][\w.]*$")
HOSTILE = "na;me\n\t\x1b[31m</script>\"'\\{} é€🐍 \u202e\udcff" + "x" * 3000
HOSTILE_FILE = "/sr;c/<b>\n\"we\\ird\u202e\udcfe:1:.py"

PROGRAM = textwrap.dedent("""\
    import ctypes, gc, sys, threading, time
    class Work:
        def inner(self, n):
            return sum(i * i for i in range(n))
        def again(self, depth):
            if depth:
                return self.again(depth - 1) + self.other(depth - 1)
            return self.inner(300)
        def other(self, depth):
            return self.again(depth - 1) if depth > 3 else self.inner(100)
        def outer(self, seconds):
            end, turn = time.monotonic() + seconds, 0
            while time.monotonic() < end:
                turn += 1
                self.inner(300)
                self.again(5)
                gc.collect(0 if turn & 7 else 2)
                try:
                    raise ValueError
                except ValueError:
                    self.inner(100)
                hostile()
    def hostile():
        return sum(range(3000))
    code = hostile.__code__.replace(co_name=%r, co_filename=%r)
    if hasattr(code, "co_qualname"):
        code = code.replace(co_qualname=code.co_name)
    hostile.__code__ = code
    def idle():
        time.sleep(9)
    # What the kernel calls a thread, its threads are called too.
    ctypes.CDLL(None).prctl(15, b'"<i>\\n\\xff;\\\\', 0, 0, 0)
    threading.Thread(target=idle, daemon=True, name='"<i>\\n\\ud800;\\\\').start()
    Work().outer(float(sys.argv[1]))
""") % (HOSTILE, HOSTILE_FILE)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("exports")
    (path / "program.py").write_text(PROGRAM)
    return path


@pytest.fixture(scope="module")
def recording(directory):
    path = directory / "in.pyprof"
    pyprof("run", "--binary", "-a", "-r", "1khz", "-o", path, directory / "program.py", 1,
           check=True)
    return path


@pytest.fixture(scope="module")
def files(recording, directory):
    """The same recording as each format; a copy may be damaged."""
    made = {}
    for format, extension in {**FORMATS, "collapsed": "txt", "pstats": "pstats"}.items():
        made[format] = str(directory / f"out-{format}.{extension}")
        pyprof("replay", f"--{format}", "-o", made[format], recording, check=True)
    return made


@pytest.fixture(scope="module")
def truth(recording, files):
    """From the recording, by a reader of its own, and for times from the pstats file."""
    return expected(recording, files["pstats"], lambda tid: True)


def expected(recording, pstats, choose):
    samples, ns = readers.Profile("samples"), readers.Profile("ns")
    streams, _ = pyprof_reader.read(recording.read_bytes())
    for (tid, frames), count in streams[0].stacks.items():
        if frames and choose(tid):
            samples.add_stack([name for _, name, _ in frames], count)
    with open(pstats, "rb") as f:
        stats = marshal.load(f)
    for (_, _, name), (_, _, own, _, callers) in stats.items():
        ns.total += own * 1e9
        ns.own[name] += own * 1e9
        ns.names.add(name)
        for (_, _, caller), (_, _, _, through) in callers.items():
            ns.calls[caller, name] += through * 1e9
    return {"samples": samples, "ns": ns}


def plain(names):
    return {name for name in names if PLAIN.match(name)}


def check(profile, truth):
    """The same functions, total, own shares, and one known call; recursion is counted once."""
    expected = truth[profile.unit]
    near = TRACE_NEAR if profile.trace else 1
    assert plain(profile.names) == plain(expected.names)
    assert profile.total == pytest.approx(expected.total, rel=1e-6, abs=near)
    for name in plain(expected.names):
        assert profile.own[name] == pytest.approx(expected.own[name], rel=1e-6, abs=near), name
    if profile.calls is not None:
        call = ("Work.outer", "Work.inner")
        assert expected.calls[call] > 0
        assert profile.calls[call] == pytest.approx(expected.calls[call], rel=1e-6, abs=near)
    if profile.unit == "samples" and profile.inclusive is not None:
        # Of one file: elsewhere two functions of one name can be on one stack.
        for name in ("Work.outer", "Work.again", "Work.other", "Work.inner", "idle"):
            assert profile.inclusive[name] == expected.inclusive[name], name
        assert profile.inclusive["Work.again"] > 0


def read_collapsed(path, workdir):
    profile = readers.speedscope(path, "collapsed")
    profile.names = {n for n in profile.names if not n.startswith("tid:")}
    return profile


READERS = {
    "collapsed": lambda path, workdir: read_collapsed(path, workdir),
    "speedscope": lambda path, workdir: readers.speedscope(path, "speedscope"),
    "chrometrace": lambda path, workdir: readers.speedscope(path, "chrometrace"),
    "pprof": lambda path, workdir: readers.speedscope(path, "pprof"),
    "gecko": readers.firefox,
    "go-pprof-samples": lambda path, workdir: readers.pprof(path, 0, workdir),
    "go-pprof-wall": lambda path, workdir: readers.pprof(path, 1, workdir),
    "callgrind-samples": lambda path, workdir: readers.callgrind(path, 0, workdir),
    "callgrind-time": lambda path, workdir: readers.callgrind(path, 1, workdir),
    "jsonl": lambda path, workdir: readers.jsonl(path),
}


def format_of(reader):
    return reader.replace("go-", "").split("-")[0]


@pytest.mark.parametrize("reader", READERS)
def test_other_tools_read_the_same(reader, files, truth, workdir):
    check(READERS[reader](files[format_of(reader)], workdir), truth)


def replaced(data, old, new, count=1):
    assert old in data, "there is nothing to damage"
    return data.replace(old, new, count)


def bump(data, pattern):
    """Much more in the first number that the pattern's group finds."""
    found = re.search(pattern, data)
    assert found, "there is nothing to damage"
    return data[:found.start(1)] + str(int(found[1]) + 1000000).encode() + data[found.end(1):]


DAMAGE = {
    "collapsed": lambda data: bump(data, rb" (\d+)\n"),
    "speedscope": lambda data: bump(data, rb'"weights":\[\d+,(\d+)'),
    "chrometrace": lambda data: replaced(data, b'"ph":"E"', b'"ph":"i"', 40),
    "pprof": lambda data: gzip.compress(replaced(gzip.decompress(data), b"Work.inner",
                                                 b"Work.innex")),
    "gecko": lambda data: re.sub(rb'("stack":\[)(?:\d+|null)(,(?:\d+|null)){20}', rb"\1null" +
                                 20 * rb",null", data, count=1),
    "go-pprof-samples": lambda data: data[:-20] + bytes(12) + data[-8:],
    "go-pprof-wall": lambda data: gzip.compress(gzip.decompress(data)[:-4000]),
    "callgrind-samples": lambda data: re.sub(rb"(?m)^([1-9]\d* [1-9]\d*) (\d+)$", rb"\g<1>0 \2",
                                             data),
    "callgrind-time": lambda data: re.sub(rb"(?m)^([1-9]\d* [1-9]\d* \d+)$", rb"\g<1>0", data),
    "jsonl": lambda data: bump(data, rb'"self":(\d+)'),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_planted_error_is_noticed(reader, files, truth, workdir):
    source = files[format_of(reader)]
    path = os.path.join(workdir, os.path.basename(source))
    with open(source, "rb") as f:
        data = f.read()
    damaged = DAMAGE[reader](data)
    assert damaged != data
    with open(path, "wb") as f:
        f.write(damaged)
    with pytest.raises((AssertionError, ValueError)):
        check(READERS[reader](path, workdir), truth)


JSON_HOSTILE = HOSTILE.replace("\udcff", 3 * "\ufffd")
JSON_FILE = HOSTILE_FILE.replace("\udcfe", 3 * "\ufffd")


def test_hostile_names_arrive_as_they_are(files, workdir):
    """In JSON; what is not UTF-8 is replaced."""
    def frames(path):
        return {(f["name"], f["file"])
                for p in readers.speedscope_raw(path)["profiles"] for f in p["frames"]}

    assert (JSON_HOSTILE, JSON_FILE) in frames(files["speedscope"])
    assert any(name.startswith(f"{JSON_HOSTILE} ({JSON_FILE}:")
               for name, _ in frames(files["chrometrace"]))
    with open(files["gecko"], encoding="utf-8") as f:
        gecko = json.load(f)
    strings = gecko["shared"]["stringArray"]
    assert JSON_HOSTILE in strings and JSON_FILE in strings
    names = {t["name"] for t in gecko["threads"]}
    assert '"<i>\n\ufffd;\\' in names or '"<i>\n\ufffd\ufffd\ufffd;\\' in names
    with open(files["jsonl"], encoding="utf-8") as f:
        values = [s["value"] for line in f for s in json.loads(line).get("strings", [])]
    assert JSON_HOSTILE in values and JSON_FILE in values


def test_text_and_pprof_hold_no_controls(files):
    for data in (open(files["callgrind"], "rb").read(), readers.gunzip(files["pprof"])):
        assert b"na;me\\n\\t\\x1b[31m</script>" in data
        assert b"\x1b[31m" not in data and "\u202e".encode() not in data
    with open(files["callgrind"], encoding="utf-8") as f:
        for line in f:
            assert len(line) < 20000 and (line == "\n" or re.match(
                r"^(# |[a-z]+: |(fl|fn|cfi|cfn)=\(\d+\)|calls=\d+ -?\d+$|-?\d+ \d+ \d+$)", line))


def test_pprof_says_whose_samples_they_are(files, recording, workdir):
    text = readers.run([readers.need("go"), "tool", "pprof", "-raw", files["pprof"]],
                       env={**os.environ, "HOME": workdir})
    stream = pyprof_reader.read(recording.read_bytes())[0][0]
    head = text.partition("Samples:")[0]
    assert "Comment: " + stream.header["command"] in head
    assert f"Period: {10**9 // 1000}\n" in head and "Duration: 1" in head
    assert "samples/count wall/nanoseconds[dflt] cpu/nanoseconds gil/nanoseconds" in text
    assert f"process:[{stream.header['pid']}]" in text and "thread_id:[" in text
    assert stream.header["build_id"] in text.partition("Mappings")[2]
    assert os.path.basename(stream.header["object"]) in text.partition("Mappings")[2]


def shape(path):
    """The kinds of records, with the keys of theirs and of their entries, in order. Of entries that
    leave out what is not known, as the place of an instruction within its line, those that do not:
    which others there are is a matter of what was sampled."""
    found = {}
    with open(path, encoding="utf-8") as f:
        for line in f:
            record = json.loads(line)
            assert line.rstrip("\n") in [json.dumps(record, separators=(",", ":"), ensure_ascii=a)
                                         for a in (True, False)]
            entries = [e for value in record.values() if isinstance(value, list) for e in value]
            assert len(entries) <= 256
            found.setdefault((record["type"], tuple(record)), set()).update(map(tuple, entries))
    return {kind: {e for e in entries if not any(leaves_out(e, other) for other in entries)}
            for kind, entries in found.items()}


def leaves_out(keys, others):
    rest = iter(others)
    return keys != others and all(key in rest for key in keys)


def test_jsonl_is_as_the_original_writes_it(workdir):
    """Whose own file is made beside, of the same program."""
    entry = find_interpreter("3.15")
    script, theirs, ours = (os.path.join(workdir, name) for name in ("p.py", "t.jsonl", "o.jsonl"))
    with open(script, "w") as f:
        f.write("import gc\ndef work():\n    for i in range(300): gc.collect()\nwork()\n")
    subprocess.run(pythons.command(entry, ["-m", "profiling.sampling", "run", "--jsonl", "-r",
                                           "1khz", "-o", theirs, script]),
                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=60)
    assert os.path.exists(theirs), "the original made no file"
    pyprof("run", "--jsonl", "-o", ours, "--", *pythons.command(entry, [script]), check=True)
    assert shape(ours) == shape(theirs)
    assert list(shape(ours)) == list(shape(theirs))


# ---- the Firefox Profiler's own facts ----

@pytest.fixture(scope="module")
def gecko(files):
    with open(files["gecko"], encoding="utf-8") as f:
        return json.load(f)


def test_gecko_tables_refer_to_what_is_there(gecko):
    strings = len(gecko["shared"]["stringArray"])
    categories = gecko["meta"]["categories"]
    schemas = {s["name"] for s in gecko["meta"]["markerSchema"]}
    assert {"Python", "Native", "GC", "Idle", "Other"} <= {c["name"] for c in categories}
    assert any(c["color"] == "grey" for c in categories)
    for thread in gecko["threads"]:
        for name in ("samples", "stackTable", "frameTable", "funcTable", "resourceTable",
                     "nativeSymbols", "markers"):
            table = thread[name]
            for column, values in table.items():
                if isinstance(values, list):
                    assert len(values) == table["length"], (name, column)
        stacks, frames = thread["stackTable"], thread["frameTable"]
        for i, prefix in enumerate(stacks["prefix"]):
            assert prefix is None or prefix < i or \
                frames["category"][stacks["frame"][i]] == 9 and prefix < stacks["length"]
        assert all(s is None or s < stacks["length"] for s in thread["samples"]["stack"])
        assert all(f < frames["length"] for f in stacks["frame"])
        assert all(f < thread["funcTable"]["length"] for f in frames["func"])
        assert all(c < len(categories) for c in frames["category"])
        assert all(n < strings for n in thread["funcTable"]["name"] + thread["markers"]["name"])
        assert all(d["type"] in schemas for d in thread["markers"]["data"])
        assert all(d >= 0 for d in thread["samples"]["timeDeltas"])
        for begin, end in zip(thread["markers"]["startTime"], thread["markers"]["endTime"]):
            assert 0 <= begin <= end


def test_gecko_tells_threads_and_times(gecko, recording):
    stream = pyprof_reader.read(recording.read_bytes())[0][0]
    assert {t["pid"] for t in gecko["threads"]} == {str(stream.header["pid"])}
    assert [t["isMainThread"] for t in gecko["threads"]] == [True, False]
    assert {t["tid"] for t in gecko["threads"]} == {tid for tid, _ in stream.stacks}
    for thread in gecko["threads"]:
        assert 0.8e3 < sum(thread["samples"]["timeDeltas"]) < 30e3
        assert thread["samples"]["length"] == sum(
            n for (tid, _), n in stream.stacks.items() if tid == thread["tid"])


def test_gecko_markers_are_intervals_of_states(gecko):
    main, idle = gecko["threads"]
    strings = gecko["shared"]["stringArray"]

    def spent(thread):
        sums = Counter()
        for name, begin, end in zip(thread["markers"]["name"], thread["markers"]["startTime"],
                                    thread["markers"]["endTime"]):
            sums[strings[name]] += end - begin
        return sums

    whole = sum(main["samples"]["timeDeltas"])
    busy, waits = spent(main), spent(idle)
    assert 0.5 * whole < busy["Has GIL"] <= whole + 2
    assert busy["Has Exception"] > 0 and busy["No Exception"] > 0
    assert abs(busy["Has GIL"] + busy["No GIL"] - whole) < 0.3 * whole
    assert waits["No GIL"] > 0.5 * whole and waits["Off CPU"] > 0.5 * whole
    assert waits["Has GIL"] < 0.1 * whole
    # What it stands in while it waits is idle.
    table, frames = idle["stackTable"], idle["frameTable"]
    leaves = Counter(frames["category"][table["frame"][s]]
                     for s in idle["samples"]["stack"] if s is not None)
    assert leaves.most_common(1)[0][0] == 9
    assert sum(d or 0 for d in main["samples"]["threadCPUDelta"]) > 0.2e9


def test_gecko_has_instructions_where_they_are_recorded(directory, workdir):
    path = os.path.join(workdir, "out.json")
    pyprof("run", "--gecko", "--opcodes", "-o", path, directory / "program.py", 0.2, check=True)
    with open(path, encoding="utf-8") as f:
        markers = json.load(f)["threads"][0]["markers"]
    ops = [d for d in markers["data"] if d["type"] == "Opcode"]
    assert ops and all(d["opname"].isupper() and d["function"] for d in ops)
    with readers.Firefox(path, workdir) as session:
        listed = session("thread", "markers", "--thread", "t-0", "--limit", "1")
        assert listed["totalMarkerCount"] == markers["length"]


# ---- what Firefox' older DevTools wrote ----

@pytest.fixture(scope="module")
def devtools(recording, directory):
    path = str(directory / "devtools.json")
    pyprof("replay", "--gecko", "--devtools", "-o", path, recording, check=True)
    return path


@pytest.fixture(scope="module")
def main_tid(recording):
    return pyprof_reader.read(recording.read_bytes())[0][0].header["pid"]


@pytest.fixture(scope="module")
def main_truth(recording, directory, main_tid):
    pstats = str(directory / "main.pstats")
    pyprof("replay", "--pstats", "--thread", main_tid, "-o", pstats, recording, check=True)
    return expected(recording, pstats, lambda tid: tid == main_tid)


def test_other_tools_read_the_main_thread_of_a_gecko_file(devtools, main_truth):
    profile = readers.speedscope(devtools, "devtools")
    check(profile, main_truth)
    assert "<GC>" in profile.names and "idle" not in profile.names


def test_the_firefox_profiler_reads_it_all_the_same(devtools, files, truth, workdir):
    check(readers.firefox(devtools, workdir), truth)
    with open(files["gecko"], "rb") as without, open(devtools, "rb") as both:
        head = without.read()
        assert head.endswith(b"]}}\n")
        assert both.read().startswith(head[:-2] + b',\n"systemHost":{"name":"Firefox"}')


def of_samples(data, change):
    """With other rows of the samples."""
    head, begin, rest = data.partition(b'"time":1},\n"data":[[')
    assert begin, "there is nothing to damage"
    rows, end, tail = rest.partition(b"]]")
    return head + begin + b"],[".join(change(rows.split(b"],["))) + end + tail


@pytest.mark.parametrize("damage", [
    lambda data: replaced(data, b'"Work.inner (', b'"Work.innex ('),
    lambda data: replaced(data, b'<GC> ()"', b'<GC>"'),
    lambda data: of_samples(data, lambda rows: rows[:len(rows) // 2]),
    lambda data: of_samples(data, lambda rows: [re.sub(rb"^\d+", b"0", row) for row in rows]),
], ids=["name", "location", "end", "stack"])
def test_a_planted_error_of_the_main_thread_is_noticed(damage, devtools, main_truth, workdir):
    path = os.path.join(workdir, "damaged.json")
    with open(devtools, "rb") as f:
        data = f.read()
    damaged = damage(data)
    assert damaged != data
    with open(path, "wb") as f:
        f.write(damaged)
    with pytest.raises((AssertionError, ValueError)):
        test_other_tools_read_the_main_thread_of_a_gecko_file(path, main_truth)


def stacks_of(path, choose=lambda name: True):
    """ns of each stack, as speedscope tells it; a name that is written otherwise is cut."""
    found = Counter()
    for profile in readers.speedscope_raw(path)["profiles"]:
        if choose(profile["name"]):
            for names, amount in profile["stacks"]:
                found[tuple("hostile" if name.startswith("na;me") else name for name in names)] += \
                    amount * (1 if profile["unit"] == "nanoseconds" else 1e6)
    return found


@pytest.mark.parametrize("options", [
    ["--native"], ["--no-gc"], ["--mode", "cpu"], ["--mode", "gil"], ["--mode", "exception"],
    ["--from", "0.2", "--to", "0.6"], ["--function", "again"], ["--fold", "process"],
], ids=" ".join)
def test_whatever_is_asked_for_stacks_weigh_the_same(options, recording, main_tid, workdir):
    both, other = (os.path.join(workdir, name) for name in ("both.json", "other.json"))
    pyprof("replay", "--gecko", "--devtools", *options, "-o", both, recording, check=True)
    pyprof("replay", "--speedscope", *options, "-o", other, recording, check=True)
    stacks = stacks_of(both)
    assert stacks == pytest.approx(stacks_of(other, lambda name: f"tid {main_tid})" in name),
                                   rel=1e-6, abs=1)
    assert stacks and any("Work.outer" in stack for stack in stacks)


def test_a_thread_that_was_chosen_is_the_one(recording, main_tid, workdir):
    idle, = {tid for tid, _ in pyprof_reader.read(recording.read_bytes())[0][0].stacks} - {main_tid}
    path = os.path.join(workdir, "idle.json")
    pyprof("replay", "--gecko", "--devtools", "--thread", idle, "-o", path, recording, check=True)
    names = readers.speedscope(path, "devtools").names
    assert "idle" in names and "Work.inner" not in names


# What a pattern for "name (file:line)" would cut elsewhere, or leave out.
MISREAD = {
    ("f (a:1)", "/x/b (c:2:3) d.py"): ("f (a:1)", r"/x/b \x28c\x3a2\x3a3) d.py"),
    ("g\n(h)", "self-hosted"): (r"g\n(h)", r"\x73elf-hosted"),
    ("", "resource://x/y.py"): ("", r"\x72esource://x/y.py"),
    ("k )", "/y\u3000(z).py"): ("k )", "/y\u3000\\x28z).py"),
    ("tab\t\u2028 ", "(a).py:12"): (r"tab\t\u2028 ", r"(a).py\x3a12"),
    (HOSTILE, HOSTILE_FILE): (
        "na;me\\n\\t\\x1b[31m</script>\"'\\{} é€🐍 \\u202e\\xed\\xb3\\xbf" + "x" * 3000,
        "/sr;c/<b>\\n\"we\\ird\\u202e\\xed\\xb3\\xbe\\x3a1:.py"),
}


def test_no_name_breaks_the_pattern_that_others_read_by(workdir):
    script, path = os.path.join(workdir, "names.py"), os.path.join(workdir, "out.json")
    with open(script, "w") as f:
        f.write(textwrap.dedent("""\
            import time
            def make(name, file):
                def spin():
                    end = time.monotonic() + 0.05
                    while time.monotonic() < end:
                        sum(range(200))
                spin.__code__ = spin.__code__.replace(co_name=name, co_filename=file,
                    **({"co_qualname": name} if hasattr(spin.__code__, "co_qualname") else {}))
                return spin
            for name, file in %a:
                make(name, file)()
        """) % (list(MISREAD),))
    pyprof("run", "--gecko", "--devtools", "-o", path, script, check=True)
    profile, = readers.speedscope_raw(path)["profiles"]
    frames = {(f["name"], f["file"], f["line"]) for f in profile["frames"]}
    missing = {(name, file, 3) for name, file in MISREAD.values()} - frames
    assert not missing, (missing, [f for f in frames if f[2] == 3])
    spent = Counter()
    for names, amount in profile["stacks"]:
        spent[names[-1]] += amount
    assert all(spent[name] > 20 for name, _ in MISREAD.values()), spent


TASKS = textwrap.dedent("""\
    import asyncio, time
    async def spin(seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            sum(range(500))
            await asyncio.sleep(0)
    async def main():
        await asyncio.gather(asyncio.create_task(spin(0.5), name="one <b>"),
                             asyncio.create_task(spin(0.5), name="two"))
    asyncio.run(main())
""")


@pytest.mark.timing
def test_tasks_that_run_are_intervals(workdir):
    script, gecko, trace = (os.path.join(workdir, name)
                            for name in ("tasks.py", "gecko.json", "trace.json"))
    with open(script, "w") as f:
        f.write(TASKS)
    recording = os.path.join(workdir, "in.pyprof")
    # Tasks that change all the time need stops to be known.
    pyprof("run", "--async-aware", "--stop-budget", "100%", "--binary", "-o", recording, script,
           check=True)
    pyprof("replay", "--async-aware", "--gecko", "-o", gecko, recording, check=True)
    with open(gecko, encoding="utf-8") as f:
        profile = json.load(f)
    spent = Counter()
    markers = profile["threads"][0]["markers"]
    for data, begin, end in zip(markers["data"], markers["startTime"], markers["endTime"]):
        if data["type"] == "Task":
            spent[data["task"]] += end - begin
    assert spent["one <b>"] > 5 and spent["two"] > 5, spent
    with readers.Firefox(gecko, workdir) as session:
        names = {f["name"] for f in session.functions("t-0")}
    assert {"one <b>", "two", "spin"} <= names
    pyprof("replay", "--async-aware", "--chrometrace", "-o", trace, recording, check=True)
    with open(trace, encoding="utf-8") as f:
        assert {"one <b> (<task>)", "two (<task>)"} <= {e["name"] for e in json.load(f)["traceEvents"]
                                      if e.get("cat") == "task"}


WAITING = textwrap.dedent("""\
    import asyncio
    async def sleeper(seconds):
        await asyncio.sleep(seconds)
    async def outer():
        await asyncio.create_task(sleeper(0.6), name="inner <b>")
    async def main():
        await asyncio.gather(asyncio.create_task(outer(), name="outer"),
                             asyncio.create_task(sleeper(0.3), name="twin"),
                             asyncio.create_task(sleeper(0.9), name="twin"))
    asyncio.run(main())
""")


@pytest.fixture(scope="module")
def waited(directory):
    """A recording of tasks that do nothing but wait, and the seconds of each, by another format."""
    script, recording = directory / "sleepers.py", directory / "waiting.pyprof"
    script.write_text(WAITING)
    pyprof("run", "--async-aware", "--async-mode", "all", "--binary", "-o", recording, script,
           check=True)
    other = json.loads(pyprof("replay", "--async-aware", "--async-mode", "all", "--speedscope", "-o",
                              "-", recording, check=True).out)
    spent, frames = Counter(), other["shared"]["frames"]
    for profile in other["profiles"]:
        for stack, ns in zip(profile["samples"], profile["weights"]):
            tasks = [frames[i]["name"] for i in stack if frames[i].get("file") == "<task>"]
            spent[tasks[-1]] += ns / 1e9
    assert spent["inner <b>"] > 0.1 and spent["twin"] > 0.2, spent
    return recording, spent


AWAITERS = {"inner <b>": "outer", "twin": "Task-1"}
# Where a task stands that was made and did not begin yet.
UNBEGUN = 1 + next(n for n, line in enumerate(WAITING.split("\n")) if "def sleeper" in line)


def export_waits(waited, format, workdir, *options):
    path = os.path.join(workdir, format)
    pyprof("replay", "--async-aware", "--async-mode", "all", f"--{format}", *options, "-o", path,
           waited[0], check=True)
    with open(path, encoding="utf-8") as f:
        return path, json.load(f)


def about(spent, seconds):
    """Of a task that also ran, the samples of that are not in it."""
    for name in ("inner <b>", "twin"):
        assert abs(spent[name] - seconds[name]) < 0.02, (name, spent, seconds)


def test_tasks_that_wait_are_markers_with_a_stack(waited, workdir):
    path, profile = export_waits(waited, "gecko", workdir)
    thread, spent, awaiters = profile["threads"][0], Counter(), set()
    strings, markers = profile["shared"]["stringArray"], thread["markers"]
    for data, begin, end in zip(markers["data"], markers["startTime"], markers["endTime"]):
        if data["type"] != "TaskWaiting":
            continue
        assert 0 <= begin <= end
        spent[data["task"]] += (end - begin) / 1000
        if data["task"] not in AWAITERS or (data["function"], data["line"]) == ("sleeper", UNBEGUN):
            continue
        assert data["function"] == "sleep" and data["line"] > 0
        awaiters.add((data["task"], data.get("awaiter")))
        at, names = data["cause"]["stack"], []
        while at is not None:
            frame = thread["stackTable"]["frame"][at]
            names.append(strings[thread["funcTable"]["name"][thread["frameTable"]["func"][frame]]])
            at = thread["stackTable"]["prefix"][at]
        assert names[0] == "sleep" and data["task"] in names, names
    # One that was only just made is awaited by none yet.
    assert AWAITERS.items() <= awaiters <= AWAITERS.items() | {(name, None) for name in AWAITERS}
    about(spent, waited[1])
    schema = {s["name"]: s for s in profile["meta"]["markerSchema"]}["TaskWaiting"]
    assert {f["key"] for f in schema["fields"]} == {"task", "awaiter", "function", "file", "line"}
    with readers.Firefox(path, workdir) as session:
        kind, = [t for t in session("thread", "markers", "--thread", "t-0", "--limit",
                                    "100")["byType"] if t["markerName"] == "Task Waiting"]
    assert kind["count"] == len([d for d in markers["data"] if d["type"] == "TaskWaiting"])
    assert kind["topMarkers"][0]["hasStack"] and kind["isInterval"]
    assert any(re.fullmatch(r"(twin|inner <b>) waits in sleep, line \d+", m["label"])
               for m in kind["topMarkers"])


def test_tasks_that_wait_are_slices_of_their_own(waited, workdir):
    events = export_waits(waited, "chrometrace", workdir)[1]["traceEvents"]
    events = [e for e in events if e.get("cat") == "waiting task"]
    begun, ended = ({e["id"]: e for e in events if e["ph"] == phase} for phase in "be")
    assert begun.keys() == ended.keys() and len(events) == 2 * len(begun)
    spent = Counter()
    for i, e in begun.items():
        assert ended[i]["name"] == e["name"] and 0 <= e["ts"] <= ended[i]["ts"]
        spent[e["name"]] += (ended[i]["ts"] - e["ts"]) / 1e6
        if e["name"] in AWAITERS:
            waits_in = e["args"]["waits in"]
            assert waits_in.startswith("sleep (") or re.match(
                rf"sleeper \(.*:{UNBEGUN}\)$", waits_in), waits_in
            assert e["args"]["looks"] > 0
            assert e["args"].get("awaited by") in (AWAITERS[e["name"]], None)
    about(spent, waited[1])


@pytest.mark.parametrize("format", ["gecko", "chrometrace"])
def test_of_tasks_that_wait_only_the_time_asked_for(format, waited, workdir):
    events = export_waits(waited, "chrometrace", workdir)[1]["traceEvents"]
    begin = min(e["ts"] for e in events if e.get("cat") == "waiting task") / 1e6
    _, profile = export_waits(waited, format, workdir, "--from", begin + 0.1, "--to", begin + 0.4)
    if format == "gecko":
        markers = profile["threads"][0]["markers"]
        spans = [(b, e) for d, b, e in zip(markers["data"], markers["startTime"],
                                           markers["endTime"]) if d["type"] == "TaskWaiting"]
    else:
        events = [e for e in profile["traceEvents"] if e.get("cat") == "waiting task"]
        ends = {e["id"]: e["ts"] / 1000 for e in events if e["ph"] == "e"}
        spans = [(e["ts"] / 1000, ends[e["id"]]) for e in events if e["ph"] == "b"]
    assert spans and max(e for _, e in spans) - min(b for b, _ in spans) <= 300.1
    assert 0.1 < sum(e - b for b, e in spans) / 1000 <= 0.91
    # Of those that run, if one was seen to, none waits.
    running = pyprof("replay", "--async-aware", f"--{format}", "-o", "-", waited[0])
    assert running.status in (0, 6)
    if running.status == 0 and format == "gecko":
        types = {d["type"] for t in json.loads(running.out)["threads"] for d in t["markers"]["data"]}
        assert "Task" in types and "TaskWaiting" not in types
    elif running.status == 0:
        assert "waiting task" not in running.out


# ---- each command, several processes ----

@pytest.mark.parametrize("format", FORMATS)
def test_run_writes_it_directly(format, directory, workdir):
    path = os.path.join(workdir, "out." + FORMATS[format])
    result = pyprof("run", f"--{format}", "-o", path, directory / "program.py", 0.2, check=True)
    assert f"{format} written to" in result.err
    reader = next(r for r in READERS if format_of(r) == format)
    assert "Work.outer" in READERS[reader](path, workdir).names


def test_attach_writes_it_directly(start, python3, workdir):
    target = start(python3, "known.py")
    target.expect("ready")
    for format, extension in FORMATS.items():
        path = os.path.join(workdir, f"{format}.{extension}")
        pyprof("attach", f"--{format}", "-d", "0.1", "-o", path, target.pid, check=True)
    for reader in READERS:
        if format_of(reader) in FORMATS:
            sub = os.path.join(workdir, reader)
            os.mkdir(sub)
            path = os.path.join(workdir,
                                f"{format_of(reader)}.{FORMATS[format_of(reader)]}")
            profile = READERS[reader](path, sub)
            assert {"known_base", "known_middle", "known_leaf"} <= profile.names
            if profile.calls is not None:
                assert profile.calls["known_middle", "known_leaf"] > 0


@pytest.mark.parametrize("format", FORMATS)
def test_an_error_of_writing_is_an_error(format, recording):
    with open("/dev/full", "wb") as full:
        result = pyprof("replay", f"--{format}", "-o", "-", recording, stdout=full)
    assert result.status == 1 and "No space left" in result.err


FAMILY = textwrap.dedent("""\
    import os, sys, time
    def spin(name, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            sum(range(200))
    def child(): spin("child", 0.6)
    def parent(): spin("parent", 0.8)
    pid = os.fork()
    if pid:
        parent()
        os.waitpid(pid, 0)
    else:
        child()
        os._exit(0)
""")


def test_processes_have_tracks_of_their_own(workdir):
    script = os.path.join(workdir, "family.py")
    with open(script, "w") as f:
        f.write(FAMILY)
    recording = os.path.join(workdir, "in.pyprof")
    pyprof("run", "--subprocesses", "--binary", "-o", recording, script, check=True)
    with open(recording, "rb") as f:
        streams = pyprof_reader.read(f.read())[0]
    pids = {s.header["pid"] for s in streams}
    assert len(pids) == 2
    gecko, trace = (os.path.join(workdir, name) for name in ("gecko.json", "trace.json"))
    pyprof("replay", "--gecko", "-o", gecko, recording, check=True)
    pyprof("replay", "--chrometrace", "-o", trace, recording, check=True)
    with readers.Firefox(gecko, workdir) as session:
        threads = session.threads()
        assert {int(t["pid"]) for t in threads} == pids
        by_function = {t["pid"]: {f["name"] for f in session.functions(t["threadHandle"])}
                       for t in threads}
    assert sum("child" in names for names in by_function.values()) == 1
    assert not any(n.startswith("pid:") for names in by_function.values() for n in names)
    with open(gecko, encoding="utf-8") as f:
        assert all(t["isMainThread"] for t in json.load(f)["threads"])
    with open(trace, encoding="utf-8") as f:
        events = json.load(f)["traceEvents"]
    slices = [e for e in events if e["ph"] == "B"]
    assert {e["pid"] for e in slices} == pids
    assert len({e["pid"] for e in slices if e["name"].startswith("child (")}) == 1
    # Both ran at the same time, on one clock.
    spans = {pid: [e["ts"] for e in events if e["pid"] == pid and "ts" in e] for pid in pids}
    first, second = spans.values()
    assert min(first) < max(second) and min(second) < max(first)
    speedscope = os.path.join(workdir, "out.speedscope.json")
    pyprof("replay", "--speedscope", "-o", speedscope, recording, check=True)
    names = [p["name"] for p in readers.speedscope_raw(speedscope)["profiles"]]
    assert len(names) == 2 and all(any(f"pid {pid}" in n for n in names) for pid in pids)
    # Others read the first process alone.
    pyprof("replay", "--gecko", "--devtools", "-o", gecko, recording, check=True)
    first = stacks_of(gecko)
    assert first == pytest.approx({
        tuple(n for n in names if not n.startswith("pid:")): ns for names, ns in stacks_of(
            speedscope, lambda name: f"pid {streams[0].header['pid']}," in name).items()},
        rel=1e-6, abs=1)
    assert any("parent" in stack for stack in first)
    assert not any("child" in stack for stack in first)


def test_slices_nest_and_stay_open_as_long_as_a_function_runs(files, truth):
    with open(files["chrometrace"], encoding="utf-8") as f:
        events = json.load(f)["traceEvents"]
    stacks, last, outers = {}, {}, 0
    for event in events:
        key = event["pid"], event["tid"]
        if event["ph"] in "BE":
            assert event["ts"] >= last.get(key, 0)
            last[key] = event["ts"]
        if event["ph"] == "B":
            stacks.setdefault(key, []).append(event["name"])
            outers += event["name"].startswith("Work.outer (")
        elif event["ph"] == "E":
            assert stacks[key].pop() == event["name"]
    assert not any(stacks.values())
    # It is called once: what interrupts it is what could not be read.
    assert 0 < outers < truth["samples"].inclusive["Work.outer"] / 4
    opened = Counter((e["id"], e["ph"]) for e in events if e["ph"] in "be")
    assert {"exception"} <= {e["name"] for e in events if e["ph"] == "b"}
    assert all(opened[i, "b"] == opened[i, "e"] for i, _ in opened)
