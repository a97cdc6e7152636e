"""How fast: pyprof, its peers, and the limit of reading."""
import recording
from peers import Failed, Rounds, run
from table import number, percent, ratio
from targets import Skipped, Target, interpreter

KINDS = ("still", "churn", "unwind", "generators")
DEPTHS = (2, 20, 200)
FASTEST = 1_000_000  # more than anyone reaches


def _failures(table, what, rounds):
    for name, reason in rounds.failures.items():
        table.note(f"{what}: {name}: {reason}")


def rate(bench):
    """the highest real rate at depths 2, 20 and 200, four kinds of target (needs 3.15; 3.13 and
    Austin)"""
    table = bench.table("Highest real rate, encoding included, one busy thread, samples/s "
                        "(3.15; Austin on 3.13)",
                        "target", "pyprof", "repeats", "stopped", "<moving>", "Tachyon", "failed",
                        "ratio", "Austin", "ratio")
    ours, tachyon, austin = bench.pyprof(), bench.tachyon(), bench.austin()
    entry, old = interpreter("3.15"), bench.optional(interpreter, "3.13")
    for depth in DEPTHS:
        for kind in KINDS:
            with Target(entry, "depth.py", depth, kind) as t:
                measures = {"pyprof": lambda: ours.record(t, FASTEST, bench.seconds)}
                if tachyon:
                    measures["Tachyon"] = lambda: tachyon.record(t, FASTEST, bench.seconds)
                r = Rounds(bench.rounds, **measures)
            c = None
            if austin and old:
                with Target(old, "depth.py", depth, kind) as t:
                    ra = Rounds(bench.rounds,
                                Austin=lambda: austin.record(t, FASTEST, bench.seconds))
                c = ra.median("Austin")
                _failures(table, f"{depth} {kind}", ra)
            a = r.median("pyprof")
            b = r.median("Tachyon") if tachyon else None
            table.row(f"depth {depth}, {kind}", number(a),
                      percent(r.median("pyprof", lambda x: x.repeats)),
                      percent(r.median("pyprof", lambda x: x.stopped)),
                      percent(r.median("pyprof", lambda x: x.moving)), number(b),
                      percent(r.median("Tachyon", lambda x: x.failed)) if tachyon else "-",
                      ratio(a, b), number(c), ratio(a, c))
            _failures(table, f"{depth} {kind}", r)


def raw_reads(bench, pid, *options):
    """What raw.c says: a dictionary of numbers."""
    before = [o for o in options if str(o).startswith("-")]
    after = [o for o in options if not str(o).startswith("-")]
    ran = run([bench.program("raw"), *before, pid, bench.seconds, *after], bench.seconds + 60)
    if ran.status:
        raise Failed(f"raw: {ran.text.strip()[:120]}")
    words = ran.text.split()
    return {k: int(v) for k, v in zip(words[::2], words[1::2])}


def raw(bench):
    """the limit: the same ranges, read and thrown away (needs 3.15)"""
    table = bench.table("Share of the limit: the ranges of a sample, read again and again and not "
                        "looked at (3.15)",
                        "target", "reads/s", "ranges", "bytes", "pyprof/s", "share")
    ours, entry = bench.pyprof(), interpreter("3.15")
    for depth in DEPTHS:
        for kind in ("still", "churn"):
            with Target(entry, "depth.py", depth, kind) as t:
                r = Rounds(bench.rounds, raw=lambda: raw_reads(bench, t.pid),
                           pyprof=lambda: ours.record(t, FASTEST, bench.seconds))
            limit = r.median("raw", lambda x: x["reads"] * 1e9 / x["wall_ns"])
            a = r.median("pyprof")
            table.row(f"depth {depth}, {kind}", number(limit),
                      number(r.median("raw", lambda x: x["ranges"])),
                      number(r.median("raw", lambda x: x["bytes"])), number(a),
                      percent(a / limit) if a and limit else "-")
            _failures(table, f"{depth} {kind}", r)


def versions(bench):
    """other versions at depth 20, beside our 3.15 and, for 3.8 to 3.10, Austin"""
    table = bench.table("Other versions, depth 20, samples/s, measured in turn with our 3.15",
                        "version", "pyprof", "repeats", "stopped", "on 3.15", "share", "Austin",
                        "ratio")
    ours, austin = bench.pyprof(), bench.austin()
    newest = interpreter("3.15")
    for name in ("3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.13t", "3.14"):
        for kind in ("still", "churn"):
            try:
                entry = interpreter(name)
                if name == "3.9" and entry["root"]:  # where Austin can be started too
                    entry = bench.optional(interpreter, "3.9-pyenv") or entry
                with Target(entry, "depth.py", 20, kind) as t, \
                        Target(newest, "depth.py", 20, kind) as reference:
                    # One target at a time has the CPU.
                    def alone(target, other, profiler):
                        with other.paused():
                            return profiler.record(target, FASTEST, bench.seconds)

                    measures = {"ours": lambda: alone(t, reference, ours),
                                "newest": lambda: alone(reference, t, ours)}
                    if austin and name in ("3.8", "3.9", "3.10"):
                        measures["Austin"] = lambda: alone(t, reference, austin)
                    r = Rounds(bench.rounds, **measures)
            except Skipped as e:
                table.note(f"{name}: skipped: {e}")
                continue
            a, b = r.median("ours"), r.median("newest")
            c = r.median("Austin") if "Austin" in r.results else None
            table.row(f"{name} {kind}", number(a),
                      percent(r.median("ours", lambda x: x.repeats)),
                      percent(r.median("ours", lambda x: x.stopped)), number(b),
                      percent(a / b) if a and b else "-", number(c), ratio(a, c))
            _failures(table, f"{name} {kind}", r)


def blocking(bench):
    """the highest rate of --blocking (needs 3.15)"""
    table = bench.table("Highest real rate of --blocking, samples/s (3.15)",
                        "target", "pyprof", "held", "Tachyon", "failed", "ratio")
    ours, tachyon, entry = bench.pyprof(), bench.tachyon(), interpreter("3.15")
    for depth in DEPTHS:
        for kind in ("still", "churn"):
            with Target(entry, "depth.py", depth, kind) as t:
                measures = {"pyprof": lambda: ours.record(t, FASTEST, bench.seconds,
                                                          blocking=True)}
                if tachyon:
                    measures["Tachyon"] = lambda: tachyon.record(t, FASTEST, bench.seconds,
                                                                 blocking=True)
                r = Rounds(bench.rounds, **measures)
            a = r.median("pyprof")
            b = r.median("Tachyon") if tachyon else None
            table.row(f"depth {depth}, {kind}", number(a),
                      percent(r.median("pyprof", lambda x: x.held)), number(b),
                      percent(r.median("Tachyon", lambda x: x.failed)) if tachyon else "-",
                      ratio(a, b))
            _failures(table, f"{depth} {kind}", r)


def size(bench):
    """bytes a sample of a recording at 10 kHz (needs 3.15)"""
    table = bench.table("Bytes a sample of a recording at 10 kHz, leaf churn at depth 20, default "
                        "compression (3.15)",
                        "profiler", "samples", "bytes/sample", "time+stack", "states add")
    ours, tachyon, entry = bench.pyprof(), bench.tachyon(), interpreter("3.15")
    seconds = 3 if bench.quick else 10
    with Target(entry, "depth.py", 20, "churn") as t:
        def mine():
            r = ours.record(t, 10_000, seconds)
            return r, recording.added_by_states(ours.file())

        measures = {"pyprof": mine}
        if tachyon:
            measures["Tachyon"] = lambda: (tachyon.record(t, 10_000, seconds), None)
        r = Rounds(bench.rounds, **measures)
    for name, results in r.results.items():
        if not results or name in r.failures:
            continue
        per = r.median(name, lambda x: x[0].bytes / x[0].samples)
        states = r.median(name, lambda x: x[1] and x[1] / x[0].samples)
        table.row(name, number(r.median(name, lambda x: x[0].samples)), number(per, 3),
                  number(per - states, 3) if states is not None else "",
                  number(states, 3) if states is not None else "")
    table.note("Tachyon's bytes hold its states too; pyprof's time is exact to 1 us a sample.")
    _failures(table, "size", r)
