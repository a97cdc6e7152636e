"""What the integration tests share: the binaries, targets, and waiting with deadlines."""
import os
import re
import select
import signal
import socket
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.realpath(__file__))
TESTS = os.path.dirname(HERE)
TARGETS = os.path.join(TESTS, "targets")
BUILD = os.path.join(os.path.dirname(TESTS), os.environ.get("PYPROF_BUILD", "build"))
SANITIZED = "asan" in os.path.basename(BUILD.rstrip("/"))
PYPROF = os.path.join(BUILD, "pyprof")
PYPROFD = os.path.join(BUILD, "pyprofd")

sys.path.insert(0, os.path.join(TESTS, "pythons"))
import pythons  # noqa: E402

PATIENCE = 30  # seconds until something that must happen is taken not to
VERSIONS = ["3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.13t", "3.14", "3.15"]


def version_of(name):
    """"3.13t" to (3, 13)."""
    return tuple(int(n) for n in name.split("-")[0].rstrip("t").split("."))


def wait_for(condition, what, patience=PATIENCE):
    """Polls until condition() is true; returns what it returned."""
    deadline = time.monotonic() + patience
    while True:
        result = condition()
        if result:
            return result
        assert time.monotonic() < deadline, f"waited {patience} s for {what}"
        time.sleep(0.005)


def wait_for_socket(path, process=None):
    """Until a daemon takes connections: its socket has a name a moment before. Or until it has ended."""
    def takes():
        if process and process.poll() is not None:
            return True
        with socket.socket(socket.AF_UNIX) as s:
            try:
                s.connect(path)
            except OSError:
                return False
        return True
    wait_for(takes, "the socket")


def stat_field(pid, number):
    """Field of /proc/PID/stat, numbered from 1 as in proc(5); None when it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as f:
            return f.read().rpartition(")")[2].split()[number - 3]
    except (FileNotFoundError, ProcessLookupError):
        return None


def state(pid):
    """The letter of a process's state; None when it is gone."""
    return stat_field(pid, 3)


def task_states(pid):
    """The states of all threads."""
    return {tid: state(f"{pid}/task/{tid}") for tid in os.listdir(f"/proc/{pid}/task")}


def children(pid):
    """The pids of a process's children."""
    found = []
    for tid in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{tid}/children") as f:
            found += [int(word) for word in f.read().split()]
    return found


class Target:
    """A process that tests look at. It tells what it has to tell in lines on its stdout."""

    def __init__(self, argv, **options):
        options.setdefault("stdin", subprocess.PIPE)
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, **options)
        self.pid = self.process.pid
        self.buffer = b""

    def line(self, patience=PATIENCE):
        """The next line, without its newline."""
        deadline = time.monotonic() + patience
        fd = self.process.stdout.fileno()
        while b"\n" not in self.buffer:
            left = deadline - time.monotonic()
            assert left > 0 and select.select([fd], [], [], left)[0], \
                f"the target said nothing for {patience} s"
            chunk = os.read(fd, 1 << 16)
            assert chunk, f"the target ended with status {self.process.wait()}"
            self.buffer += chunk
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode()

    def expect(self, word):
        """The rest of the next line, which must begin with word."""
        line = self.line()
        assert line.split(" ")[0] == word, line
        return line[len(word) + 1:]

    def say(self, text):
        self.process.stdin.write(text.encode() + b"\n")
        self.process.stdin.flush()

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdout, self.process.stdin):
            if stream:
                try:
                    stream.close()
                except BrokenPipeError:
                    pass


class Result:
    """How a command ended, with what it wrote."""

    def __init__(self, status, out, err):
        self.status, self.raw, self.err = status, out, err

    @property
    def out(self):
        return self.raw.decode()

    @property
    def messages(self):
        return self.err.splitlines()

    def __repr__(self):
        return f"<status {self.status}, stderr {self.err!r}>"


def pyprof(*args, program=PYPROF, timeout=60, check=False, **options):
    """Runs pyprof to its end. check: it must succeed."""
    p = subprocess.run([program, *map(str, args)], stdout=options.pop("stdout", subprocess.PIPE),
                       stderr=subprocess.PIPE, timeout=timeout,
                       stdin=options.pop("stdin", subprocess.DEVNULL), **options)
    result = Result(p.returncode, p.stdout or b"", p.stderr.decode())
    assert "Sanitizer" not in result.err and "runtime error:" not in result.err, result
    if check:
        assert result.status == 0, result
    return result


COUNTS = re.compile(
    r"(?P<seconds>[\d.]+) s: due (?P<due>\d+), achieved (?P<achieved>\d+) \([\d.]+/s\), "
    r"missed (?P<missed>\d+), lost (?P<lost>\d+)")


def counts(result):
    """The counts that a recording ends with, of its message."""
    found = COUNTS.search(result.err)
    assert found, result
    return {key: float(v) if key == "seconds" else int(v)
            for key, v in found.groupdict().items()}


def collapsed(text):
    """Collapsed stacks as a list of (tid, [(file, function, line)...] from the base, count).
    A frame like "<moving>" is a function without a file."""
    stacks = []
    for line in text.splitlines():
        path, _, count = line.rpartition(" ")
        head, *frames = path.split(";")
        assert head.startswith("tid:"), line
        frames = [tuple(f.rsplit(":", 2)) if ":" in f else ("", f, "") for f in frames]
        stacks.append((int(head[4:]), frames, int(count)))
    return stacks


def leaf_counts(stacks):
    """How many samples have each function as their leaf."""
    sums = {}
    for _, frames, count in stacks:
        sums[frames[-1][1]] = sums.get(frames[-1][1], 0) + count
    return sums


def leaf_shares(stacks):
    """The share of each function among the leaves, in percent."""
    sums = leaf_counts(stacks)
    total = sum(sums.values())
    return {name: 100 * n / total for name, n in sums.items()}


def cpu_ticks():
    """Clock ticks that all CPUs were busy since the start of the machine."""
    with open("/proc/stat") as f:
        user, nice, system, idle, iowait, irq, softirq, steal = map(
            int, f.readline().split()[1:9])
    return user + nice + system + irq + softirq + steal


def undisturbed(measure, pids, attempts=4):
    """Calls measure() until no other process took much CPU meanwhile, for a few times: timing is
    judged by itself. pids: processes that belong to the measurement; children do too. The
    last result is returned whatever happened."""
    for attempt in range(attempts):
        def own():
            t = os.times()
            used = sum(int(stat_field(p, 14) or 0) + int(stat_field(p, 15) or 0) for p in pids)
            return used + (t.user + t.system + t.children_user + t.children_system) * hz
        hz = os.sysconf("SC_CLK_TCK")
        start, busy, mine = time.monotonic(), cpu_ticks(), own()
        result = measure()
        seconds = time.monotonic() - start
        others = (cpu_ticks() - busy - (own() - mine)) / hz / seconds
        if others < 0.15:
            break
        print(f"attempt {attempt}: other processes used {others:.2f} CPUs")
    return result


def alone(cpu, pid=0):
    """Puts a process (0: this one) on a CPU of its own and before others, as far as that is
    possible: then a target and who samples it do not wait for each other."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) > 1:
        for tid in os.listdir(f"/proc/{pid or os.getpid()}/task"):
            os.sched_setaffinity(int(tid), {cpus[cpu % len(cpus)]})
    try:
        os.setpriority(os.PRIO_PROCESS, pid, -15)
    except PermissionError:
        pass


def send(pid, number):
    """A signal to a process that may have ended."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass


def kill_all(pids):
    for pid in pids:
        send(pid, signal.SIGKILL)
