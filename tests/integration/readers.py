"""What programs that are not ours make of our files.

Each reader returns a Profile, in samples or nanoseconds: the functions, the total, how much each
function is the leaf of a stack and how much it is on one, and how much is in a call of one function
by another. What a reader does not tell is None."""
import functools
import gzip
import json
import os
import re
import shutil
import subprocess
from collections import Counter

import pytest

import support

SPEEDSCOPE = "speedscope@1.25.0"
PROFILER = "@firefox-devtools/profiler-cli@0.10.0"
NODE = 18   # what the readers are known to start with
SCRIPT = os.path.join(support.TESTS, "readers", "speedscope.js")


class Profile:
    def __init__(self, unit, total=0):
        self.unit, self.total = unit, total
        self.calls, self.inclusive, self.own = Counter(), Counter(), Counter()
        self.names = set()
        self.trace = False      # slices over time, which have an end each

    def add_stack(self, names, amount):
        """names from the base."""
        self.total += amount
        self.names.update(names)
        self.own[names[-1]] += amount
        for name in set(names):
            self.inclusive[name] += amount
        for call in set(zip(names, names[1:])):
            self.calls[call] += amount


def need(program):
    path = shutil.which(program)
    if not path:
        pytest.skip(f"{program} is missing: tests/setup check installs it")
    return path


@functools.cache
def packages():
    """The folder of the packages, which are fetched once; or why they cannot be had."""
    version = subprocess.run(["node", "--version"], stdout=subprocess.PIPE, text=True, check=True)
    if int(version.stdout.lstrip("v").split(".")[0]) < NODE:
        return None, f"node is {version.stdout.strip()}: the readers need {NODE}"
    result = subprocess.run([os.path.join(support.TESTS, "packages"), "npm", SPEEDSCOPE, PROFILER],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    return result.stdout.strip(), result.stderr.strip()


def npm():
    need("node")
    need("npm")
    modules, why_not = packages()
    if why_not:
        pytest.skip(why_not)
    return modules


def run(argv, **options):
    """What a reader printed; it has to succeed."""
    p = subprocess.run([str(a) for a in argv], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       text=True, timeout=60, errors="surrogateescape", **options)
    assert p.returncode == 0, (argv, p.stderr[-2000:])
    return p.stdout


# ---- speedscope ----

def speedscope_raw(path):
    out = run(["node", SCRIPT, os.path.join(npm(), "speedscope", "dist", "release"), path])
    return json.loads(out)[0]


def plain_name(format, name):
    """Of the function, from what the format makes of it as a frame."""
    if format == "chrometrace":
        return name.split(" (")[0]
    if format == "collapsed":
        parts = name.rsplit(":", 2)
        return parts[1] if len(parts) == 3 else name
    return name


def speedscope(path, format, choose=lambda name: True):
    """All threads together."""
    factor = {"nanoseconds": 1, "microseconds": 1000, "milliseconds": 1000000, "none": 1}
    group = speedscope_raw(path)
    profile = None
    for part in group["profiles"]:
        if not choose(part["name"]):
            continue
        if profile is None:
            profile = Profile("samples" if part["unit"] == "none" else "ns")
        for names, amount in part["stacks"]:
            profile.add_stack([plain_name(format, name) for name in names],
                              amount * factor[part["unit"]])
        profile.names.update(plain_name(format, f["name"]) for f in part["frames"])
    assert profile, f"speedscope finds no profile in {path}"
    profile.trace = format == "chrometrace"
    # A path that is not closed well is told, and read all the same.
    assert not [w for w in group["warnings"] if "Doing nothing" in w or "still open" in w
                or "no stack frame" in w.lower()], group["warnings"][:3]
    return profile


# ---- the Firefox Profiler ----

class Firefox:
    """A session with the profile loaded: with Firefox(path) as f: f("profile", "info")."""

    def __init__(self, path, workdir):
        self.program = os.path.join(npm(), PROFILER.rpartition("@")[0], "dist",
                                    "profiler-cli.js")
        self.path = path
        self.env = {**os.environ, "PROFILER_CLI_SESSION_DIR": os.path.join(workdir, "sessions")}

    def __enter__(self):
        os.makedirs(self.env["PROFILER_CLI_SESSION_DIR"])
        self.daemon = subprocess.Popen(
            ["node", self.program, "--daemon", self.path, "--session", "test"], env=self.env,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            support.wait_for(self.is_loaded, "the Firefox Profiler to load the profile")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.daemon.kill()
        self.daemon.wait()

    def command(self, *args):
        return subprocess.run(["node", self.program, *args, "--session", "test", "--json"],
                              env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                              timeout=60)

    def is_loaded(self):
        # Its log: a command that comes too early takes the session for a dead one.
        try:
            with open(os.path.join(self.env["PROFILER_CLI_SESSION_DIR"], "test.log")) as f:
                log = f.read()
        except FileNotFoundError:
            log = ""
        assert self.daemon.poll() is None and "[ERROR]" not in log, log[-2000:]
        return "Profile loaded successfully" in log

    def __call__(self, *args):
        result = self.command(*args)
        assert result.returncode == 0, result.stderr.decode()[-2000:]
        return json.loads(result.stdout)

    def threads(self):
        return self("thread", "list", "--limit", "10000")["threads"]

    def tree(self, thread):
        return self("thread", "samples-top-down", "--thread", thread, "--include-idle",
                    "--max-lines", "1000000")["regularCallTree"]

    def functions(self, thread):
        return self("thread", "functions", "--thread", thread, "--include-idle",
                    "--limit", "100000")["functions"]


def firefox(path, workdir):
    profile = Profile("samples")

    def walk(node):
        for child in node.get("children", []):
            profile.calls[node["name"], child["name"]] += child["totalSamples"]
            walk(child)

    with Firefox(path, workdir) as session:
        for thread in session.threads():
            tree = session.tree(thread["threadHandle"])
            profile.total += tree["totalSamples"]
            walk(tree)
            for function in session.functions(thread["threadHandle"]):
                profile.names.add(function["name"])
                profile.inclusive[function["name"]] += function["totalSamples"]
                profile.own[function["name"]] += function["selfSamples"]
    return profile


# ---- go tool pprof ----

def pprof(path, column, workdir):
    """column: of the sample's values."""
    text = run([need("go"), "tool", "pprof", "-raw", path],
               env={**os.environ, "HOME": workdir, "PPROF_TMPDIR": workdir})
    unit = "samples" if column == 0 else "ns"
    head, _, rest = text.partition("\nSamples:\n")
    samples, _, rest = rest.partition("\nLocations\n")
    locations, _, mappings = rest.partition("\nMappings")
    names, profile = {}, Profile(unit)
    for line in locations.splitlines():
        found = re.match(r"\s*(\d+): 0x[0-9a-f]+ (?:M=\d+ )?(\S+) .*:\d+ s=\d+", line)
        if found:
            names[found[1]] = found[2]
    for line in samples.splitlines()[1:]:
        found = re.match(r"\s*((?:\d+ +)*\d+): ([\d ]*)$", line)
        if found:
            amount = int(found[1].split()[column])
            profile.add_stack([names[i] for i in reversed(found[2].split())], amount)
    return profile


# ---- callgrind_annotate ----

def callgrind(path, column, workdir):
    """column: of the events. Totals are its own sums of what it read."""
    profile = Profile("samples" if column == 0 else "ns")
    options = ["--auto=no", "--threshold=100"]
    number = r"\s*([\d,]+|\.) (?:\([ \d.]+%\))?\s*"
    row = re.compile(f"^{number}{number}([<*>]?)\\s*(.*?)(?: \\(\\d+x\\))?(?: \\[.*\\])?$")
    callers = []

    def value(found):
        return 0 if found[1 + column] == "." else int(found[1 + column].replace(",", ""))

    def annotate(*more):
        p = subprocess.run([need("callgrind_annotate"), *options, *more, path], cwd=workdir,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=60,
                           text=True, errors="surrogateescape")
        assert p.returncode == 0 and not p.stderr, p.stderr[-2000:]
        return p.stdout.splitlines()

    for line in annotate("--inclusive=yes", "--tree=caller"):
        found = row.match(line)
        if not found or "PROGRAM TOTALS" in line:
            continue
        name = found[4].rpartition(":")[2]
        if name.startswith("thread "):
            callers = []
            continue
        if found[3] == "<":
            callers.append((name, value(found)))
        elif found[3] == "*":
            profile.names.add(name)
            profile.inclusive[name] += value(found)
            for caller, amount in callers:
                profile.calls[caller, name] += amount
            callers = []
    for line in annotate():
        found = row.match(line)
        # What a thread has of itself are samples without a Python frame.
        if found and "PROGRAM TOTALS" not in line and "???:thread " not in line:
            profile.total += value(found)
            profile.own[found[4].rpartition(":")[2]] += value(found)
    return profile


# ---- JSON lines ----

def jsonl(path):
    profile, strings, frames = Profile("samples"), {}, {}
    with open(path, encoding="utf-8") as f:
        records = [json.loads(line) for line in f]
    assert [records[0]["type"], records[-1]["type"]] == ["meta", "end"]
    assert len({(r["run_id"], r["v"]) for r in records}) == 1
    for record in records:
        if record["type"] == "string_table":
            strings.update((s["str_id"], s["value"]) for s in record["strings"])
        elif record["type"] == "frame_table":
            frames.update((f["frame_id"], strings[f["func_str_id"]]) for f in record["frames"])
        elif record["type"] == "agg":
            assert record["samples_total"] == records[-1]["samples_total"]
            for entry in record["entries"]:
                profile.names.add(frames[entry["frame_id"]])
                profile.total += entry["self"]
                profile.own[frames[entry["frame_id"]]] += entry["self"]
                profile.inclusive[frames[entry["frame_id"]]] += entry["cumulative"]
    assert profile.total == records[-1]["samples_total"]
    # It has lines, not functions: with recursion they are not to be added up.
    profile.calls = profile.inclusive = None
    return profile


def gunzip(path):
    with gzip.open(path) as f:
        return f.read()
