"""Python in every shape: each cell of shape and version shows the known function."""
import json
import os
import re
import shutil
import subprocess

import pytest

from conftest import find_interpreter
from support import (TARGETS, VERSIONS, children, pyprof, pythons, state, wait_for)

KNOWN = os.path.join(TARGETS, "known.py")
EMBED = os.path.join(TARGETS, "embed.c")
# There is no library of a free-threaded Python to be had.
WITH_LIBRARY = [v for v in VERSIONS if not v.endswith("t")]


def shows_the_known_function(pid):
    for options in ["--json"], ["--json", "-a"], ["--json", "--blocking"]:
        dump = json.loads(pyprof("dump", *options, pid, check=True).out)
        (main,) = [t for t in dump["threads"] if t["main"]]
        assert [f["function"] for f in main["frames"]] == [
            "known_leaf", "known_middle", "known_base", "<module>"]
        assert main["how"] in ("free", "stop")
    recorded = pyprof("attach", "-d", "0.2", "--collapsed", "-o", "-", pid, check=True)
    assert re.fullmatch(r"tid:\d+;\S*<module>:\d+;\S*known_base:\d+;\S*known_middle:\d+;"
                        r"\S*known_leaf:\d+ \d+\n", recorded.out), recorded.out


def maps(pid):
    with open(f"/proc/{pid}/maps") as f:
        return f.read()


def exe(pid):
    return os.readlink(f"/proc/{pid}/exe")


def in_root(entry, argv):
    return pythons.in_root(entry["root"], argv) if entry["root"] else argv


def config(entry, name):
    """A variable of the interpreter's own build."""
    code = f"import sysconfig; print(sysconfig.get_config_var({name!r}) or '')"
    return subprocess.run(pythons.command(entry, ["-c", code]), check=True, text=True,
                          stdout=subprocess.PIPE).stdout.strip()


def python_environment(entry):
    """An embedding program must be told where its modules are, if not in the usual place."""
    prefix = os.path.dirname(os.path.dirname(entry["exe"]))
    return {**os.environ, "PYTHONHOME": prefix} if prefix != "/usr" else dict(os.environ)


def library_file(entry):
    """The path of the interpreter's libpython3.x.so, as its root has it."""
    directory, name = config(entry, "LIBDIR"), config(entry, "INSTSONAME")
    for path in (os.path.join(directory, config(entry, "MULTIARCH"), name),
                 os.path.join(directory, name)):
        if os.path.exists((entry["root"] or "") + path):
            return path
    raise AssertionError(f"no {name} in {directory}")


def archive_file(entry):
    """The path of its libpython3.x.a; of those there are, the one that may be moved."""
    directory = config(entry, "LIBPL")
    names = [n for n in os.listdir((entry["root"] or "") + directory)
             if re.match(r"libpython.*\.a$", n)]
    return os.path.join(directory, max(names, key=lambda n: n.endswith("-pic.a")))


def compile_in(entry, command, check=True):
    """Runs gcc where the interpreter's headers and libraries are: what it said."""
    result = subprocess.run(in_root(entry, ["gcc", "-w", *command, "-lutil", "-ldl", "-lm",
                                            "-lpthread"]),
                            stderr=subprocess.PIPE, text=True)
    assert result.returncode == 0, result.stderr
    return result.stderr


def build_embedder(entry, workdir, static=False, name="embedder", flags=()):
    """A C program with Python in it, or as a library beside it: its path."""
    out = os.path.join(workdir, name)
    command = ["-o", out, EMBED, "-I" + config(entry, "INCLUDEPY"), *flags]
    if not static:
        library = library_file(entry)
        compile_in(entry, [*command, library, "-Wl,-rpath," + os.path.dirname(library)])
        return out
    command += ["-Wl,-export-dynamic", archive_file(entry)]
    said = compile_in(entry, [*command, "-Wl,--warn-unresolved-symbols"])
    # What modules that are not imported here need of other libraries is not there everywhere.
    missing = set(re.findall(r"undefined reference to .(\w+)", said))
    stubs = os.path.join(workdir, "stubs.c")
    with open(stubs, "w") as f:
        f.writelines(f"void {name}(void) {{ __builtin_trap(); }}\n" for name in sorted(missing))
    compile_in(entry, [*command, stubs])
    return out


def start_embedder(entry, start, workdir, *args, before=(), **build):
    program = build_embedder(entry, workdir, **build)
    target = start(in_root(entry, [program, *before, KNOWN, *args]),
                   env=python_environment(entry))
    target.expect("ready")
    return target


def start_copy(entry, start, workdir, name="python-copy", change=None):
    """The interpreter's executable, copied and changed, with its modules where they were."""
    source = (entry["root"] or "") + entry["exe"]
    copy = os.path.join(workdir, name)
    shutil.copy(source, copy)
    if change:
        change(copy)
    target = start(in_root(entry, [copy, KNOWN]), env=python_environment(entry))
    target.expect("ready")
    assert exe(target.pid).endswith(copy)
    return target, copy


# ---- where the runtime is ----

@pytest.mark.parametrize("name", VERSIONS)
def test_runtime_in_the_executable(name, start, workdir):
    entry = find_interpreter(name)
    if entry["shared"]:
        target = start_embedder(entry, start, workdir, static=True)
    else:
        target = start(entry, "known.py")
        target.expect("ready")
    assert "libpython" not in maps(target.pid)
    shows_the_known_function(target.pid)


@pytest.mark.parametrize("name", WITH_LIBRARY)
def test_runtime_in_a_library(name, start, workdir):
    entry = find_interpreter(name)
    if entry["shared"]:
        target = start(entry, "known.py")
        target.expect("ready")
    else:
        target = start_embedder(entry, start, workdir)
    assert f"libpython{name}" in maps(target.pid)
    shows_the_known_function(target.pid)


@pytest.mark.parametrize("name", VERSIONS)
def test_position_independent_executable(name, start, workdir):
    target = start_embedder(find_interpreter(name), start, workdir, static=True,
                            flags=["-pie"])
    assert not maps(target.pid).startswith("00400000")
    shows_the_known_function(target.pid)


@pytest.mark.parametrize("name", VERSIONS)
def test_executable_at_a_fixed_address(name, start, workdir):
    entry = find_interpreter(name)
    if name.endswith("t") or entry["shared"]:
        # Their archives are built to be moved; linking them to a fixed address works too.
        target = start_embedder(entry, start, workdir, static=True, flags=["-no-pie"])
    else:
        target = start(entry, "known.py")
        target.expect("ready")
    assert maps(target.pid).startswith("00400000")
    shows_the_known_function(target.pid)


# ---- what became of its file ----

def strip(path):
    subprocess.run(["strip", "--strip-all", path], check=True)


@pytest.mark.parametrize("name", VERSIONS)
def test_stripped(name, start, workdir):
    entry = find_interpreter(name)
    if entry["shared"]:
        copy = os.path.join(workdir, config(entry, "INSTSONAME"))
        shutil.copy(library_file(entry), copy)
        strip(copy)
        target = start([entry["exe"], KNOWN], env={**os.environ, "LD_LIBRARY_PATH": workdir})
        target.expect("ready")
        if copy not in maps(target.pid):  # its rpath goes before: by preloading then
            target = start([entry["exe"], KNOWN], env={**os.environ, "LD_PRELOAD": copy})
            target.expect("ready")
        assert copy in maps(target.pid)
    else:
        target, _ = start_copy(entry, start, workdir, change=strip)
    shows_the_known_function(target.pid)


@pytest.mark.parametrize("name", VERSIONS)
def test_renamed(name, start, workdir):
    """Nothing in the name says Python."""
    entry = find_interpreter(name)
    target, _ = start_copy(entry, start, workdir, name="zebra")
    shows_the_known_function(target.pid)


def mapped_copy(entry, start, workdir):
    """A target whose runtime is mapped from a file of its own: the target and the file."""
    if not entry["shared"]:
        return start_copy(entry, start, workdir)
    copy = os.path.join(workdir, config(entry, "INSTSONAME"))
    shutil.copy(library_file(entry), copy)
    target = start([entry["exe"], KNOWN], env={**os.environ, "LD_PRELOAD": copy})
    target.expect("ready")
    assert copy in maps(target.pid)
    return target, copy


@pytest.mark.parametrize("name", VERSIONS)
def test_deleted(name, start, workdir):
    target, copy = mapped_copy(find_interpreter(name), start, workdir)
    os.unlink(copy)
    assert copy + " (deleted)" in maps(target.pid)
    shows_the_known_function(target.pid)


@pytest.mark.parametrize("name", VERSIONS)
def test_replaced_on_disk(name, start, workdir):
    """By something else of the same name: a library of another version, or no ELF file."""
    target, copy = mapped_copy(find_interpreter(name), start, workdir)
    for replacement in "/bin/true", KNOWN:
        shutil.copy(replacement, copy + ".new")
        os.rename(copy + ".new", copy)
        shows_the_known_function(target.pid)


# ---- where it runs ----

@pytest.mark.parametrize("name", VERSIONS)
def test_other_mount_namespace(name, start, workdir):
    """Its file lies under a path that here is another file, or none."""
    entry = find_interpreter(name)
    hidden = os.path.join(workdir, "mounted")
    os.mkdir(hidden)
    source = os.path.join(workdir, "source")
    os.mkdir(source)
    name = "python-there"
    shutil.copy((entry["root"] or "") + entry["exe"], os.path.join(source, name))
    with open(os.path.join(hidden, name), "w") as f:
        f.write("another file\n")
    script = f"mount --bind {source} {hidden} && exec \"$@\""
    # In a root "/" is no mount point, and what is mounted there is private already.
    propagation = "unchanged" if entry["root"] else "private"
    argv = ["unshare", "-m", "--propagation", propagation, "sh", "-c", script, "sh",
            os.path.join(hidden, name), KNOWN]
    target = start(in_root(entry, argv), env=python_environment(entry))
    target.expect("ready")
    assert exe(target.pid).endswith(os.path.join(hidden, name))
    assert os.readlink(f"/proc/{target.pid}/ns/mnt") != os.readlink("/proc/self/ns/mnt")
    shows_the_known_function(target.pid)


@pytest.mark.parametrize("name", VERSIONS)
def test_other_pid_namespace(name, start):
    entry = find_interpreter(name)
    outside = start(["unshare", "-pf", "--mount-proc", *pythons.command(entry, [KNOWN])])
    outside.expect("ready")
    (pid,) = wait_for(lambda: children(outside.pid), "the child")
    try:
        assert os.readlink(f"/proc/{pid}/ns/pid") != os.readlink("/proc/self/ns/pid")
        shows_the_known_function(pid)
        with open(f"/proc/{pid}/status") as f:
            inside = re.search(r"NSpid:.*\t(\d+)\n", f.read())[1]
        assert inside == "1"
        # pyprof(5): thread ids are those that the process sees, the pid is ours.
        dump = json.loads(pyprof("dump", "--json", pid, check=True).out)
        assert dump["pid"] == pid
        assert [t["tid"] for t in dump["threads"]] == [1]
    finally:
        os.kill(pid, 9)


# ---- in another program ----

@pytest.mark.parametrize("name", WITH_LIBRARY)
def test_embedded(name, start, workdir):
    target = start_embedder(find_interpreter(name), start, workdir, name="service")
    shows_the_known_function(target.pid)


@pytest.mark.parametrize("name", WITH_LIBRARY)
def test_two_runtimes_mapped_and_one_of_them_alive(name, start, workdir):
    """A second libpython, of the same version from another file, that nobody initialises."""
    entry = find_interpreter(name)
    second = os.path.join(workdir, "a-second-" + config(entry, "INSTSONAME"))
    shutil.copy((entry["root"] or "") + library_file(entry), second)
    target = start_embedder(entry, start, workdir, before=["--second", second])
    assert second in maps(target.pid)
    wait_for(lambda: state(target.pid) == "S", "it to sleep")
    shows_the_known_function(target.pid)


@pytest.mark.parametrize("name", VERSIONS)
def test_library_of_another_runtime_loaded_by_ctypes(name, start, workdir):
    """The executable's own runtime is the one that runs."""
    entry = find_interpreter(name)
    # One whose C library is no newer than the target's.
    other = find_interpreter(name if entry["root"] else "3.12")
    library = os.path.join(workdir, "another.so")
    shutil.copy((other["root"] or "") + library_file(other), library)
    script = os.path.join(workdir, "script.py")
    with open(KNOWN) as f:
        source = f.read()
    with open(script, "w") as f:
        f.write(f"import ctypes\nctypes.CDLL({library!r}, mode=0)\n" + source)
    target = start(pythons.command(entry, [script]))
    target.expect("ready")
    assert library in maps(target.pid)
    shows_the_known_function(target.pid)
