"""What a terminal gets: a line that tells how far work is, and nothing half done when it is interrupted."""
import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import textwrap
import time

import pytest

from support import PATIENCE, PYPROF, pyprof

PROGRAM = textwrap.dedent("""\
    import time
    def spin(end):
        while time.monotonic() < end:
            sum(range(50))
    for i in range(300):
        exec(compile(f"def f{i}(end): spin(end)", f"/nowhere/file_{i}.py", "exec"))
        eval(f"f{i}")(time.monotonic() + 0.003)
""")
# The shell of the terminal. When that ends, what nobody has read yet is lost.
SHELL = 'trap : INT; "$@"; status=$?; sleep 0.1; exit $status'
INTERRUPTED = 128 + signal.SIGINT
WIPE = b"\r\x1b[K"
PIECE = 256 * 1024  # what replay reads at once


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A recording of many files, and the same as often as makes some pieces."""
    directory = tmp_path_factory.mktemp("terminal")
    script, one, many = (directory / name for name in ("program.py", "one.pyprof", "many.pyprof"))
    script.write_text(PROGRAM)
    pyprof("run", "--binary", "--compression", "none", "-r", "5khz", "-o", one, script, check=True)
    bytes_ = one.read_bytes()
    many.write_bytes(bytes_ * (5 * PIECE // len(bytes_) + 1))
    return one, many


class Terminal:
    """A program on a terminal of its own, which is where its messages go, and its result if output is None."""

    def __init__(self, *args, columns=80, term="xterm", output=subprocess.PIPE, cwd=None,
                 stderr=None):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
        self.said = b""

        def take_terminal():
            fcntl.ioctl(slave, termios.TIOCSCTTY, 0)

        self.process = subprocess.Popen(
            ["sh", "-c", SHELL, "sh", PYPROF, *map(str, args)], stdin=subprocess.PIPE, cwd=cwd,
            stdout=slave if output is None else output, stderr=stderr or slave,
            start_new_session=True, preexec_fn=take_terminal, env={**os.environ, "TERM": term})
        os.close(slave)

    def read(self, seconds=0.0):
        while select.select([self.master], [], [], seconds)[0]:
            try:
                self.said += os.read(self.master, 65536)
            except OSError:     # nobody has it any more
                return
            seconds = 0

    def feed(self, bytes_):
        """In pieces, as slowly as takes a line each."""
        for at in range(0, len(bytes_), PIECE):
            self.process.stdin.write(bytes_[at:at + PIECE])
            self.process.stdin.flush()
            self.read(0.3)
        self.process.stdin.close()

    def interrupt(self):
        """As Ctrl-C does, without the terminal's throwing away what was just written to it."""
        os.killpg(self.process.pid, signal.SIGINT)

    def end(self):
        """Its status."""
        deadline = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < deadline, self.said
            self.read(0.02)
        self.read(0.05)
        return self.process.returncode

    @property
    def lines(self):
        """Each text of the line that is wiped; the last is what stays."""
        return [part.decode() for part in self.said.split(WIPE)]


@contextlib.contextmanager
def terminal(*args, **kwargs):
    t = Terminal(*args, **kwargs)
    try:
        yield t
    finally:
        if t.process.poll() is None:
            os.killpg(t.process.pid, signal.SIGKILL)
        t.process.wait()
        for stream in (t.process.stdin, t.process.stdout, t.process.stderr):
            if stream:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        os.close(t.master)


def test_progress_is_a_line_that_is_wiped(recorded, workdir):
    out = os.path.join(workdir, "out.txt")
    with terminal("replay", "--collapsed", "-o", out, "-") as t:
        t.feed(recorded[1].read_bytes())
        assert t.end() == 0
    shown = [line for line in t.lines if line.startswith("replaying: ")]
    assert len(shown) >= 2, t.said
    sizes = [float(re.fullmatch(r"replaying: ([\d.]+) MB of the standard input", line).group(1))
             for line in shown]
    assert sizes == sorted(sizes) and sizes[-1] <= os.path.getsize(recorded[1]) / 1e6 + 0.1
    assert any(line == f"writing collapsed to {out}" for line in t.lines), t.said
    # Nothing of it stays.
    assert t.lines[-1].strip().endswith(f"collapsed written to {out}")
    assert "replaying" not in t.lines[-1] and "writing" not in t.lines[-1]


def test_progress_never_wraps(recorded, workdir):
    with terminal("replay", "--collapsed", "-o", os.path.join(workdir, "out.txt"), "-", columns=24) as t:
        t.feed(recorded[1].read_bytes())
        assert t.end() == 0
    shown = [line for line in t.lines if line.startswith(("replaying", "writing"))]
    assert len(shown) >= 2 and all(len(line) == 23 and line[-1] == "…" for line in shown), shown
    assert any(re.match(r"replaying: \d\.\d MB of", line) for line in shown)


@pytest.mark.parametrize("how", ["messages to a pipe", "dumb"])
def test_there_is_no_progress_where_it_cannot_be_wiped(how, recorded, workdir):
    stderr = subprocess.PIPE if how == "messages to a pipe" else None
    with terminal("replay", "--collapsed", "-o", "out.txt", "-", cwd=workdir, stderr=stderr,
                  term="dumb" if how == "dumb" else "xterm") as t:
        t.feed(recorded[1].read_bytes())
        assert t.end() == 0
        said = t.said + (t.process.stderr.read() if stderr else b"")
    assert b"\x1b" not in said and b"replaying" not in said and b"out.txt" in said


def test_a_result_on_the_standard_output_is_that_and_nothing_else(recorded, workdir):
    plain = pyprof("replay", "--collapsed", "-o", "-", recorded[1], check=True).raw
    with open(os.path.join(workdir, "out"), "w+b") as out:
        with terminal("replay", "--collapsed", "-o", "-", "-", output=out) as t:
            t.feed(recorded[1].read_bytes())
            assert t.end() == 0
        out.seek(0)
        assert out.read() == plain
    assert any(line == "writing collapsed to standard output" for line in t.lines), t.lines
    # On the same terminal nothing stands in it.
    with terminal("replay", "--collapsed", "-o", "-", "-", output=None) as t:
        t.feed(recorded[1].read_bytes())
        assert t.end() == 0
    assert t.lines[-1].replace("\r\n", "\n").encode().endswith(plain) and not any("writing" in line for line in t.lines)


@pytest.mark.parametrize("option", ["--gecko", "--chrometrace", "--heatmap"])
def test_an_interrupt_while_it_is_written_leaves_nothing(option, recorded, workdir):
    """Neither a part of the result nor its line; what was there before stays."""
    out = os.path.join(workdir, "out")
    pyprof("replay", option, "-o", out, recorded[0], check=True)
    before = sorted(os.listdir(out)) if option == "--heatmap" else open(out, "rb").read()
    for _ in range(100):
        with terminal("replay", option, "-o", out, recorded[1]) as t:
            while t.process.poll() is None and os.listdir(workdir) == ["out"]:
                pass
            t.interrupt()
            status = t.end()
        assert os.listdir(workdir) == ["out"]
        if status == INTERRUPTED:
            break
        assert status == 0, t.said
    assert status == INTERRUPTED
    assert before == (sorted(os.listdir(out)) if option == "--heatmap" else open(out, "rb").read())
    assert "written" not in t.lines[-1] and "writing" not in t.lines[-1]


def test_an_interrupt_while_it_is_read_leaves_nothing(recorded, workdir):
    with terminal("replay", "--collapsed", "-o", "out.txt", "-", cwd=workdir) as t:
        bytes_ = recorded[1].read_bytes()
        for at in range(3):
            t.process.stdin.write(bytes_[at * PIECE:(at + 1) * PIECE])
            t.process.stdin.flush()
            t.read(0.4)
        t.interrupt()
        assert t.end() == INTERRUPTED
    assert any(line.startswith("replaying") for line in t.lines) and "replaying" not in t.lines[-1]
    assert os.listdir(workdir) == []


def test_ended_by_others_leaves_nothing_and_who_ignores_goes_on(recorded, workdir):
    out = os.path.join(workdir, "out")
    for ignored in (False, True):
        # As nohup does.
        process = subprocess.Popen([PYPROF, "replay", "--chrometrace", "-o", out, recorded[1]], stderr=subprocess.PIPE,
                                   preexec_fn=(lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)) if ignored else None)
        while process.poll() is None and not os.listdir(workdir):
            pass
        process.send_signal(signal.SIGHUP)
        process.communicate(timeout=PATIENCE)
        assert process.returncode == (0 if ignored else -signal.SIGHUP)
        assert os.listdir(workdir) == (["out"] if ignored else [])


@pytest.mark.parametrize("args", [["attach", "--binary"], ["replay", "--pprof"]])
def test_what_is_no_text_does_not_go_to_a_terminal(args, recorded):
    with terminal(*args, "-o", "-", os.getpid() if args[0] == "attach" else recorded[0], output=None) as t:
        assert t.end() == 2
    assert t.said == f"pyprof: {args[0]}: that is nothing for a terminal: -o FILE, or a pipe\r\n".encode()
