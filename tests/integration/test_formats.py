"""What is recorded is what each format and another reader make of it."""
import json
import os
import subprocess
import textwrap
from collections import Counter

import pytest

import pyprof_reader
from support import pyprof, pythons

PROGRAM = textwrap.dedent("""\
    import threading, time
    class Work:
        def inner(self, n):
            return sum(i * i for i in range(n))
        def outer(self, seconds):
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                self.inner(300)
    threading.Thread(target=time.sleep, args=(9,), daemon=True, name="idle").start()
    Work().outer(1)
""")


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    """The bytes of one recording of two threads."""
    directory = tmp_path_factory.mktemp("formats")
    script = directory / "program.py"
    script.write_text(PROGRAM)
    path = directory / "out.pyprof"
    pyprof("run", "--binary", "-a", "-r", "1khz", "-o", path, script, check=True)
    return path.read_bytes()


def replay(data, workdir, *options):
    path = os.path.join(workdir, "in.pyprof")
    with open(path, "wb") as f:
        f.write(data)
    return pyprof("replay", *options, path, check=True)


def collapsed(data, workdir):
    out = os.path.join(workdir, "out.txt")
    result = replay(data, workdir, "--collapsed", "-o", out)
    lines = Counter()
    with open(out, encoding="utf-8", errors="surrogatepass") as f:
        for line in f:
            stack, _, count = line.rpartition(" ")
            lines[stack] += int(count)
    return lines, result


def test_another_reader_counts_the_same(recording, workdir):
    streams, skipped = pyprof_reader.read(recording)
    assert skipped == 0 and len(streams) == 1
    stream = streams[0]
    assert stream.samples == stream.expected == stream.statistics["achieved"] > 500
    assert stream.summary["end"] == "target exited"
    ours, _ = collapsed(recording, workdir)
    assert ours == pyprof_reader.collapsed(streams)
    assert any("Work.inner" in line or "inner" in line for line in ours)


def test_a_cut_recording_is_said_to_be_cut(recording, workdir):
    for part in (3, 5, 9):
        data = recording[:len(recording) * part // 10]
        streams, _ = pyprof_reader.read(data)
        if not streams or not streams[0].samples:
            continue
        ours, result = collapsed(data, workdir)
        assert ours == pyprof_reader.collapsed(streams)
        assert "warning" in result.err and "end" in result.err


def test_a_damaged_chunk_is_left_out_by_both(recording, workdir):
    whole = pyprof_reader.read(recording)[0][0].samples
    for part in range(1, 10):
        data = bytearray(recording)
        data[len(data) * part // 10] ^= 4
        streams, skipped = pyprof_reader.read(bytes(data))
        if not any(stream.stacks for stream in streams):
            continue
        ours, result = collapsed(bytes(data), workdir)
        assert skipped > 0 and "warning" in result.err
        assert ours == pyprof_reader.collapsed(streams)
        # What is missing is known to the sample, unless nothing whole comes behind it.
        if streams[-1].summary:
            assert streams[-1].expected == whole


def test_recordings_one_after_another_are_one(recording, workdir):
    once, _ = collapsed(recording, workdir)
    twice, _ = collapsed(recording + recording, workdir)
    assert twice == Counter({line: 2 * count for line, count in once.items()})


def test_pstats_loads_the_file(recording, workdir, interpreter):
    out = os.path.join(workdir, "out.pstats")
    replay(recording, workdir, "--pstats", "-o", out)
    os.chmod(out, 0o644)
    code = textwrap.dedent("""\
        import io, json, pstats, sys
        text = io.StringIO()
        stats = pstats.Stats(sys.argv[1], stream=text)
        stats.strip_dirs().sort_stats("cumulative").print_stats()
        stats.print_callers()
        stats.print_callees()
        stats.add(sys.argv[1])
        print(json.dumps([[f[2], *s[:4], sorted(c[2] for c in s[4])]
                          for f, s in stats.stats.items()]))
    """)
    run = subprocess.run(pythons.command(interpreter, ["-c", code, out]), stdout=subprocess.PIPE,
                         text=True, check=True)
    rows = json.loads(run.stdout)
    streams, _ = pyprof_reader.read(recording)
    counted = sum(count for (_, frames), count in streams[0].stacks.items() if frames)
    assert sum(row[1] for row in rows) == 2 * counted  # added to itself
    outer = [row for row in rows if row[0].endswith("outer")]
    assert any("<module>" in row[5] for row in outer)
    assert 0.3 < sum(row[4] for row in outer) / 2 < 3
