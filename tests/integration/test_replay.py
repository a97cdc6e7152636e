"""replay of what another sampler recorded, of several recordings, and of what is no recording."""
import os
import re
import subprocess
import textwrap
from collections import Counter

import pytest

import tach
from conftest import find_interpreter
from support import collapsed as parse, pyprof, pythons
from test_formats import PROGRAM

PLACE = {"strings": ["/srv/a.py", "outer", "inner", "leaf", "~", "<GC>", "<native>"],
         "frames": [(0, 1, 10), (0, 2, 20), (0, 3, 30), (4, 5, -1), (4, 6, -1), (0, 3, 31)]}
WALL = tach.GIL | tach.CPU_UNKNOWN


def lines_of(text):
    lines = Counter()
    for line in text.split("\n")[:-1]:
        stack, _, count = line.rpartition(" ")
        lines[stack] += int(count)
    return lines


def replay(*args, **options):
    """The collapsed lines; none where there is nothing of what was asked for."""
    result = pyprof("replay", "--collapsed", "-o", "-", *args, **options)
    assert result.status in (0, 6), result
    return lines_of(result.out)


def total(lines):
    return sum(lines.values())


@pytest.fixture(scope="module")
def recorder():
    """record(path, *options) runs a program of two busy threads and one asleep below Python 3.15's
    own sampler; .replay(path, *options) is that one's replay."""
    entry = find_interpreter("3.15")
    program = textwrap.dedent("""\
        import gc, json, threading, time
        class Node: pass
        def collecting():
            for i in range(500):
                n = Node(); n.itself = n
            gc.collect()
        def deep(n):
            return sum(range(200)) if n == 0 else deep(n - 1)
        def raising(n):
            try:
                int("x")
            except ValueError:
                return sum(i * i for i in range(n))
        def work(seconds):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                raising(3000); deep(20); json.dumps(list(range(100)))
                sorted(range(50), key=lambda x: -x); collecting()
        threading.Thread(target=time.sleep, args=(9,), daemon=True).start()
        other = threading.Thread(target=work, args=(0.6,))
        other.start(); work(0.6); other.join()
    """)

    def sampling(*args):
        argv = pythons.command(entry, ["-m", "profiling.sampling", *map(str, args)])
        ran = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=60)
        assert ran.returncode == 0, ran.stdout

    def record(path, *options):
        script = path.parent / "program.py"
        script.write_text(program)
        sampling("run", "--binary", "-r", "3khz", *options, "-o", path, script)

    def own_replay(path, *options):
        out = path.parent / "theirs"
        sampling("replay", *options, "-o", out, path)
        return out

    record.replay = own_replay
    return record


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    path = tmp_path_factory.mktemp("replay")
    for p in (path, path.parent, path.parent.parent):
        os.chmod(p, 0o755)
    return path


@pytest.fixture(scope="module")
def wall(recorder, tmp_path_factory):
    """One of all threads with everything, uncompressed: its path."""
    path = tmp_path_factory.mktemp("wall") / "wall.bin"
    for p in (path.parent, path.parent.parent, path.parent.parent.parent):
        os.chmod(p, 0o755)
    recorder(path, "-a", "--native", "--opcodes", "--compression", "none")
    return path


@pytest.mark.parametrize("options", [
    ("--compression", "none", "-a", "--native"), ("--compression", "zstd", "-a", "--native"),
    ("--no-gc",), ("-a", "--mode", "cpu", "--opcodes"), ("-a", "--mode", "gil"),
    ("-a", "--mode", "exception")], ids=" ".join)
def test_stacks_are_those_of_the_recorder_s_own_replay(recorder, place, options):
    path = place / "recorded.bin"
    recorder(path, *options)
    theirs = lines_of(recorder.replay(path, "--collapsed").read_text())
    assert replay(path) == theirs
    assert theirs
    if "--native" in options:
        assert any("<native>" in line for line in theirs)
        assert any("<GC>" in line for line in theirs)
        assert len({line.split(";")[0] for line in theirs}) == 3


def test_pstats_counts_are_those_of_the_recorder_s_own_replay(recorder, wall, place):
    ours, theirs = place / "ours.pstats", recorder.replay(wall, "--pstats")
    pyprof("replay", "--pstats", "-o", ours, wall, check=True)
    code = ("import pstats, sys; print(sorted((f[2], f[1], s[0], s[1]) for f, s in "
            "pstats.Stats(sys.argv[1]).stats.items()))")
    entry = find_interpreter("3.15")
    texts = [subprocess.run(pythons.command(entry, ["-c", code, str(path)]), check=True,
                            stdout=subprocess.PIPE, text=True).stdout for path in (ours, theirs)]
    assert len(texts[0]) > 200 and texts[0] == texts[1]


def test_questions_to_another_recorder_s_file(wall):
    frames, samples = tach.read(wall.read_bytes())
    everything = tach.collapsed(frames, samples)
    assert replay(wall) == everything

    def chosen(take):
        return tach.collapsed(frames, [s for s in samples if take(s)])

    assert replay("--mode", "gil", wall) == chosen(lambda s: s[3] & tach.GIL)
    assert replay("--mode", "exception", wall) == chosen(lambda s: s[3] & tach.EXCEPTION)
    tid = max(s[0] for s in samples)
    assert replay("--thread", tid, wall) == chosen(lambda s: s[0] == tid)
    first = samples[0][2]
    assert replay("--from", "0.2", "--to", "0.4", wall) == chosen(
        lambda s: 200_000 <= s[2] - first < 400_000)
    assert replay("--function", "deep", wall) == chosen(
        lambda s: any(frames[f][1] == "deep" for f in s[4]))
    without = replay("--no-gc", wall)
    assert total(without) == total(everything) and not any("<GC>" in line for line in without)
    folded = replay("--fold", "thread", wall)
    assert folded == sum((Counter({line.partition(";")[2]: n}) for line, n in everything.items()),
                         Counter())
    assert any("<native>" in line.rpartition(";")[2] for line in replay("--native", wall))
    refused = pyprof("replay", "--mode", "cpu", wall)
    assert refused.status == 1 and "lacks CPU time" in refused.messages[-1]
    refused = pyprof("replay", "--pid", "1", wall)
    assert refused.status == 1 and "none whose pid is known" in refused.messages[-1]


def test_opcodes_of_another_recorder_s_file_are_known(wall, recorder, place):
    pyprof("replay", "--opcodes", wall, check=True)
    plain = place / "plain.bin"
    recorder(plain)
    refused = pyprof("replay", "--opcodes", plain)
    assert refused.status == 1 and "lacks opcodes" in refused.messages[-1]
    both = pyprof("replay", "--opcodes", wall, plain)
    assert both.status == 1 and "plain.bin lacks opcodes" in both.messages[-1]


def test_it_is_read_from_a_pipe(wall):
    with subprocess.Popen(["cat", wall], stdout=subprocess.PIPE) as cat:
        assert replay("-", stdin=cat.stdout) == replay(wall)
    with open(wall, "rb") as f:
        assert replay("-", stdin=f) == replay(wall)


def made(order="<", count=9, **options):
    """Every kind of record, two threads and interpreters."""
    r = lambda *a, **k: tach.record(*a, order=order, **k)  # noqa: E731
    s = tach.status(WALL)
    records = [r(7, 1, 0, s, 3, 2, 1, 0),             # leaf inner outer
               r(7, 0, 2, 1000, s, 1000, s),          # twice more
               r(7, 2, 1000, s, 2, 1, 5),             # two stay: leaf:31
               r(8, 1, 10, s, 1, 0, interpreter=1),   # outer
               r(7, 3, 1000, s, 1, 2, 3, 4),          # <GC> <native> on two
               r(7, 3, 1000, s, 2, 0),                # back to two
               r(8, 2, 10, s, 1, 1, 2, interpreter=1),
               r(7, 3, 1000, s, 99, 1, 0)]            # all go
    return tach.write(records=records, count=count, order=order, **PLACE, **options)


MADE = Counter({
    "tid:7;a.py:outer:10;a.py:inner:20;a.py:leaf:30": 3,
    "tid:7;a.py:outer:10;a.py:inner:20;a.py:leaf:31": 1,
    "tid:8;a.py:outer:10": 1,
    "tid:7;a.py:outer:10;a.py:inner:20;<native>;<GC>": 1,
    "tid:7;a.py:outer:10;a.py:inner:20": 1,
    "tid:8;a.py:outer:10;a.py:leaf:30": 1,
    "tid:7;a.py:outer:10": 1,
})


@pytest.mark.parametrize("order", "<>")
def test_every_record_and_byte_order_is_read_as_the_recorder_reads_it(place, recorder, order):
    path = place / "made.bin"
    path.write_bytes(made(order))
    found = pyprof("replay", "--collapsed", "-o", "-", path, check=True)
    assert lines_of(found.out) == MADE and "warning" not in found.err
    assert lines_of(recorder.replay(path, "--collapsed").read_text()) == MADE
    for count, words in (10, "1 of 10 samples are lost"), (8, "more samples than the 8"):
        path.write_bytes(made(order, count))
        found = pyprof("replay", "--collapsed", "-o", "-", path, check=True)
        assert lines_of(found.out) == MADE and words in found.err


def test_what_is_damaged_is_replayed_up_to_there(place):
    path = place / "damaged.bin"
    s = tach.status(WALL)
    good = [tach.record(7, 1, 1000, s, 1, 0)] * 5
    for bad in (tach.record(7, 4, 0, s), tach.record(7, 1, 0, s, 257, *[0] * 257),
                tach.record(7, 2, 0, s, 2, 0), tach.record(7, 1, b"\xff" * 10, s, 1, 0),
                tach.record(7, 1, 0, s, 1 << 40), tach.record(7, 0, 9, 1, s), b"\7"):
        path.write_bytes(tach.write(records=[*good, bad], count=9, **PLACE))
        result = pyprof("replay", "--collapsed", "-o", "-", path)
        assert result.status == 0, result
        assert total(lines_of(result.out)) >= 5
        warnings = [m for m in result.messages if "warning" in m]
        assert len(warnings) == 1 and "of 9 samples are lost" in warnings[0], result
    # A frame that is not there takes its samples with it, and no others.
    path.write_bytes(tach.write(records=[*good, tach.record(7, 3, 0, s, 0, 1, 77), *good], count=11,
                                **PLACE))
    result = pyprof("replay", "--collapsed", "-o", "-", path, check=True)
    assert total(lines_of(result.out)) == 10
    assert "1 of 11 samples are lost: the names of their frames are missing" in result.err


def test_hostile_names_stay_names(place):
    path = place / "names.bin"
    names = ["/x/a;b c.py", "f\n<script>", "g" * 70000, b"\xff\xfe", "\u202egnp"]
    records = [tach.record(7, 1, 0, tach.status(WALL), 4, 0, 1, 2, 3)]
    path.write_bytes(tach.write(names, [(0, i, 5) for i in range(1, 5)], records, 1))
    out = pyprof("replay", "--collapsed", "-o", "-", path, check=True).raw
    assert out.count(b"\n") == 1 and out.endswith(b" 1\n") and len(out) < 67000


@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_a_file_cut_anywhere_says_so(recorder, place, compression):
    path, cut = place / "whole.bin", place / "cut.bin"
    recorder(path, "-a", "--compression", compression)
    data = path.read_bytes()
    frames_at = int.from_bytes(data[48:56], "little")
    for size in {1, 3, 4, 40, 63, 64, 200, len(data) // 2, frames_at - 1, frames_at, frames_at + 9,
                 (frames_at + len(data)) // 2, len(data) - 60, len(data) - 1}:
        cut.write_bytes(data[:size])
        result = pyprof("replay", "--collapsed", "-o", "-", cut)
        # Without the names there is nothing; with some of them there is what they name.
        assert result.status in (0, 1, 6), result
        assert "cut" in result.err or "not a" in result.err, result
        assert result.status == (0 if size > len(data) - 50 else result.status), result
        if result.status == 1:
            assert len(result.messages) == 1, result


def test_bytes_that_are_wrong_never_crash_it(recorder, place, wall):
    data, path = wall.read_bytes(), place / "flipped.bin"
    for i in range(60):
        wrong = bytearray(data)
        wrong[len(data) * i // 60] ^= 1 << i % 8
        path.write_bytes(wrong)
        assert pyprof("replay", path).status in (0, 1, 6)


# ---- several ----

@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """Two recordings of one program, by pyprof: their paths."""
    directory = tmp_path_factory.mktemp("two")
    script = directory / "program.py"
    script.write_text(PROGRAM.replace("outer(1)", "outer(0.3)"))
    paths = [directory / f"{name}.pyprof" for name in ("first", "second")]
    for path in paths:
        pyprof("run", "--binary", "-a", "-r", "1khz", "-o", path, script, check=True)
    return paths


def below(prefix, lines):
    return Counter({f"{prefix};{line}": n for line, n in lines.items()})


def test_several_recordings_are_one_profile_with_a_frame_for_each_process(two, place):
    each = [replay(path) for path in two]
    result = pyprof("replay", "--collapsed", "-o", "-", *two, check=True)
    assert "2 recordings in one profile" in result.err
    together = lines_of(result.out)
    frames = sorted({line.split(";")[0] for line in together})
    assert len(frames) == 2 and all(re.fullmatch(r"pid:\d+", f) for f in frames)
    assert together in (below(frames[0], each[0]) + below(frames[1], each[1]),
                        below(frames[1], each[0]) + below(frames[0], each[1]))
    pid = frames[0][4:]
    assert replay("--pid", pid, *two) in each
    assert replay("--fold", "process", *two) == each[0] + each[1]
    names = replay("--fold", "process,thread", *two)
    assert total(names) == total(together) and not any("tid:" in line for line in names)
    assert len(names) < len(together)
    kept = replay("--fold", "thread", *two)
    assert {line.split(";")[0] for line in kept} == set(frames)
    assert total(kept) == total(together) and not any("tid:" in line for line in kept)


def test_recordings_of_both_kinds_are_one_profile(two, place):
    path = place / "made.bin"
    path.write_bytes(made())
    together = replay(two[0], path)
    assert below("file:made.bin", MADE) == Counter(
        {line: n for line, n in together.items() if line.startswith("file:")})
    assert total(together) == total(replay(two[0])) + total(MADE)
    other = place / "other"
    other.mkdir()
    (other / "made.bin").write_bytes(made(start=5))
    assert {line.split(";")[0] for line in replay(path, other / "made.bin")} == {
        f"file:{path}", f"file:{other}/made.bin"}


def test_different_rates_are_said(two, place):
    path = place / "fast.bin"
    path.write_bytes(made(interval=100))
    said = "recorded at 1000 to 10000 samples/s"
    assert said in pyprof("replay", two[0], path, check=True).err
    path.write_bytes(made())
    assert "samples/s" not in pyprof("replay", two[0], path, check=True).err


def test_a_question_that_one_recording_cannot_answer_names_it(two, place):
    path = place / "made.bin"
    path.write_bytes(made())
    refused = pyprof("replay", "--mode", "cpu", two[0], path)
    assert refused.status == 1 and "made.bin lacks CPU time" in refused.messages[-1]
    path.write_bytes(made(flags=0x0b))
    refused = pyprof("replay", "--mode", "exception", two[0], path)
    assert refused.status == 1 and "made.bin has only samples of mode gil" in refused.messages[-1]
    refused = pyprof("replay", two[0], path)
    assert refused.status == 1
    assert "first.pyprof is of mode wall and" in refused.messages[-1]
    assert total(replay("--mode", "gil", two[0], path)) > 0


def test_a_file_that_is_named_twice_is_taken_once(two, workdir):
    link = os.path.join(workdir, "link.pyprof")
    os.symlink(two[0], link)
    result = pyprof("replay", "--collapsed", "-o", "-", two[0], link, check=True)
    assert lines_of(result.out) == replay(two[0])
    assert "link.pyprof is named twice: it is taken once" in result.err


def test_a_copy_of_a_recording_is_said_to_count_twice(two, place):
    copy = place / "copy.pyprof"
    data = two[0].read_bytes()
    copy.write_bytes(data[:len(data) * 3 // 4])
    result = pyprof("replay", "--collapsed", "-o", "-", two[0], two[1], copy, check=True)
    assert "copy.pyprof has, or a part of it, was in a recording before it" in result.err
    assert result.err.count("counts twice") == 1
    assert "counts twice" not in pyprof("replay", *two, check=True).err


def test_the_default_name_tells_what_is_in_it(two, workdir):
    pyprof("replay", "--collapsed", *two, check=True, cwd=workdir)
    assert os.listdir(workdir) == ["collapsed_merged.txt"]
    with open(os.path.join(workdir, "made.bin"), "wb") as f:
        f.write(made())
    pyprof("replay", "--collapsed", "made.bin", check=True, cwd=workdir)
    assert "collapsed_made.txt" in os.listdir(workdir)
    for paths, folder in ((two, "heatmap_merged"), (["made.bin"], "heatmap_made")):
        pyprof("replay", "--heatmap", *paths, check=True, cwd=workdir)
        assert "index.html" in os.listdir(os.path.join(workdir, folder))


# ---- what is no recording ----

def test_what_is_no_recording_is_refused_in_one_line(two, workdir):
    def file(name, content):
        path = os.path.join(workdir, name)
        with open(path, "wb") as f:
            f.write(content)
        return path

    good = two[0]
    for paths, words in (([file("empty", b"")], "empty is empty"),
                         ([file("text", b"tid:1;a;b 12\n" * 99)], "text is not a recording"),
                         ([good, file("text", b"x" * 500)], "text is not a recording"),
                         ([good, os.path.join(workdir, "none")], "No such file"),
                         ([workdir], "Is a directory"),
                         (["/dev/null"], "/dev/null is empty"),
                         ([file("four", b"HCAT")], "not a whole recording of profiling.sampling"),
                         ([file("v2", b"HCAT\2" + bytes(99))], "a later profiling.sampling"),
                         (["-"], "the standard input is empty")):
        result = pyprof("replay", "--collapsed", "-o", "-", *paths)
        assert result.status == 1 and not result.out, result
        assert len(result.messages) == 1 and words in result.err, result


def test_a_recording_is_not_overwritten_by_what_is_made_of_it(two):
    before = two[0].read_bytes()
    result = pyprof("replay", "--collapsed", "-o", two[0], two[1], two[0])
    assert result.status == 2 and "not overwritten" in result.messages[-1]
    assert two[0].read_bytes() == before


def test_wrong_words_to_fold_are_refused(two):
    for words in "", "host", "process,", "processes":
        result = pyprof("replay", f"--fold={words}", two[0])
        assert result.status == 2 and "what can be folded" in result.err, result


def test_two_kinds_in_one_file_are_the_first_up_to_the_second(two, place):
    path = place / "both"
    path.write_bytes(two[0].read_bytes() + made())
    result = pyprof("replay", "--collapsed", "-o", "-", path, check=True)
    assert lines_of(result.out) == replay(two[0]) and "warning" in result.err
    assert parse(result.out)
