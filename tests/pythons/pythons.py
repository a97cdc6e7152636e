"""The interpreters that `get` found, and how to start them.

    for entry in pythons.interpreters():
        subprocess.Popen(pythons.command(entry, ["-c", "print(1)"]))

`command` gives an argv whose process becomes the interpreter: no fork lies
between, so the pid is the interpreter's own.
"""
import ctypes
import errno
import json
import os
import sys

HERE = os.path.dirname(os.path.realpath(__file__))
RUN = os.path.join(HERE, "run")
TESTS = os.path.dirname(HERE)

# The suite whose modules, such as greenlet, are for that version of Python.
MODULES_OF = {(3, 9): "bullseye", (3, 11): "bookworm", (3, 13): "trixie",
              (3, 14): "sid", (3, 15): "sid"}

CLONE_NEWNS = 0x20000
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18


def cache():
    """The directory that holds everything `get` fetched."""
    base = os.environ.get("PYPROF_CACHE") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"),
        "pyprof")
    return os.path.join(os.path.realpath(base), "pythons")


def manifest():
    with open(os.path.join(cache(), "manifest.json")) as f:
        return json.load(f)


def load():
    """Every interpreter; one that cannot be run says why in "missing"."""
    entries = manifest()["interpreters"]
    for entry in entries:
        if entry["root"] and os.geteuid() != 0:
            entry["missing"] = entry["missing"] or "chroot needs root"
    return entries


def interpreters(minor_from=(3, 8), primary=True):
    """One interpreter a version (or, with primary=False, all), oldest first.

    The missing ones are in the list too, so that a test can skip by name.
    """
    return [e for e in load() if tuple(e["minor"]) >= tuple(minor_from)
            and (e["primary"] or not primary)]


def find(name):
    """The entry of that name, or KeyError."""
    for entry in load():
        if entry["name"] == name:
            return entry
    raise KeyError(name)


def command(entry, args=()):
    """The argv that becomes this interpreter."""
    if entry["root"]:
        return in_root(entry["root"], [entry["exe"], *args])
    return [entry["exe"], *args]


def modules(entry, module):
    """The environment in which an interpreter has Debian's modules; LookupError
    says why that module is not there."""
    minor = tuple(entry["minor"])
    suite = MODULES_OF.get(minor)
    if not suite or entry["free_threaded"]:
        raise LookupError(f"Debian has no {module} for it")
    usr = os.path.join(cache(), "shared/modules", suite, "usr")
    path = usr + "/lib/python3/dist-packages"
    if not os.path.isdir(path):
        raise LookupError(f"{module}: {manifest().get('modules_missing', 'not fetched')}")
    tag = ".cpython-%d%d-" % minor
    if not any(tag in f and (f.startswith(module + ".") or os.path.basename(d) == module)
               for d, _, files in os.walk(path) for f in files):
        raise LookupError(f"Debian {suite} has no {module} for it")
    return dict(os.environ, PYTHONPATH=path, LD_LIBRARY_PATH=usr + "/lib/x86_64-linux-gnu")


def in_root(root, argv):
    """The argv that becomes this command inside a root (path or suite)."""
    return [RUN, "--root", root, *argv]


def mount_points(under):
    """What is mounted below a directory, deepest first."""
    with open("/proc/self/mountinfo") as f:
        fields = [line.split()[4] for line in f]
    points = [p.encode().decode("unicode_escape").encode("latin-1").decode()
              for p in fields]
    return sorted((p for p in points if p.startswith(under + "/")),
                  key=len, reverse=True)


def enter(root):
    """Move this process into a root that can see /proc, /dev, /tmp, the tests
    and the cache's shared/ folder, all under the paths they have outside.

    The mounts are made in a mount namespace of this process, so they go away
    with it and removing the cache can never reach through one of them.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def check(result, what):
        if result != 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code), what)

    def mount(source, target, flags):
        check(libc.mount(source and os.fsencode(source), os.fsencode(target),
                         None, ctypes.c_ulong(flags), None), target)

    check(libc.unshare(CLONE_NEWNS), "unshare")
    try:
        mount(None, "/", MS_REC | MS_PRIVATE)
    except OSError as e:
        # In a chroot "/" need not be a mount point. If the mount around it is
        # shared, ours are seen outside, and by the next run, which skips them.
        if e.errno != errno.EINVAL:
            raise
    present = set(mount_points(root))
    shared = os.path.join(cache(), "shared")
    for path in ("/proc", "/dev", "/dev/pts", "/dev/shm", "/tmp", shared, TESTS):
        target = root + path
        if target in present or not os.path.isdir(path):
            continue
        os.makedirs(target, exist_ok=True)
        mount(path, target, MS_BIND)
        mount(None, target, MS_PRIVATE)
        if path == TESTS:
            mount(None, target, MS_BIND | MS_REMOUNT | MS_RDONLY)
    try:
        here = os.getcwd()
    except FileNotFoundError:
        here = "/"
    os.chroot(root)
    os.chdir(here if os.path.isdir(here) else "/")


if __name__ == "__main__":
    sys.exit("this is a module; see get and run")
