"""What cannot be done is said in one line, with the status that the manual gives."""
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest

import support
from conftest import find_interpreter
from support import PYPROF, PYPROFD, TARGETS, pyprof, state, wait_for, wait_for_socket

NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all",
          "--bounding-set=-all", "--no-new-privs"]
FAILED, USAGE, NO_PROCESS, NOT_PERMITTED, NOT_PYTHON, ENDED = 1, 2, 3, 4, 5, 6
READERS = ["attach", "dump"]


def readable(workdir):
    """known.py where everyone may read it: the checkout may lie in a directory of root's."""
    return shutil.copy(f"{TARGETS}/known.py", workdir)


def refuses(result, status, *words):
    """One line, and this status."""
    assert result.status == status, result
    assert len(result.messages) == 1, result
    assert result.messages[0].startswith("pyprof: ")
    for word in words:
        assert str(word) in result.messages[0], result
    assert result.out == ""


@pytest.fixture
def target(start, python3):
    found = start(python3, "known.py")
    found.expect("ready")
    return found


@pytest.fixture
def public(workdir):
    """The programs where every user may run them."""
    for name in (PYPROF, PYPROFD):
        shutil.copy(name, workdir)
    return os.path.join(workdir, "pyprof")


def no_process():
    with open("/proc/sys/kernel/pid_max") as f:
        return int(f.read())  # one more than the largest


# ---- processes ----

@pytest.mark.parametrize("command", READERS)
def test_no_such_process(command):
    pid = no_process()
    refuses(pyprof(command, pid), NO_PROCESS, pid)


@pytest.mark.parametrize("command", READERS)
def test_process_that_is_no_python(command, start):
    sleeper = start(["sleep", "60"])
    wait_for(lambda: state(sleeper.pid) == "S", "sleep")
    refuses(pyprof(command, sleeper.pid), NOT_PYTHON, sleeper.pid, "not a Python")


@pytest.mark.parametrize("command", READERS)
def test_shell_whose_child_is_a_python_is_told_with_the_child(command, start):
    shell = start(["sh", "-c", f"{sys.executable} {TARGETS}/known.py; true"])
    shell.expect("ready")
    (child,) = support.children(shell.pid)
    try:
        refuses(pyprof(command, shell.pid), NOT_PYTHON, shell.pid, f"pyprof {command} {child}")
    finally:
        support.kill_all([child])


@pytest.mark.parametrize("version, called", [("2.7", "2.7"), ("3.6", "3.6"), ("3.7", "3.7")])
@pytest.mark.parametrize("command", READERS)
def test_version_that_is_not_read_is_named(command, version, called, start, workdir):
    script = os.path.join(workdir, "old.py")
    with open(script, "w") as f:
        f.write("import sys, time\nprint('ready')\nsys.stdout.flush()\ntime.sleep(60)\n")
    old = start(support.pythons.command(find_interpreter(version), [script]))
    old.expect("ready")
    refuses(pyprof(command, old.pid), NOT_PYTHON, old.pid, called)


@pytest.mark.parametrize("command", READERS)
def test_zombie_has_ended(command, start):
    child = start(["true"])
    wait_for(lambda: state(child.pid) == "Z", "a zombie")
    refuses(pyprof(command, child.pid), ENDED, child.pid)


def test_target_that_is_gone_at_once_ends_with_one_line(python3):
    """Whenever it goes: not there, ended before anything was seen, or shown."""
    seen = set()
    for n in range(40):
        code = "pass" if n % 2 else f"import time; time.sleep({n / 2000})"
        child = subprocess.Popen([sys.executable, "-S", "-E", "-c", code])
        # From the moment of the exec on, a little later each time.
        time.sleep(n * 0.0005)
        result = pyprof("attach", child.pid)
        child.wait()
        assert result.status in (0, NO_PROCESS, NOT_PYTHON, ENDED), result
        if result.status:
            assert len(result.messages) == 1, result
            assert str(child.pid) in result.messages[0]
        seen.add(result.status)
    assert seen & {NO_PROCESS, ENDED}, seen


def test_run_of_a_script_that_ends_at_once_has_its_status(workdir):
    for status in (0, 9):
        result = pyprof("run", "--", "/bin/sh", "-c", f"exit {status}", cwd=workdir)
        assert result.status == (status or 125), result
        assert len(result.messages) == 1, result


@pytest.mark.parametrize("command", READERS + ["run"])
def test_command_that_is_not_there_or_not_a_number(command):
    result = pyprof(command, "no-such-script.py")
    refuses(result, 125 if command == "run" else USAGE, "no-such-script.py")


def test_run_of_a_program_that_is_not_there(workdir):
    refuses(pyprof("run", "--", "no-such-program", cwd=workdir), 125, "no-such-program")


def test_dump_without_a_thread_of_the_mode_says_so(start, python3):
    """As text and as JSON, which is whole all the same: the status is for scripts."""
    sleeper = start(python3, "known.py")
    sleeper.expect("ready")
    wait_for(lambda: state(sleeper.pid) == "S", "its sleep")
    for options in ["--mode", "cpu"], ["-a", "--thread", "nobody"], ["--function", "no.such"]:
        text = pyprof("dump", *options, sleeper.pid)
        refuses(text, ENDED, sleeper.pid, "no thread that is of what was asked for")
        result = pyprof("dump", "--json", *options, sleeper.pid)
        assert result.status == ENDED and result.messages == text.messages, result
        shown = json.loads(result.out)
        assert shown["threads"] == [] and shown["pid"] == sleeper.pid, shown
    assert pyprof("dump", "--json", sleeper.pid, check=True).err == ""


@pytest.mark.parametrize("name, bytes_, words", [
    ("empty", b"", "is empty"), ("text", b"hello\n" * 9, "is not a recording"),
    ("start", b"PYPR", "is not a recording"), ("folder", None, "Is a directory"),
    ("none", None, "No such file")])
def test_what_is_no_recording_is_named(name, bytes_, words, workdir):
    if name == "folder":
        os.mkdir(os.path.join(workdir, name))
    elif bytes_ is not None:
        with open(os.path.join(workdir, name), "wb") as f:
            f.write(bytes_)
    for option in [], ["--heatmap"], ["--diff-flamegraph", name]:
        refuses(pyprof("replay", *option, name, cwd=workdir), FAILED, name, words)
    assert set(os.listdir(workdir)) <= {name}


def test_a_place_that_cannot_be_written_is_named(workdir):
    path = os.path.join(workdir, "r.pyprof")
    with open(os.path.join(workdir, "x.py"), "w") as f:
        f.write("import time; time.sleep(0.1)\n")
    pyprof("run", "--binary", "-o", path, "x.py", cwd=workdir, check=True)
    for option in "--collapsed", "--heatmap":
        for place, why in (("no/where", "No such file"), ("x.py/y", "Not a directory")):
            refuses(pyprof("replay", option, "-o", place, path, cwd=workdir), FAILED, place, why)
    refuses(pyprof("replay", "--collapsed", "-o", "/dev/full", path), FAILED, "No space left")
    result = pyprof("replay", "--collapsed", "-o", workdir + "/", path, check=True)
    assert f"{workdir}/collapsed_" in result.err and "//" not in result.err
    assert len(os.listdir(workdir)) == 3


# ---- a stopped target ----

def test_stopped_target_is_dumped_marked_and_left_stopped(interpreter, start):
    target = start(interpreter, "known.py")
    target.expect("ready")
    wait_for(lambda: state(target.pid) == "S", "its sleep")
    target.process.send_signal(signal.SIGSTOP)
    wait_for(lambda: state(target.pid) == "T", "the stop")
    for options in [], ["-a"], ["--blocking"]:
        result = pyprof("dump", *options, target.pid, check=True)
        assert "process stopped" in result.out and "known_leaf" in result.out, result.out
        assert state(target.pid) == "T"
    (thread,) = json.loads(pyprof("dump", "--json", target.pid, check=True).out)["threads"]
    assert "process-stopped" in thread["state"]
    pyprof("attach", "-d", "0.3", "--collapsed", "-o", "-", target.pid, check=True)
    assert state(target.pid) == "T"
    target.process.send_signal(signal.SIGCONT)
    wait_for(lambda: state(target.pid) == "S", "it to go on")
    assert "process stopped" not in pyprof("dump", target.pid, check=True).out


# ---- outputs ----

@pytest.mark.parametrize("output", ["--pstats", "--collapsed", "--binary"])
def test_output_that_cannot_be_made(output, target):
    refuses(pyprof("attach", "-d", "0.2", output, "-o", "/no/such/directory/x", target.pid),
            FAILED, "/no/such/directory/x")


@pytest.mark.parametrize("output", ["--pstats", "--collapsed", "--binary"])
def test_output_to_a_full_device(output, target):
    result = pyprof("attach", "-d", "0.2", output, "-o", "/dev/full", target.pid)
    assert result.status == FAILED, result
    assert "No space left on device" in result.err and "/dev/full" in result.err
    assert os.path.exists("/dev/full")


@pytest.mark.parametrize("args", [["dump"], ["dump", "--json"], ["attach", "-d", "0.2"], ["ps"]])
def test_standard_output_that_is_full(args, target):
    with open("/dev/full", "w") as full:
        result = pyprof(*args, *([] if args == ["ps"] else [target.pid]), stdout=full)
    assert result.status == FAILED, result
    assert "No space left on device" in result.err


def test_full_device_does_not_take_the_target_down_with_run(workdir):
    result = pyprof("run", "--binary", "-o", "/dev/full", "--", sys.executable, "-c",
                    "import time; time.sleep(0.5); print('whole')", cwd=workdir)
    assert result.out == "whole\n"
    assert result.status == 125 and "No space left on device" in result.err, result


# ---- usage ----

@pytest.mark.parametrize("args", [["--no-such"], ["no-such"], []])
def test_unknown_command_is_a_usage_error(args):
    refuses(pyprof(*args), USAGE, *args, "pyprof -h")


@pytest.mark.parametrize("command", ["run", "attach", "dump", "replay", "ps"])
def test_unknown_option_is_a_usage_error(command):
    for option in "--no-such-option", "-Q":
        refuses(pyprof(command, option), USAGE, option, f"pyprof {command} -h")


@pytest.mark.parametrize("options", [
    ["-r", "0"], ["-r", "-5"], ["-r", "fast"], ["-r", "nan"], ["-d", "-1"], ["-d", "x"],
    ["-d", "0"], ["--stop-budget", "101%"], ["--stop-budget", "-1"], ["--mode", "no-such"],
    ["--sort", "no-such"], ["-l", "0"], ["--compression", "rar"], ["--pstats", "--collapsed"],
    ["-r"], ["--json"], ["-o", ""], ["--thread", ""], ["--socket", ""]])
def test_value_that_makes_no_sense_is_a_usage_error(options, target):
    refuses(pyprof("attach", *options, target.pid), USAGE)


@pytest.mark.parametrize("line, status, words", [
    (["attach"], USAGE, "attach [options] PID"),
    (["dump", 1, 2], USAGE, "too many arguments"),
    (["dump", "0"], USAGE, '"0" is no process id'),
    (["ps", "1"], USAGE, "too many arguments"),
    (["attach", "--flamegraph", "--svg", 1], USAGE, "--svg: only one output format"),
    (["attach", "--thread", "", 1], USAGE, '--thread "": a pattern'),
    (["attach", "--s", 1], USAGE, "ambiguous option --s"),
    (["attach", "--all-threads=yes", 1], USAGE, "takes no value"),
    (["dump", "-o", "x", 1], USAGE, "unknown option -o"),
    (["dump", "--async-mode", "all", 1], USAGE, "a mode of --async-aware"),
    (["attach", "--devtools", 1], USAGE, "attach: --devtools is a part of --gecko"),
    (["replay", "--speedscope", "--devtools", "x"], USAGE, "a part of --gecko"),
    (["run", "--binary", "--devtools", "x.py"], USAGE, "a part of --gecko"),
    (["replay", "-d", "5", "x"], USAGE, "unknown option -d"),
    (["replay", "--from", "2", "--to", "1", "x"], USAGE, "--from is not before --to"),
    (["replay", "--pid", "1,,2", "x"], USAGE, "separated by commas"),
    (["replay", "--heatmap", "-o", "-", "x"], USAGE, "-o FOLDER"),
    (["attach", "--heatmap", "-o", "-", 1], USAGE, "-o FOLDER"),
    (["run", "--heatmap", "-o", "-", "x.py"], USAGE, "-o FOLDER"),
    (["replay", "--collapsed", "--sort", "name", "x"], USAGE, "of the table: --pstats"),
    (["replay", "-o", "x.svg", "-l", "3", "x"], USAGE, "of the table: --pstats"),
    (["attach", "--binary", "--no-summary", 1], USAGE, "of the table: --pstats"),
    (["attach", "--compression", "none", "--gecko", 1], USAGE, "of --binary"),
    (["attach", "--no-daemon", "--socket", "x", 1], USAGE, "--no-daemon uses none"),
    (["ps", "--socket", "x", "--no-daemon"], USAGE, "--no-daemon uses none"),
    (["attach", "-r", "1e15", 1], USAGE, "at most 1000mhz"),
    (["attach", "-r", "0", 1], USAGE, "more than one an hour"),
    (["attach", "-r", "5ghz", 1], USAGE, "with hz, khz or mhz"),
    (["attach", "-d", "1e30", 1], USAGE, "at most a century"),
    (["attach", "-d", "0", 1], USAGE, "more than 0"),
    (["run"], USAGE, "SCRIPT [ARG...]"),
    (["run", "-m"], USAGE, "-m MODULE"),
    (["run", "--python", "", "x.py"], USAGE, '--python ""'),
    (["run", "python3", "x.py"], 125, "a command that is no script follows --"),
    (["run", "./python3"], 125, "./python3: No such file"),
    (["run", "--", "true"], 125, "anything to show: it was no Python"),
    (["--mode", "gil", "attach", 1], USAGE, "options follow a command, and --mode is before it"),
], ids=str)
def test_what_people_type_wrong_is_told_in_one_line(line, status, words):
    refuses(pyprof(*line), status, words)


@pytest.mark.parametrize("options, words", [
    (["--no-such"], "unknown option --no-such"), (["-x"], "unknown option -x"),
    (["--socket"], "--socket needs a value"), (["--socket", ""], "--socket is empty"),
    (["x"], "nothing to give but options")])
def test_what_people_type_wrong_for_the_daemon(options, words):
    result = pyprof(*options, program=PYPROFD)
    assert result.status == USAGE and len(result.messages) == 1, result
    assert words in result.err and result.err.endswith("; see: pyprofd -h\n")


# ---- recordings ----

@pytest.mark.parametrize("content", [b"", b"no recording\n", b"\0" * 100, b"\x7fELF" * 1000])
def test_file_that_is_no_recording(content, workdir):
    path = os.path.join(workdir, "file")
    with open(path, "wb") as f:
        f.write(content)
    refuses(pyprof("replay", path), FAILED, path)
    with open(path, "rb") as f:
        refuses(pyprof("replay", "-", stdin=f), FAILED)


def test_recording_that_is_not_there():
    refuses(pyprof("replay", "/no/such/file"), FAILED, "/no/such/file")
    refuses(pyprof("replay", "/"), FAILED, "/")


# ---- permission ----

@pytest.mark.parametrize("command", READERS)
def test_process_of_another_user_is_refused_with_the_reason(command, target, public):
    result = pyprof(*NOBODY[1:], public, command, "--no-daemon", target.pid,
                    program=NOBODY[0])
    refuses(result, NOT_PERMITTED, target.pid, "another user", "sudo pyprof")


def test_user_reads_processes_of_his_own(start, public, workdir):
    own = start([*NOBODY, sys.executable, readable(workdir)], cwd=workdir)
    own.expect("ready")
    result = pyprof(*NOBODY[1:], public, "dump", "--no-daemon", own.pid, program=NOBODY[0])
    assert result.status == 0 and "known_leaf" in result.out, result


def test_undumpable_process_is_refused_with_the_reason(start, public, workdir):
    script = os.path.join(workdir, "s.py")
    with open(script, "w") as f:
        f.write("import ctypes, time\nctypes.CDLL(None).prctl(4, 0, 0, 0, 0)\n"
                "print('ready', flush=True)\ntime.sleep(60)\n")
    hidden = start([*NOBODY, sys.executable, script], cwd=workdir)
    hidden.expect("ready")
    result = pyprof(*NOBODY[1:], public, "dump", "--no-daemon", hidden.pid, program=NOBODY[0])
    refuses(result, NOT_PERMITTED, hidden.pid, "undumpable")


def test_ps_lists_the_readable_and_says_why_others_are_not(start, public, target, workdir):
    own = start([*NOBODY, sys.executable, readable(workdir)], cwd=workdir)
    own.expect("ready")
    result = pyprof(*NOBODY[1:], public, "ps", "--no-daemon", program=NOBODY[0])
    assert result.status == 0, result
    rows = {words[0]: words for words in map(str.split, result.out.splitlines())}
    version = "%d.%d.%d" % sys.version_info[:3]
    assert rows[str(own.pid)][1:4] == [version, "1", "yes"]
    assert rows[str(target.pid)][3] == "no"
    assert f"process {target.pid} cannot be read" in result.out


def test_ps_lists_every_version(interpreter, start):
    target = start(interpreter, "known.py", "an-argument")
    target.expect("ready")
    for line in pyprof("ps", check=True).out.splitlines():
        if line.split()[0] == str(target.pid):
            break
    else:
        raise AssertionError("not listed")
    version = interpreter["version"] + ("t" if interpreter["free_threaded"] else "")
    assert line.split()[1:4] == [version, "1", "yes"]
    assert line.endswith("known.py an-argument")


# ---- the daemon ----

@pytest.fixture
def daemon(workdir):
    path = os.path.join(workdir, "socket")
    process = subprocess.Popen([PYPROFD, "--socket", path], stderr=subprocess.PIPE)
    try:
        wait_for_socket(path, process)
        assert process.poll() is None, process.stderr.read()
        yield path
        assert process.poll() is None, "the daemon ended"
    finally:
        process.terminate()
        process.wait(10)
        process.stderr.close()


def as_nobody(public, *args):
    return pyprof(*NOBODY[1:], public, *args, program=NOBODY[0])


def test_daemon_shows_a_user_his_own_processes(daemon, start, public, workdir):
    own = start([*NOBODY, sys.executable, readable(workdir)], cwd=workdir)
    own.expect("ready")
    result = as_nobody(public, "attach", "--socket", daemon, "-d", "0.5", "--collapsed", "-o",
                       "-", own.pid)
    assert result.status == 0 and ":known_leaf:" in result.out, result
    assert "known_leaf" in as_nobody(public, "dump", "--socket", daemon, own.pid).out


@pytest.mark.parametrize("command", READERS)
def test_daemon_refuses_a_user_the_processes_of_others(command, daemon, target, public):
    result = as_nobody(public, command, "--socket", daemon, target.pid)
    refuses(result, NOT_PERMITTED, target.pid, "another user")


def test_daemon_shows_root_all(daemon, start, workdir, target):
    other = start([*NOBODY, sys.executable, readable(workdir)], cwd=workdir)
    other.expect("ready")
    for pid in other.pid, target.pid:
        assert "known_leaf" in pyprof("dump", "--socket", daemon, pid, check=True).out


def test_daemon_lets_a_user_read_what_only_it_may(daemon, start, public, workdir):
    """A process that has a capability more is refused, as the kernel would."""
    argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=+kill",
            "--ambient-caps=+kill", sys.executable, readable(workdir)]
    capable = start(argv, cwd=workdir)
    capable.expect("ready")
    refuses(as_nobody(public, "dump", "--socket", daemon, capable.pid), NOT_PERMITTED,
            "capabilities")


def test_daemon_tells_the_same_of_what_is_no_python(daemon, start):
    refuses(pyprof("dump", "--socket", daemon, no_process()), NO_PROCESS)
    sleeper = start(["sleep", "60"])
    refuses(pyprof("dump", "--socket", daemon, sleeper.pid), NOT_PYTHON, "not a Python")


def test_daemon_that_is_not_there(workdir, target):
    for line in ["dump", target.pid], ["attach", target.pid], ["ps"]:
        refuses(pyprof(line[0], "--socket", os.path.join(workdir, "none"), *line[1:]), FAILED,
                os.path.join(workdir, "none"), "--no-daemon")


def test_daemon_survives_clients_that_send_nonsense(daemon, target):
    import socket
    for text in b"", b"x" * 64, b"GET / HTTP/1.0\r\n\r\n" * 20, bytes(4096):
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(daemon)
            s.sendall(text)
    assert "known_leaf" in pyprof("dump", "--socket", daemon, target.pid, check=True).out


# ---- help and manual ----

def manual_options(page, command=None):
    """The options of a manual page; of one command: of the sections that name it."""
    with open(os.path.join(os.path.dirname(support.TESTS), "man", page)) as f:
        sections = re.split(r"^\.S[sh] (.*)\n", f.read(), flags=re.MULTILINE)[1:]
    found, left_out = set(), set()
    for heading, text in zip(sections[::2], sections[1::2]):
        if command and not re.search(rf"\b{command}\b|^All", heading):
            continue
        for item in re.split(r"^\.It ", text, flags=re.MULTILINE)[1:]:
            line, _, body = item.partition("\n")
            names = {"-" + name for name in re.findall(r"Fl (-?[A-Za-z][\w-]*)", line)}
            whose = re.match(r"Of\n\.Fl (\S+)", body)
            if f"Not for\n.Cm {command} " in body or whose and "-" + whose[1] in left_out:
                left_out |= names
            else:
                found |= names
    return found


def help_options(text):
    return set(re.findall(r"(?:^  |, )(--?[A-Za-z][\w-]*)", text.partition("examples:")[0],
                          re.MULTILINE))


@pytest.mark.parametrize("command", ["run", "attach", "dump", "replay", "ps"])
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_of_a_command_names_the_options_that_the_manual_does(command, option):
    result = pyprof(command, option)
    assert result.status == 0 and result.err == "", result
    assert help_options(result.out) == manual_options("pyprof.1", command) - {"--version"}


def test_help_of_the_programs():
    result = pyprof("-h", check=True)
    for command in "run", "attach", "dump", "replay", "ps":
        assert f"\n  {command} " in result.out
    result = pyprof("-h", program=PYPROFD, check=True)
    assert help_options(result.out) == manual_options("pyprofd.8")


def test_version_is_one_line():
    for program in PYPROF, PYPROFD:
        result = pyprof("--version", program=program, check=True)
        assert re.fullmatch(r"pyprofd? \d+\.\d+\.\d+\n", result.out), result.out


def test_every_status_is_in_the_manual():
    with open(os.path.join(os.path.dirname(support.TESTS), "man", "pyprof.1")) as f:
        text = f.read().partition(".Sh EXIT STATUS")[2].partition("\n.Sh")[0]
    assert set(re.findall(r"^\.It (?:Li )?(\d+)", text, re.MULTILINE)) == {
        "0", "1", "2", "3", "4", "5", "6", "125"}
