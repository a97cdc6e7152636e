"""A recorder may be killed at any instant and a recording damaged anywhere: the target runs on,
and what is read back is right or said to be damaged."""
import contextlib
import os
import random
import signal
import struct
import subprocess
import time

import pytest

import pyprof_reader
from support import (PYPROF, children, collapsed, pyprof, state, task_states, wait_for)

CUT_STEP = 997
FLIPS = 500  # of each compression


def tracer(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(line.split()[1] for line in f if line.startswith("TracerPid"))


class Counter:
    """A target that counts."""

    def __init__(self, start, python3, workdir):
        self.path = os.path.join(workdir, "counter")
        self.target = start(python3, "counter.py", self.path)
        self.pid = self.target.pid
        self.target.expect("ready")

    def value(self):
        with open(self.path, "rb") as f:
            return struct.unpack("<Q", f.read(8))[0]

    def runs(self):
        """It is neither stopped nor traced, and goes on counting."""
        wait_for(lambda: tracer(self.pid) == "0", "nobody to trace the target", 5)
        wait_for(lambda: set(task_states(self.pid).values()) <= {"R", "S"},
                 "the target to run", 5)
        before = self.value()
        wait_for(lambda: self.value() > before, "the target to count on")


@pytest.fixture
def counter(start, python3, workdir):
    return Counter(start, python3, workdir)


class Recorder:
    """pyprof attach --binary in the background, and the processes of its session."""

    def __init__(self, pid, path, *options):
        self.path = path
        self.process = subprocess.Popen(
            [PYPROF, "attach", "--no-daemon", "--binary", "-o", path, *options, str(pid)],
            stderr=subprocess.PIPE, text=True)
        self.client = self.process.pid
        self.monitor = self.reader = None

    def find_session(self):
        (self.monitor,) = wait_for(lambda: children(self.client), "the monitor")
        (self.reader,) = wait_for(lambda: children(self.monitor), "the reader")

    def wait_for_bytes(self):
        wait_for(lambda: os.path.exists(self.path) and os.path.getsize(self.path) > 0,
                 "a recording")
        self.find_session()

    def wait_until_gone(self):
        """Nothing of the session is left behind."""
        err = self.process.communicate(timeout=30)[1]
        for pid in self.monitor, self.reader:
            if pid:
                wait_for(lambda pid=pid: state(pid) in (None, "Z"), f"process {pid} to end")
        return err

    def close(self):
        for pid in self.client, self.monitor, self.reader:
            if pid:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass
        self.process.wait()
        self.process.stderr.close()


@pytest.fixture
def record(workdir):
    recorders = []

    def start_recorder(pid, *options):
        recorders.append(Recorder(pid, os.path.join(workdir, f"{len(recorders)}.pyprof"),
                                  *options))
        return recorders[-1]

    yield start_recorder
    for recorder in recorders:
        recorder.close()


def seconds_in(path):
    """How long it tells of: of the samples some are missed where the machine is busy."""
    result = pyprof("replay", "--collapsed", "-o", "-", path)
    assert result.status == 0, result
    assert "warning" in result.err, result
    with open(path, "rb") as f:
        (stream,), _ = pyprof_reader.read(f.read())
    assert sum(count for *_, count in collapsed(result.out)) == stream.samples
    return (stream.last - stream.first) / 1e9


def kill_all(recorder, victims):
    for name in victims.split():
        # With the first gone the others may end before their turn.
        with contextlib.suppress(ProcessLookupError):
            os.kill(getattr(recorder, name), signal.SIGKILL)


@pytest.mark.parametrize("victims, seconds", [
    ("client monitor reader", 5), ("client", 2), ("monitor", 2), ("reader", 2)])
@pytest.mark.parametrize("options", [[], ["--blocking"], ["--compression", "none", "-a"]],
                         ids=["plain", "blocking", "uncompressed"])
def test_killed_recorder_leaves_all_but_the_last_second(victims, seconds, options, counter,
                                                        record):
    recorder = record(counter.pid, "-r", "1khz", *options)
    recorder.wait_for_bytes()
    time.sleep(seconds)  # what is to be recorded
    kill_all(recorder, victims)
    err = recorder.wait_until_gone()
    counter.runs()
    assert seconds_in(recorder.path) >= (seconds - 1) * 0.9
    if "client" not in victims:
        # The client is there to say what happened, and not to call it a success.
        assert recorder.process.returncode == 1, (recorder.process.returncode, err)
        assert err


@pytest.mark.parametrize("victims", ["client monitor reader", "client", "monitor", "reader"])
def test_target_is_never_left_stopped_by_a_recorder_killed_at_any_instant(victims, counter,
                                                                          record):
    choose = random.Random(victims)
    for _ in range(45):
        recorder = record(counter.pid, "--blocking", "-r", "20khz")
        recorder.wait_for_bytes()
        time.sleep(choose.uniform(0, 0.03))  # the instant
        kill_all(recorder, victims)
        recorder.wait_until_gone()
        counter.runs()
        recorder.close()
        if os.path.exists(recorder.path):  # it keeps nothing where nothing was seen yet
            os.unlink(recorder.path)


def test_target_is_never_left_stopped_by_a_recorder_killed_while_it_starts(counter, record):
    choose = random.Random(5)
    for _ in range(20):
        recorder = record(counter.pid, "--blocking", "-r", "20khz")
        time.sleep(choose.uniform(0, 0.02))  # the instant
        os.kill(recorder.client, signal.SIGKILL)
        recorder.wait_until_gone()
        counter.runs()


# ---- damaged recordings ----

class Whole:
    """A recording that ended well, and what it says."""

    def __init__(self, path):
        self.path = path
        with open(path, "rb") as f:
            self.bytes = f.read()
        result = pyprof("replay", "--collapsed", "-o", "-", path, check=True)
        assert "warning" not in result.err
        self.out = result.raw
        self.total = sum(count for *_, count in collapsed(result.out))


@pytest.fixture(params=["zstd", "none"])
def whole(request, counter, workdir):
    path = os.path.join(workdir, "whole.pyprof")
    pyprof("attach", "-d", "2.5", "-r", "2khz" if request.param == "none" else "10khz", "-a",
           "--binary", "--compression", request.param, "-o", path, counter.pid, check=True)
    return Whole(path)


def replay_bytes(content, path):
    with open(path, "wb") as f:
        f.write(content)
    result = pyprof("replay", "--collapsed", "-o", "-", path)
    assert result.status in (0, 1, 6), result  # anything else is a crash
    assert result.status == 0 or result.raw == b"" and result.messages
    return result


def test_recording_cut_anywhere_replays_up_to_there_and_says_so(whole, workdir):
    path = os.path.join(workdir, "cut.pyprof")
    totals = []
    for size in range(0, len(whole.bytes), CUT_STEP):
        result = replay_bytes(whole.bytes[:size], path)
        assert result.status or "warning" in result.err, (size, result)
        totals.append(0 if result.status else
                      sum(count for *_, count in collapsed(result.out)))
    assert len(totals) > 3
    # The more there is, the more is read; and nearly all of it at the end.
    assert totals == sorted(totals)
    assert 0.5 * whole.total < totals[-1] <= whole.total


def test_flipped_byte_changes_nothing_without_a_warning(whole, workdir):
    path = os.path.join(workdir, "flipped.pyprof")
    choose = random.Random(len(whole.bytes))
    warned = 0
    for _ in range(FLIPS):
        content = bytearray(whole.bytes)
        place = choose.randrange(len(content))
        content[place] ^= 1 << choose.randrange(8)
        result = replay_bytes(content, path)
        if result.status == 0 and "warning" not in result.err:
            assert result.raw == whole.out, place
        else:
            warned += 1
            if result.status == 0:
                assert sum(c for *_, c in collapsed(result.out)) <= whole.total, place
    assert warned > 0.9 * FLIPS


def test_shuffled_and_repeated_parts_do_no_harm(whole, workdir):
    path = os.path.join(workdir, "shuffled.pyprof")
    choose = random.Random(7)
    for _ in range(100):
        a, b = sorted(choose.randrange(len(whole.bytes)) for _ in range(2))
        for content in (whole.bytes[:a] + whole.bytes[b:], whole.bytes[:b] + whole.bytes[a:],
                        whole.bytes[:a] + bytes(b - a) + whole.bytes[b:]):
            result = replay_bytes(content, path)
            if result.status == 0 and "warning" not in result.err:
                assert result.raw == whole.out, (a, b)
