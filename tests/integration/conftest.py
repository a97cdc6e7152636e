"""Fixtures: interpreters by name, targets that never outlive their test."""
import os
import shutil
import signal
import sys
import tempfile

import pytest

sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))
sys.dont_write_bytecode = True

import support  # noqa: E402
from support import Target, VERSIONS, pythons  # noqa: E402


def pytest_configure(config):
    # What runs in the background has been told to ignore them, and would tell what is tested so.
    for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)
    config.addinivalue_line(
        "markers", "timing: judges rates or shares; to be run while nothing else is")


# The same code reads these as reads 3.8, 3.12, 3.13t and 3.15, by other rows of numbers: a fault of
# memory that is in one is in the other, and that is what a sanitized build is run for.
LIKE_THEIR_NEIGHBOURS = {"3.9", "3.11", "3.13", "3.14"}


def leave_out_alike(config, items):
    """Of each test one case that is not like its neighbours is enough to leave out those that are."""
    def alike(item):
        params = item.callspec.params.values() if hasattr(item, "callspec") else ()
        return any(isinstance(v, str) and v in LIKE_THEIR_NEIGHBOURS for v in params)

    kept = {item.function for item in items if not alike(item)}
    dropped = [item for item in items if alike(item) and item.function in kept]
    items[:] = [item for item in items if not (alike(item) and item.function in kept)]
    config.hook.pytest_deselected(items=dropped)


def pytest_collection_modifyitems(config, items):
    """What measures time comes last, so that `-m timing` and a plain run agree in order."""
    items.sort(key=lambda item: item.get_closest_marker("timing") is not None)
    if support.SANITIZED:
        leave_out_alike(config, items)


def find_interpreter(name):
    """The entry of that name, or a skip that says why there is none."""
    try:
        entry = pythons.find(name)
    except FileNotFoundError:
        pytest.skip("no interpreters here: tests/pythons/get fetches them")
    except KeyError:
        pytest.skip(f"no Python {name} here")
    if entry["missing"]:
        pytest.skip(f"Python {name}: {entry['missing']}")
    return entry


@pytest.fixture(params=VERSIONS)
def interpreter(request):
    """Each version of CPython that pyprof reads, in turn."""
    return find_interpreter(request.param)


@pytest.fixture
def start():
    """start(argv) runs a target; start(entry, script, *args) runs one of tests/targets with an
    interpreter. It is killed at the end."""
    targets = []

    def start_target(first, *args, **options):
        argv = first
        if isinstance(first, dict):
            script = os.path.join(support.TARGETS, args[0])
            argv = pythons.command(first, [script, *map(str, args[1:])])
        targets.append(Target(argv, **options))
        return targets[-1]

    yield start_target
    for target in targets:
        target.close()


@pytest.fixture
def workdir():
    """A directory that everyone may enter, seen under the same path inside the roots."""
    path = tempfile.mkdtemp(prefix="pyprof-test-", dir="/tmp")
    os.chmod(path, 0o755)
    yield path
    shutil.rmtree(path)


@pytest.fixture(scope="session")
def python3():
    """The distribution's own interpreter, for what does not depend on the version."""
    return {"name": "python3", "root": None, "exe": sys.executable, "missing": None}
