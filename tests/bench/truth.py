"""How true: every sample against what was really running."""
import contextlib
import json
import os
import tempfile

from peers import Failed, run
from table import number, percent
from targets import Skipped, Target, interpreter

VERSIONS = ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.13t", "3.14", "3.15")
LONG_VERSIONS = ("3.11", "3.12", "3.13", "3.13t", "3.14", "3.15")
LONG_SAMPLES = 10_000_000
RATE, CONTROL_RATE = 20_000, 1_000
# The oracle that logs, with inner loops, and the one that does not and so changes faster.
PROGRAMS = (("logged, loops 0", 0, True), ("logged, loops 100", 100, True),
            ("logged, loops 3000", 3000, True), ("plain, loops 0", 0, False))


def _truth(bench, pid, *options, limit):
    ran = run([bench.program("truth"), *options, pid], limit)
    if ran.status:
        raise Failed(f"truth: {ran.text.strip()[-200:]}")
    return json.loads(ran.text.splitlines()[-1])


def _add(a, b):
    """Two results as one."""
    out = dict(a)
    for key, value in b.items():
        if key == "leaves":
            out[key] = {k: a[key].get(k, 0) + value.get(k, 0) for k in {**a[key], **value}}
        elif isinstance(value, (int, float)):
            out[key] = a.get(key, 0) + value
    return out


def _deviation(found, control):
    """The leaf whose share is most off, by how many points, and the total variation."""
    a, b = sum(found.values()), sum(control.values())
    if not a or not b:
        return None, None, None
    off = {k: 100 * (found.get(k, 0) / a - control.get(k, 0) / b) for k in {**found, **control}}
    worst = max(off, key=lambda k: abs(off[k]))
    return worst, off[worst], sum(map(abs, off.values())) / 2


def _apart(target):
    """The target and the sampler on a CPU each: on one, no sample would meet a moving target."""
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        return []
    os.sched_setaffinity(target.pid, cpus[:1])
    return ["--cpu", cpus[1]]


@contextlib.contextmanager
def _program(entry, loops, logged):
    if not logged:
        with Target(entry, "oracle.py", loops) as t:
            yield t, _apart(t)
        return
    # Not on a disk: it is written to all the time.
    with tempfile.NamedTemporaryFile(dir="/dev/shm", prefix="bench-truth-") as log:
        with Target(entry, "bench_truth.py", loops, "--log", log.name) as t:
            yield t, [*_apart(t), "--log", log.name]


def _row(table, name, mode, r, control):
    worst, points, variation = _deviation(r["leaves"], control["leaves"])
    checked, tried = r.get("checked", 0), r["achieved"] + r["lost"]
    per_million = r["impossible"] / r["samples"] * 1e6 if r["samples"] else None
    table.row(name, mode, number(r["samples"]), number(r["achieved"] / r["seconds"]),
              percent(r["active"] / checked, 3) if checked else "-",
              percent(r["moved"] / checked, 0) if checked else "-",
              percent(r["chance"] / r["chance_checked"], 0) if r.get("chance_checked") else "-",
              number(r["impossible"]), number(per_million, 1),
              percent(r["moving"] / r["samples"], 3) if r["samples"] else "-",
              percent(r["lost"] / tried, 3) if tried else "-",
              percent(r["stopped"] / r["achieved"]) if r["achieved"] else "-",
              f"{worst} {points:+.2f}" if worst else "-", number(variation, 2))
    if r["shims"]:
        table.shims[mode] = table.shims.get(mode, 0) + r["shims"]
    if r["impossible"]:
        least = r.get("impossible_least_gather_ns", 0)
        table.note(f"{name}, {mode}: of the impossible, {r['rootless']} lack their base"
                   + (f", {r['impossible_stop']} were taken by a stop; the quickest was gathered in "
                      f"{least / 1e3:.1f} us" if least else ""))
    if r.get("unnamed") or r.get("unchecked"):
        table.note(f"{name}, {mode}: {r['unnamed']} samples name nothing of the program, "
                   f"{r['unchecked']} could not be held against the log")


COLUMNS = ("program", "mode", "samples", "rate/s", "was on top", "moved", "chance", "impossible",
           "per M", "<moving>", "lost", "stopped", "worst leaf", "variation")
EXPLAINED = ("was on top: samples whose leaf was on top at some time of their own gather. moved: of "
             "these, the share during whose gather the program changed its function or made a mark. "
             "chance: how often the leaf of a sample 1,000 earlier would fit. worst leaf: points of "
             "share against the blocking control; variation: total variation from it, in points.")


def _tachyon(bench, table, tachyon, t, name, seconds, control):
    for mode, blocking in (("Tachyon", False), ("Tachyon --blocking", True)):
        try:
            r = tachyon.record(t, CONTROL_RATE if blocking else RATE, seconds, blocking=blocking,
                               kind="--collapsed")
            ran = run([bench.program("truth"), "--collapsed", tachyon.file()], 60)
            if ran.status:
                raise Failed(ran.text.strip()[-200:])
        except (Failed, Skipped) as e:
            table.note(f"{name}: {e}")
            continue
        judged = json.loads(ran.text)
        tried = judged["samples"] / (1 - r.failed) if r.failed < 1 else 0
        judged.update(achieved=judged["samples"], lost=tried - judged["samples"], seconds=r.seconds,
                      stopped=judged["samples"] if blocking else 0)
        _row(table, name, mode, judged, control)


def truth(bench):
    """the truth bench: named-active share, impossible stacks, loss and shares of one run, per
    version (Tachyon beside 3.15)"""
    _measure(bench, VERSIONS, None)


def long(bench):
    """the truth bench with 10 million samples a version, 3.11 to 3.15 and 3.13t (hours)"""
    _measure(bench, LONG_VERSIONS, 40_000 if bench.quick else LONG_SAMPLES // len(PROGRAMS))


def _measure(bench, versions, samples):
    seconds = 2 if bench.quick else 10
    control_seconds = 2 if bench.quick else 20
    limit = samples / 1000 if samples else seconds  # even at 1 kHz it ends
    table = bench.table(f"Truth at {RATE // 1000} kHz, stop budget lifted, and without stops; "
                        f"control: --blocking at {CONTROL_RATE // 1000} kHz; target and sampler on "
                        "a CPU each", *COLUMNS)
    table.shims = {}
    tachyon = bench.tachyon()
    for version in bench.versions or versions:
        totals = []
        for label, loops, logged in PROGRAMS:
            name = f"{version} {label}"
            try:
                with _program(interpreter(version), loops, logged) as (t, options):
                    def control():
                        return _truth(bench, t.pid, "--blocking", "-r", CONTROL_RATE, "-d",
                                      control_seconds / 2, limit=control_seconds + 30)

                    first = control()  # half before, half after: a drift shows in both
                    lifted = _truth(bench, t.pid, *options, "-r", RATE, "-d", limit,
                                    *(["-n", samples] if samples else []), limit=limit + 60)
                    held = _add(first, control())
                    _row(table, name, "lifted", lifted, held)
                    free = _truth(bench, t.pid, *options, "-r", RATE, "-d", seconds,
                                  "--budget", 0, limit=seconds + 60)
                    _row(table, name, "0 %", free, held)
                    _row(table, name, "control", held, held)
                    if version == "3.15" and tachyon and not samples:
                        _tachyon(bench, table, tachyon, t, name, seconds, held)
                    totals.append(lifted)
            except (Failed, Skipped) as e:
                table.note(f"{name}: {e}")
                continue
        if totals:
            sums = {k: sum(r[k] for r in totals)
                    for k in ("samples", "impossible", "lost", "achieved", "checked", "active")}
            share = sums["active"] / sums["checked"] if sums["checked"] else None
            table.note(f"{version}, stop budget lifted, all programs: {sums['samples']:,} samples, "
                       f"{sums['impossible']} impossible, "
                       f"{percent(share, 3)} named what was on top, "
                       f"{percent(sums['lost'] / (sums['achieved'] + sums['lost']), 3)} lost")
    for mode, count in table.shims.items():
        table.note(f"{mode}: {count:,} samples show a frame of the interpreter's own, "
                   "__init__:__init__, that Python itself shows nobody; it is not counted as wrong")
    table.note(EXPLAINED)


def service(bench):
    """a service of two busy threads at -a -r 5khz, default settings (needs 3.15)"""
    table = bench.table("A service of two threads (json, re, hashlib), -a -r 5khz, default settings "
                        "(3.15)", "profiler", "samples", "rate/s", "lost", "<moving>", "stopped",
                        "missed", "held")
    tachyon, ours = bench.tachyon(), bench.pyprof()
    seconds = 3 if bench.quick else 10
    with Target(interpreter("3.15"), "bench_service.py") as t:
        for _ in range(bench.rounds):
            for profiler in filter(None, (ours, tachyon)):
                try:
                    r = profiler.record(t, 5000, seconds, all_threads=True)
                except (Failed, Skipped) as e:
                    table.note(f"{profiler.name}: {e}")
                    continue
                table.row(profiler.name, number(r.samples), number(r.rate), percent(r.failed, 3),
                          percent(r.moving, 3), percent(r.stopped), percent(r.missed),
                          percent(r.held, 2))
