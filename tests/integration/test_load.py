"""What a sampler must bear: a reader that stalls, a thousand threads, code objects that come and go."""
import ctypes
import os
import signal
import struct
import subprocess
import time

import pytest

import pyprof_reader
from conftest import find_interpreter
from support import PYPROF, Result, children, collapsed, counts, pyprof, wait_for


@pytest.mark.parametrize("rate, stall", [
    ("20khz", 4), pytest.param("1mhz", 5, marks=pytest.mark.timing)])
def test_reader_that_stalls_for_seconds_costs_counted_samples_and_no_definition(rate, stall, start):
    target = start(find_interpreter("3.15"), "depth.py", 20, "unwind")
    target.expect("ready")
    # Nobody reads the other end for a while, so all buffers fill.
    read_end, write_end = os.pipe()
    client = subprocess.Popen([PYPROF, "attach", "--no-daemon", "-r", rate, "-d", str(stall + 2), "--binary",
                               "--compression", "none", "-o", "-", str(target.pid)],
                              stdout=write_end, stderr=subprocess.PIPE)
    os.close(write_end)
    time.sleep(stall)
    with os.fdopen(read_end, "rb") as stream:
        recording = stream.read()
    err = client.communicate(timeout=60)[1].decode()
    assert client.returncode == 0, err
    (stream,), skipped = pyprof_reader.read(recording)
    totals = stream.summary["totals"]
    assert skipped == 0
    assert stream.samples == stream.expected == totals["achieved"]
    lost = sum(n for key, n in totals.items() if key.startswith("lost_"))
    assert sum(stream.gaps.values()) == lost
    assert totals["due"] == totals["achieved"] + totals["missed"] + lost
    if rate == "1mhz":
        assert totals.get("lost_backpressure", 0) > 0, totals
    # Sampling went on all the time and after it.
    assert totals["elapsed_ns"] > (stall + 1.9) * 1e9


def test_thousand_threads_are_sampled_by_their_names_in_little_memory(start):
    target = start(find_interpreter("3.15"), "many_threads.py", 1000)
    target.expect("ready")
    client = subprocess.Popen([PYPROF, "attach", "--no-daemon", "-a", "-r", "20hz", "-d", "3",
                               "--collapsed", "-o", "-", str(target.pid)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(2)
    session = [client.pid]
    for pid in session:
        session += children(pid)
    rss = max(int(line.split()[1]) for pid in session
              for line in open(f"/proc/{pid}/status") if line.startswith("VmRSS:"))
    out, err = (text.decode() for text in client.communicate(timeout=60))
    assert client.returncode == 0, err
    stacks = collapsed(out)
    assert len({tid for tid, _, _ in stacks}) == 1000
    asleep = {tid for tid, frames, _ in stacks if "sleep_here" in [f[1] for f in frames]}
    assert len(asleep) == 997
    assert rss < 40 * 1024, f"{rss} kB"


SYS_SCHED_GETATTR = 315


def slice_ns(tid):
    """How long a thread computes before others have a turn, as the kernel tells it; 0: it does not."""
    attributes = ctypes.create_string_buffer(56)
    ctypes.CDLL(None).syscall(SYS_SCHED_GETATTR, tid, attributes, len(attributes), 0)
    return struct.unpack_from("<IIQiIQ", attributes)[5]


def test_sampler_that_shares_a_cpu_with_its_target_has_its_turn_soon(start):
    if not slice_ns(os.getpid()):
        pytest.skip("this kernel has no slices that can be asked for (from Linux 6.12 on)")
    target = start(find_interpreter("3.15"), "depth.py", 5, "unwind")
    target.expect("ready")
    client = subprocess.Popen([PYPROF, "attach", "--no-daemon", "-d", "60", "--collapsed", "-o", "/dev/null",
                               str(target.pid)])
    try:
        # The session's monitor, and the reader, whose first thread samples.
        (monitor,) = wait_for(lambda: children(client.pid), "the monitor")
        (reader,) = wait_for(lambda: children(monitor), "the reader")
        # The sampler waits for what the monitor opens.
        wait_for(lambda: slice_ns(reader) == slice_ns(monitor) == 100000, "the short slices")
        assert slice_ns(client.pid) == slice_ns(os.getpid())
    finally:
        client.kill()
        client.wait()


def test_deadlines_that_are_slept_through_are_missed_and_those_after_the_end_are_none(start):
    """As when a machine stands still for a while: twice, and the second time over the end."""
    target = start(find_interpreter("3.15"), "known.py")
    target.expect("ready")
    client = subprocess.Popen([PYPROF, "attach", "--no-daemon", "-r", "1khz", "-d", "3", "--collapsed",
                               "-o", "-", str(target.pid)],
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    (monitor,) = wait_for(lambda: children(client.pid), "the monitor")
    (reader,) = wait_for(lambda: children(monitor), "the reader")
    for seconds in 1.5, 2:
        time.sleep(0.5)
        os.kill(reader, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(reader, signal.SIGCONT)
    out, err = (text.decode() for text in client.communicate(timeout=60))
    assert client.returncode == 0, err
    found = counts(Result(0, out, err))
    assert found["due"] == 3000
    assert 1900 < found["missed"] == found["due"] - found["achieved"] - found["lost"] < 2700
    assert sum(count for *_, count in collapsed(out)) == found["achieved"]


def test_code_objects_that_come_and_go_are_never_taken_for_each_other(interpreter, start, workdir):
    target = start(interpreter, "code_churn.py")
    target.expect("ready")
    out = os.path.join(workdir, "churn.txt")
    result = pyprof("attach", "-r", "2khz", "-d", "2", "--stop-budget", "100%", "--collapsed", "-o",
                    out, target.pid, check=True)
    wrong = right = 0
    for _, frames, count in collapsed(open(out).read()):
        numbers = {f[1].rpartition("_")[2] for f in frames if f[1].startswith(("inner_", "outer_"))}
        numbers |= {f[0][5:-3] for f in frames if f[0].startswith("made_")}
        if len(numbers) > 1:
            wrong += count
        elif numbers:
            right += count
    assert right > 300, result
    assert wrong == 0, f"{wrong} of {wrong + right} stacks never were"
    assert counts(result)["lost"] <= 0.01 * counts(result)["achieved"]
