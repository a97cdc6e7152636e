"""Instructions are those that `dis` shows, specialised as they are, on every version."""
import json
import os
import re

import pytest

import pyprof_reader
from support import pyprof, version_of


def test_every_parked_frame_is_at_the_instruction_that_dis_shows(interpreter, start, workdir):
    target = start(interpreter, "parked.py", workdir, "opcodes")
    target.expect("parked")
    dump = json.loads(pyprof("dump", "-a", "--json", "--opcodes", target.pid, check=True).out)
    target.say("report")
    report = json.loads(target.line())
    compared, specialised = 0, set()
    for thread in dump["threads"]:
        if thread["name"] == "reporter":
            continue
        frames = [f for f in thread["frames"] if f["kind"] == "python"]
        truth = report["instructions"][thread["ident"]]
        assert len(frames) == len(truth)
        for frame, (now, plain) in zip(frames, truth):
            assert (frame["opcode"], frame["base_opcode"]) == (now, plain), (thread["name"], frame)
            compared += 1
            if now != plain:
                specialised.add(now)
    assert compared > 950
    if version_of(interpreter["name"]) >= (3, 11) and not interpreter["name"].endswith("t"):
        assert specialised
    elif version_of(interpreter["name"]) < (3, 11):
        assert not specialised


def test_sampled_leaves_are_at_instructions_of_their_line(interpreter, start, workdir):
    target = start(interpreter, "hot.py")
    target.expect("ready")
    out = os.path.join(workdir, "out.pyprof")
    pyprof("attach", "-r", "2khz", "-d", "1", "--opcodes", "--binary", "-o", out, target.pid,
           check=True)
    target.say("report")
    truth = json.loads(target.line())
    with open(out, "rb") as f:
        (stream,), _ = pyprof_reader.read(f.read())
    assert "opcodes" in stream.header["collected"].split()
    seen = 0
    for (function, line, op), count in stream.leaf_ops.items():
        name = function.rpartition(".")[2]
        (key,) = [k for k in truth if k.rpartition(".")[2] == name] or [None]
        if key is None:
            continue
        assert [line, op] in truth[key], (function, line, op)
        seen += count
    assert seen > 0.9 * sum(stream.leaf_ops.values()) > 0.5 * stream.samples  # not <moving>
    # More than one instruction of a line, and most of the leaves that there are.
    assert len(stream.leaf_ops) > 12


def test_dump_shows_the_instruction_and_its_base(start):
    from conftest import find_interpreter
    from support import pythons
    code = ("import time\ndef f(n):\n    time.sleep(n)\n"
            "for i in range(100):\n    f(0)\nprint('ready', flush=True)\nf(60)")
    target = start(pythons.command(find_interpreter("3.13"), ["-c", code]))
    target.expect("ready")
    text = pyprof("dump", "--opcodes", target.pid, check=True).out
    assert "in f  opcode=CALL_BUILTIN_O (CALL)\n" in text
    assert "opcode" not in pyprof("dump", target.pid, check=True).out


def test_a_format_without_a_place_for_opcodes_says_so(start, workdir):
    from conftest import find_interpreter
    target = start(find_interpreter("3.12"), "known.py")
    target.expect("ready")
    plain, with_ops = (os.path.join(workdir, name) for name in ("plain.pyprof", "ops.pyprof"))
    pyprof("attach", "-d", "0.2", "--binary", "-o", plain, target.pid, check=True)
    pyprof("attach", "-d", "0.2", "--opcodes", "--binary", "-o", with_ops, target.pid, check=True)
    result = pyprof("replay", "--opcodes", "--collapsed", "-o", "-", with_ops, check=True)
    assert "collapsed has no place for opcodes" in result.err and "known_leaf" in result.out
    # A recording without them cannot be asked.
    refused = pyprof("replay", "--opcodes", "--collapsed", "-o", "-", plain)
    assert refused.status == 1 and not refused.out
    assert refused.messages == ["pyprof: the recording lacks opcodes: they are recorded with "
                                "--opcodes"]


def test_the_tables_are_those_of_the_interpreters():
    import subprocess
    import support
    run = subprocess.run([os.path.join(support.TESTS, "pythons", "opcodes"), "--check"],
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if "no interpreter here" in run.stdout:
        pytest.skip(run.stdout.strip())
    assert run.returncode == 0, run.stdout


def instructions_of(format, workdir, *recordings):
    """The names of instructions that a file has."""
    import shutil
    from test_flamegraph import Data
    path = os.path.join(workdir, "out")
    shutil.rmtree(path, ignore_errors=True)
    fold = "process" if format == "gecko" else "process,thread"
    pyprof("replay", "--opcodes", "--fold", fold, f"--{format}", "-o", path, *recordings,
           check=True)
    if format == "gecko":
        with open(path) as f:
            found = {data["opname"] for thread in json.load(f)["threads"]
                     for data in thread["markers"]["data"] if "opname" in data}
    elif format == "flamegraph":
        found = {text for text in Data(path).text if re.fullmatch(r"[A-Z_0-9]+( \([A-Z_0-9]+\))?", text)}
    else:
        pages = "".join(open(os.path.join(path, name)).read() for name in os.listdir(path))
        found = {code for section in re.findall(r'<section class="ops">.*?</section>', pages, re.S)
                 for code in re.findall(r"<code>(.*?)</code>", section)}
        shutil.rmtree(path)
        return found
    os.unlink(path)
    return found


@pytest.mark.parametrize("format", ["gecko", "flamegraph", "heatmap"])
def test_of_several_versions_each_has_its_own_names(format, start, workdir):
    """Put together they are called as they are called alone."""
    from conftest import find_interpreter
    recordings, alone = [], []
    for version in "3.8", "3.13":
        target = start(find_interpreter(version), "hot.py")
        target.expect("ready")
        recordings.append(os.path.join(workdir, version + ".pyprof"))
        pyprof("attach", "-d", "0.5", "--opcodes", "--binary", "-o", recordings[-1], target.pid,
               check=True)
        alone.append(instructions_of(format, workdir, recordings[-1]))
        target.close()
    assert all(len(names) > 5 for names in alone) and alone[0] != alone[1]
    for order in (recordings, recordings[::-1]):
        assert instructions_of(format, workdir, *order) == alone[0] | alone[1]
