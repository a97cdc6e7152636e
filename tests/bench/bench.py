#!/usr/bin/env python3
"""make bench: pyprof beside Tachyon (profiling.sampling of Python 3.15) and Austin, in turn on the
same targets, in one run.

Figures are medians of rounds taken in turn; machines differ and are noisy, so ratios count. A peer
or an interpreter that is missing is named, and what needs it left out."""
import argparse
import os
import platform
import shutil
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
import costs  # noqa: E402
import modes  # noqa: E402
import rates  # noqa: E402
import truth  # noqa: E402
from peers import Austin, Failed, Pyprof, Tachyon  # noqa: E402
from table import Table  # noqa: E402
from targets import REPO, Skipped, shared  # noqa: E402

SECTIONS = {
    "rate": rates.rate, "raw": rates.raw, "versions": rates.versions, "blocking": rates.blocking,
    "size": rates.size, "threads": costs.threads, "cpu": costs.cpu, "slowdown": costs.slowdown,
    "spin": costs.spin, "dump": costs.dump, "replay": costs.replay, "service": truth.service,
    "truth": truth.truth, "modes": modes.modes, "long": truth.long,
}
NOT_BY_DEFAULT = {"long"}


class Bench:
    """What the sections share: settings, profilers, programs, tables."""

    def __init__(self, options):
        self.build = Path(options.build).resolve()
        self.quick = options.quick
        self.versions = options.versions
        self.rounds = 1 if self.quick else 3
        self.seconds = 1 if self.quick else 3
        self.pairs = 3 if self.quick else 20
        self.tables = []
        self.without = {}

    def table(self, title, *columns):
        self.tables.append(Table(title, columns))
        return self.tables[-1]

    def program(self, name):
        path = self.build / "bench" / name
        if not path.exists():
            raise Skipped(f"{path} is not built; make bench-programs builds it")
        return path

    def pyprof(self):
        return Pyprof(self.build)

    def optional(self, make, *args):
        """What make gives, or None where it is missing, which is said once."""
        try:
            return make(*args)
        except Skipped as e:
            if str(e) not in self.without:
                print(f"  without: {e}", flush=True)
            self.without[str(e)] = True
            return None

    def tachyon(self):
        return self.optional(Tachyon)

    def austin(self):
        return self.optional(Austin)


def machine():
    load = os.getloadavg()[0]
    return (f"{platform.machine()}, {os.cpu_count()} CPUs, Linux {platform.release()}, "
            f"load {load:.2f} before it began")


def write_markdown(bench, path, about, command):
    parts = [f"Made by `{command}` ({about}).", ""]
    parts += [t.markdown() for t in bench.tables]
    parts += [f"Without: {reason}." for reason in bench.without]
    Path(path).write_text("\n".join(parts).rstrip() + "\n")


def main():
    listing = "\n".join(f"  {name:<9} {' '.join(f.__doc__.split())}" for name, f in SECTIONS.items())
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=f"sections (all but {', '.join(NOT_BY_DEFAULT)} if none is "
        f"named):\n{listing}", formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default=str(REPO / "build"), metavar="DIR",
                        help="where pyprof and the bench's programs are (default: build)")
    parser.add_argument("--quick", action="store_true",
                        help="one short round of each: to see that it works, not for figures")
    parser.add_argument("--markdown", metavar="FILE", help="also write the tables there")
    parser.add_argument("--versions", type=lambda s: s.split(","), metavar="X,Y",
                        help="of the truth bench: only these")
    parser.add_argument("sections", nargs="*", metavar="SECTION")
    options = parser.parse_args()
    for name in options.sections:
        if name not in SECTIONS:
            parser.error(f"no section {name}")
    bench = Bench(options)
    about = machine()
    print(about)
    failed = False
    for name in options.sections or [s for s in SECTIONS if s not in NOT_BY_DEFAULT]:
        began = time.monotonic()
        try:
            SECTIONS[name](bench)
        except Skipped as e:
            print(f"  {name}: skipped: {e}", flush=True)
            bench.without[f"{name}: {e}"] = True
        except Failed as e:
            print(f"  {name}: failed: {e}", flush=True)
            bench.without[f"{name}: {e}"] = True
            failed = True
        print(f"  ({name}: {time.monotonic() - began:.0f} s)", flush=True)
    for leftover in shared().glob("bench-*"):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink()
    if options.markdown:
        write_markdown(bench, options.markdown, about, "make bench")
    sys.exit(failed)


if __name__ == "__main__":
    main()
