"""The heatmap: what its pages count, what they do with hostile input, and when a folder is replaced."""
import html
import os
import re
import shutil
import stat
import subprocess
import textwrap
import time
import urllib.parse
from html.parser import HTMLParser

import pytest

import support
from conftest import find_interpreter
from support import collapsed, pyprof, pythons, version_of

PROGRAM = textwrap.dedent("""\
    import time
    def again(n):
        return 1 if n == 0 else again(n - 1) + again(n - 1)
    def busy(seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            again(6); sum(i * i for i in range(200))
    busy(SECONDS)
""")
OWN = re.compile(r"index\.html|heatmap\.css|heatmap\.js|[1-9][0-9]*\.html")
# What reorders or hides text, and controls but newline and tab.
UNFIT = re.compile("[\0-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u202a-\u202e\u2066-\u2069]")


class Page(HTMLParser):
    """A page as a browser takes it apart."""

    def __init__(self, path):
        super().__init__()
        with open(path, encoding="utf-8") as f:
            self.source = f.read()
        self.tags, self.attributes, self.links, self.scripts = set(), set(), [], []
        self.rows = {}      # line: {"vs": samples, "vt": samples, "code": text, "marks": [...]}
        self.row, self.in_code, self.in_panel, self.title, self.text = None, 0, 0, "", []
        self.in_title, self.marks = False, []
        self.feed(self.source)
        self.close()

    def handle_starttag(self, tag, attributes):
        a = dict(attributes)
        self.tags.add(tag)
        self.attributes.update(a)
        if tag == "script":
            self.scripts.append(a.get("src"))
        if tag == "a" and "href" in a:
            self.links.append(a["href"])
        classes = (a.get("class") or "").split()
        if "l" in classes and "id" in a:
            self.row = self.rows[int(a["id"][1:])] = {"vs": 0, "vt": 0, "code": "", "marks": []}
            self.in_panel = 0
        elif tag == "div" and classes == ["p"]:
            self.in_panel = 1
        elif self.row and not self.in_panel:
            for name in ("vs", "vt"):
                if name in classes:
                    self.row[name] = int(a.get("data-n", 0))
            self.in_code += tag == "code"
            if tag == "mark":
                self.marks.append("")
        self.in_title = tag == "title"

    def handle_endtag(self, tag):
        if self.in_code and tag == "mark":
            self.row["marks"].append(self.marks.pop())
        if self.in_code and tag == "code":
            self.in_code -= 1

    def handle_data(self, data):
        self.text.append(data)
        if self.in_title:
            self.title += data
        if self.in_code:
            self.row["code"] += data
            self.marks = [text + data for text in self.marks]


class Pages(dict):
    """All pages of a folder by the name of their file, the index under "index"; taken apart when
    they are asked for."""

    def __init__(self, folder):
        super().__init__()
        for name in os.listdir(folder):
            assert OWN.fullmatch(name), name
            if not name.endswith(".html"):
                continue
            path = os.path.join(folder, name)
            with open(path, encoding="utf-8") as f:
                title = html.unescape(re.search("<title>(.*?) - heatmap\n?</title>", f.read())[1])
            self["index" if name == "index.html" else title] = path

    def __getitem__(self, key):
        path = super().__getitem__(key)
        page = Page(path)
        page.name = os.path.basename(path)
        return page


read_folder = Pages


def check_page(page, folder):
    """Nothing of a target is markup, nothing leads out of the folder."""
    assert page.scripts == ["heatmap.js"]
    assert not {"iframe", "img", "object", "style", "form", "base"} & page.tags
    assert not [a for a in page.attributes if a.startswith("on") or a == "style"]
    policy = re.search('Content-Security-Policy" content="([^"]*)"', page.source)[1]
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy
    assert not UNFIT.search(page.source)
    for link in page.links:
        url = urllib.parse.urlparse(link)
        assert not url.scheme and not url.netloc and "/" not in url.path
        assert not url.path or os.path.exists(os.path.join(folder, url.path))


def write_program(directory, text=PROGRAM, seconds=0.6, name="program.py"):
    path = os.path.join(directory, name)
    with open(path, "w") as f:
        f.write(text.replace("SECONDS", str(seconds)))
    return path


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A recording and the program that it is of."""
    directory = str(tmp_path_factory.mktemp("heatmap"))
    script = write_program(directory)
    path = os.path.join(directory, "in.pyprof")
    pyprof("run", "--binary", "-r", "2khz", "-o", path, script, check=True)
    return path, script


def heatmap(recording, folder, *options, **more):
    return pyprof("replay", "--heatmap", *options, "-o", folder, recording, **more)


def test_lines_count_what_stacks_say(recorded, workdir):
    path, script = recorded
    folder = os.path.join(workdir, "out")
    heatmap(path, folder, check=True)
    pages = read_folder(folder)
    own, total = {}, {}
    stacks = collapsed(pyprof("replay", "--collapsed", "-o", "-", path, check=True).out)
    for _, frames, count in stacks:
        places = [(file, int(line)) for file, _, line in frames if file == "program.py"]
        if frames[-1][0] == "program.py":
            own[places[-1]] = own.get(places[-1], 0) + count
        for place in set(places):
            total[place] = total.get(place, 0) + count
    rows = pages["program.py"].rows
    assert {n: r["vs"] for n, r in rows.items() if r["vs"]} == {n: c for (_, n), c in own.items()}
    assert {n: r["vt"] for n, r in rows.items() if r["vt"]} == {n: c for (_, n), c in total.items()}
    assert total["program.py", 8] >= total["program.py", 7] >= total["program.py", 3] > 10
    with open(script) as f:
        assert [rows[n + 1]["code"] for n in range(len(rows))] == f.read().splitlines()
    for name in pages:
        check_page(pages[name], folder)
    index = "".join(pages["index"].text)
    bare = int(re.search(r"\(no Python frame\)", index) and
               re.search(r'data-n="(\d+)"[^>]*>[^<]*</td><td>\(no Python', pages["index"].source)[1]
               or 0)
    assert "Project" in index
    assert f"of {sum(c for *_, c in stacks) + bare} samples" in index


def test_calls_are_links(recorded, workdir):
    folder = os.path.join(workdir, "out")
    heatmap(recorded[0], folder, check=True)
    page = read_folder(folder)["program.py"]
    panel = page.source[page.source.index('id="L8"'):]
    called = panel[panel.index("<h3>Calls</h3>"):]
    assert f'<a href="{page.name}#L4"><bdi>busy</bdi>' in called[:300]
    definition = page.source[page.source.index('id="L2"'):page.source.index('id="L3"')]
    assert "Its callers" in definition and f'href="{page.name}#L7"' in definition
    assert f'href="{page.name}#L3"' in definition     # it calls itself


def test_columns_are_marked_where_the_version_has_them(interpreter, workdir):
    script = write_program(workdir, seconds=0.4)
    folder = os.path.join(workdir, "out")
    pyprof("run", "--heatmap", "-r", "2khz", "-o", folder, "--",
           *pythons.command(interpreter, [script]), check=True)
    rows = read_folder(folder)["program.py"].rows
    marks = {mark.strip() for row in rows.values() for mark in row["marks"]}
    if version_of(interpreter["name"]) >= (3, 11):
        assert "again(n - 1)" in marks and "busy(0.4)" in marks
    else:
        assert not marks
    assert rows[8]["vt"] > 100


def test_instructions_are_shown_when_recorded(workdir, start):
    script = write_program(workdir)
    path, folder = os.path.join(workdir, "in.pyprof"), os.path.join(workdir, "out")
    pyprof("run", "--binary", "--opcodes", "-o", path, script, check=True)
    heatmap(path, folder, "--opcodes", check=True)
    page = read_folder(folder)["program.py"]
    assert "Instructions" in page.text and "COMPARE_OP" in page.source
    heatmap(path, folder, check=True)
    assert "Instructions" not in read_folder(folder)["program.py"].text


def test_default_name_and_subprocesses(workdir):
    script = write_program(workdir)
    result = pyprof("run", "--heatmap", script, cwd=workdir, check=True)
    name = re.search(r"heatmap written to (heatmap_\d+)$", result.err, re.M)[1]
    assert "index" in read_folder(os.path.join(workdir, name))
    parent = write_program(workdir, name="parent.py", text=textwrap.dedent(f"""\
        import subprocess, sys
        subprocess.run([sys.executable, {script!r}])
    """))
    pyprof("run", "--heatmap", "--subprocesses", "-o", "all", parent, cwd=workdir, check=True)
    folders = sorted(d for d in os.listdir(workdir) if re.fullmatch(r"all(_\d+)?", d))
    assert len(folders) == 2
    assert "parent.py" in read_folder(os.path.join(workdir, "all"))
    assert "program.py" in read_folder(os.path.join(workdir, folders[1]))


# ---- source that is not what it was, or no good ----

def notes(page):
    return re.findall(r'<p class="note">(.*?)</p>', page.source)


def test_missing_and_changed_source_is_said(workdir):
    script = write_program(workdir)
    path, folder = os.path.join(workdir, "in.pyprof"), os.path.join(workdir, "out")
    pyprof("run", "--binary", "-o", path, script, check=True)

    def page():
        heatmap(path, folder, check=True)
        return read_folder(folder)["program.py"]

    assert notes(page()) == []
    with open(script) as f:
        text = f.read()
    now = time.time() + 5
    os.utime(script, (now, now))
    assert "changed after the recording began" in notes(page())[0]
    with open(script, "w") as f:
        f.write(text.replace("again(6); sum(i * i for i in range(200))", "x"))
    assert "not the source that ran" in notes(page())[0]
    with open(script, "wb") as f:
        f.write(b"\0" + text.encode())
    assert "no text" in notes(page())[0]
    os.unlink(script)
    gone = page()
    assert "No such file" in notes(gone)[0]
    assert gone.rows[8]["vt"] > 100 and gone.rows[8]["code"] == "in <module>"
    assert gone.rows[4]["code"] == "function busy" and 100 not in gone.rows
    os.mkfifo(script)
    assert "no text" in notes(page())[0]
    os.unlink(script)
    with open(script, "w") as f:
        f.truncate(9 << 20)
    assert "larger than is shown" in notes(page())[0]


@pytest.mark.parametrize("encoding,line", [
    ("mac", ""), ("latin-1", "# -*- coding: latin-1 -*-\n"), ("cp1252", "#!x\n# vim: set fileencoding=cp1252 :\n"),
    ("utf-8-sig", ""), ("koi8_r", "# coding=koi8_r\n"), ("utf-8", "# coding: no-such-thing\n"),
])
def test_encodings(encoding, line, workdir):
    word = "\u0441\u043b\u043e\u0432\u043e" if encoding == "koi8_r" else "caf\xe9"
    runs = "no-such" not in line
    script = os.path.join(workdir, "program.py")
    path, folder = os.path.join(workdir, "in.pyprof"), os.path.join(workdir, "out")
    text = line + f"name = '{word}'\n" + PROGRAM.replace("SECONDS", "0.2")
    if encoding == "mac":       # newlines as they once were
        encoding, stored = "utf-8", text.replace("\n", "\r").replace("\r", "\r\n", 2)
    else:
        stored = text
    with open(script, "wb") as f:
        f.write((stored if runs else stored.replace("no-such-thing", "utf-8")).encode(encoding))
    pyprof("run", "--binary", "-o", path, script, check=True)
    with open(script, "wb") as f:
        f.write(stored.encode(encoding))
    heatmap(path, folder, check=True)
    rows = read_folder(folder)["program.py"].rows
    assert rows[text[:text.index("name")].count("\n") + 1]["code"] == f"name = '{word}'"


def test_source_of_another_root(start, workdir):
    """Links mean what they mean to the target, and nothing of ours stands in for what it lacks."""
    entry = find_interpreter("3.15")
    if not entry["root"]:
        pytest.skip("Python 3.15 has no root of its own here")
    name = f"/var/tmp/pyprof-test-{os.getpid()}"
    inside = entry["root"] + name
    os.mkdir(inside)
    os.mkdir(name)
    try:
        for text, file in (("real", inside + "/real.py"), ("ours", name + "/real.py"),
                           ("gone", inside + "/gone.py"), ("ours", name + "/gone.py")):
            with open(file, "w") as f:
                f.write(f"import time  # {text}\nprint('ready', flush=True)\ntime.sleep(60)\n")
        os.symlink(name + "/real.py", inside + "/link.py")
        for script, expected in (("link.py", "import time  # real"), ("gone.py", None)):
            target = start(pythons.command(entry, [f"{name}/{script}"]))
            target.expect("ready")
            if not expected:
                os.unlink(f"{inside}/{script}")
            folder = os.path.join(workdir, script)
            pyprof("attach", "--heatmap", "-d", "0.3", "-o", folder, target.pid, check=True)
            page = read_folder(folder)[script]
            assert page.rows[3]["vs"] > 100
            if expected:
                assert page.rows[1]["code"] == expected and not notes(page)
            else:
                assert "No such file" in notes(page)[0] and "ours" not in page.source
    finally:
        shutil.rmtree(inside)
        shutil.rmtree(name)


HOSTILE = [
    "<img src=x onerror=alert(1)>.py", "\"><script>alert(1)</script>.py", "a' onclick='x.py",
    "../../../../tmp/escape.html", "/srv/\u202egnp.py", "line\nbreak\t\x1b[31m.py", "\u2066x\u200b.py",
    "<string>", "javascript:alert(1)", "&lt;b&gt;&#x3c;", "index.html", "/x/" + "n" * 10000 + ".py",
]


def test_hostile_names_and_text(workdir):
    """Names of files and functions, and the source, are a target's to choose."""
    source = ("x = '<script>alert(1)</script>' # \u202e \u2066 \x0c <!-- ]]> &amp; \"'\n"
              "y = '" + "w" * 20000 + "'\n")
    with open(os.path.join(workdir, "text.py"), "wb") as f:
        f.write(source.encode() + b"# \xff\xfe\xc3\n")
    script = write_program(workdir, textwrap.dedent(f"""\
        import time
        names = {HOSTILE!r}
        def call(name, inner):
            text = "def f():\\n    time.sleep(.02); inner()\\nf()"
            code = compile(text, name, "exec")
            exec(code, {{"time": time, "inner": inner}})
        def last():
            code = compile("1\\n2\\n3\\nimport time; time.sleep(.1)", "text.py", "exec")
            exec(code.replace(co_name="</code><script>alert(2)</script>\u202e" + "n" * 10000))
        run = last
        for name in names:
            run = (lambda name, inner: lambda: call(name, inner))(name, run)
        run()
    """))
    folder = os.path.join(workdir, "out")
    pyprof("run", "--heatmap", "-r", "1khz", "-o", folder, script, cwd=workdir, check=True)
    assert sorted(os.listdir(workdir)) == ["out", "program.py", "text.py"]
    pages = read_folder(folder)
    for name in pages:
        check_page(pages[name], folder)
        assert len(pages[name].source) < 1 << 20
    index = "".join(pages["index"].text)
    assert "<img src=x onerror=alert(1)>.py" in index and "\\u202egnp.py" in index
    assert "line\\nbreak\\t\\x1b[31m.py" in index and "n" * 400 not in index
    rows = pages["text.py"].rows
    assert "'<script>alert(1)</script>' # \\u202e \\u2066 \\x0c <!-- ]]> &amp; \"'" in rows[1]["code"]
    assert rows[2]["code"].startswith("y = 'www") and "the line is longer" in rows[2]["code"]
    assert rows[3]["code"] == "# \ufffd\ufffd\ufffd"
    assert rows[4]["vt"] > 10


# ---- the folder ----

def files(folder):
    return {name: os.stat(os.path.join(folder, name)).st_ino for name in os.listdir(folder)}


def test_what_is_there_is_only_replaced_when_it_is_ours(recorded, workdir):
    path = recorded[0]
    folder = os.path.join(workdir, "out")
    os.mkdir(folder)
    heatmap(path, folder, check=True)           # an empty one is taken
    first = files(folder)
    assert "overwriting" in heatmap(path, folder + "/", check=True).err
    second = files(folder)
    assert first.keys() == second.keys() and first != second

    def refused(word):
        before = files(folder) if os.path.isdir(folder) else None
        result = heatmap(path, folder)
        assert result.status == 1 and len(result.messages) == 1 and word in result.err, result
        assert before == (files(folder) if os.path.isdir(folder) else None)

    with open(os.path.join(folder, "notes.txt"), "w") as f:
        f.write("mine")
    refused("notes.txt")
    os.unlink(os.path.join(folder, "notes.txt"))
    os.unlink(os.path.join(folder, "1.html"))
    os.mkdir(os.path.join(folder, "1.html"))
    refused("1.html")
    os.rmdir(os.path.join(folder, "1.html"))
    with open(os.path.join(folder, "index.html"), "w") as f:
        f.write("<title>My site</title>")
    refused("no heatmap of ours")
    shutil.rmtree(folder)
    with open(folder, "w") as f:
        f.write("a file")
    refused("it is a file")
    with open(folder) as f:
        assert f.read() == "a file"
    assert os.listdir(workdir) == ["out"]
    result = heatmap(path, "-")
    assert result.status == 2 and len(result.messages) == 1 and not result.raw
    assert "-o FOLDER" in result.err
    result = heatmap(path, os.path.join(workdir, "no", "where"))
    assert result.status == 1 and len(result.messages) == 1


def test_nothing_is_left_of_what_failed(recorded, workdir):
    folder = os.path.join(workdir, "out")
    heatmap(recorded[0], folder, check=True)
    before = files(folder)
    result = heatmap(recorded[0], folder, "--function", "nobody")
    assert result.status == 6 and len(result.messages) == 1
    assert files(folder) == before and os.listdir(workdir) == ["out"]
    # A full disk: no file may be larger than this.
    result = subprocess.run(["sh", "-c", 'ulimit -f 8; trap "" XFSZ; exec "$@"', "sh", support.PYPROF,
                             "replay", "--heatmap", "-o", folder, recorded[0]],
                            capture_output=True, text=True)
    assert result.returncode == 1 and "cannot write" in result.stderr
    assert files(folder) == before and os.listdir(workdir) == ["out"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_under_sudo_it_belongs_to_the_user(recorded, workdir):
    folder, link = os.path.join(workdir, "out"), os.path.join(workdir, "link")
    env = {**os.environ, "SUDO_UID": "12345", "SUDO_GID": "23456"}
    for _ in range(2):
        heatmap(recorded[0], folder, env=env, check=True)
        for name in [".", *os.listdir(folder)]:
            st = os.lstat(os.path.join(folder, name))
            assert (st.st_uid, st.st_gid) == (12345, 23456), name
    os.symlink(folder, link)
    before = files(folder)
    result = heatmap(recorded[0], link, env=env)
    assert result.status == 1 and "symbolic link" in result.err
    assert files(folder) == before
    heatmap(recorded[0], link, check=True)      # who is himself may follow his own
    assert os.path.islink(link) and files(folder) != before
    # A link among what looks like ours is not ours.
    os.unlink(os.path.join(folder, "1.html"))
    os.symlink("/etc/passwd", os.path.join(folder, "1.html"))
    assert heatmap(recorded[0], folder, env=env).status == 1
    assert stat.S_ISLNK(os.lstat(os.path.join(folder, "1.html")).st_mode)


# ---- the browser ----

def test_browser(recorded, workdir):
    said = os.path.join(workdir, "said")
    program = os.path.join(workdir, "browser")
    with open(program, "w") as f:
        f.write(f'#!/bin/sh\nid -u >{said}.tmp\nfor a; do echo "$a" >>{said}.tmp; done\n'
                f'mv {said}.tmp {said}\n')
    os.chmod(program, 0o755)
    os.chmod(workdir, 0o777)
    folder = os.path.join(workdir, "a b")

    def run(browser, *options, **env):
        if os.path.exists(said):
            os.unlink(said)
        result = heatmap(recorded[0], folder, "--browser", *options, check=True,
                         env={**os.environ, "PATH": "/nowhere", "BROWSER": browser, **env})
        if not os.path.exists(said):
            return result, None
        with open(said) as f:
            return result, f.read().splitlines()

    url = "file://" + urllib.parse.quote(os.path.realpath(folder)) + "/index.html"
    me = str(os.getuid())
    env = {"PATH": os.environ["PATH"]}
    assert run(program, **env)[1] == [me, url]
    assert run(f"/no/such:{program} --new %s -x &", **env)[1] == [me, "--new", url, "-x"]
    if os.geteuid() == 0:
        assert run(program, SUDO_UID="12345", SUDO_GID="23456", **env)[1] == ["12345", url]
        shutil.rmtree(folder)
    result, told = run("/no/such")
    assert not told and "no browser" in result.messages[-1]
    result = pyprof("replay", "--collapsed", "--browser", "-o", os.path.join(workdir, "x.txt"),
                    recorded[0], check=True, env={**os.environ, "BROWSER": program})
    assert "not for a browser" in result.messages[-1]
