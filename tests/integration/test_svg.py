"""The flame graph as a picture: boxes are what stacks count, and the names in it do nothing."""
import os
import re
import textwrap
import xml.etree.ElementTree as ET

import pytest

from support import collapsed, pyprof

PROGRAM = textwrap.dedent("""\
    import time
    def deep(n, seconds):
        if n:
            return deep(n - 1, seconds)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass
    def often(seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            len("x")
    def both():
        deep(3, .3)
        often(.3)
    both()
    deep(300, .2)
""")
SVG = "{http://www.w3.org/2000/svg}"
HOSTILE = ["</title><script>alert(1)</script>", "a & b < c > d \" e '", "\u202eevil\u2066", "\uffff\ufffe\x01",
           "]]>", "n" * 10000, "\u65e5\u672c\u8a9e" * 20, "&amp;"]


def read(path):
    """The boxes as {(name, x, level from the base): (samples, own, width)}, and all that is written."""
    root = ET.parse(path).getroot()
    assert root.tag == SVG + "svg"
    assert {e.tag for e in root.iter()} <= {SVG + t for t in ("svg", "g", "rect", "text", "title")}
    for e in root.iter():
        assert not [a for a in e.attrib if a.startswith("on") or "href" in a], e.attrib
    boxes = []
    for g in root.iter(SVG + "g"):
        title, rect = g.find(SVG + "title"), g.find(SVG + "rect")
        if title is None:
            continue
        name, _, counts = title.text.rpartition("\n")
        n = re.fullmatch(r"(\d+) samples, ([\d.]+) %, ([\d.]+) s; (\d+) of them .*", counts)
        boxes.append({"name": re.sub(r" \(.*:\d+\)$", "", name), "samples": int(n[1]), "own": int(n[4]),
                      "x": float(rect.get("x")), "y": float(rect.get("y")),
                      "width": float(rect.get("width"))})
    base = max(b["y"] for b in boxes)
    for b in boxes:
        b["level"] = round((base - b["y"]) / 18)
    return boxes, [t.text for t in root.iter(SVG + "text")]


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    directory = tmp_path_factory.mktemp("svg")
    script, recording, out = directory / "p.py", directory / "in.pyprof", directory / "out.svg"
    script.write_text(PROGRAM)
    pyprof("run", "--binary", "-r", "1khz", "-o", recording, script, check=True)
    pyprof("replay", "-o", out, recording, check=True)      # the extension picks it
    stacks = collapsed(pyprof("replay", "--collapsed", "-o", "-", recording, check=True).out)
    return read(out), stacks


def test_boxes_count_what_stacks_say(picture):
    (boxes, _), stacks = picture
    everything = boxes[0]
    assert everything["name"] == "all" and everything["level"] == 0
    assert everything["samples"] == sum(n for *_, n in stacks) + everything["own"]
    for name in ("deep", "often", "both", "<module>"):
        for level in (1, 2, 3, 4, 5):
            told = sum(n for _, f, n in stacks if len(f) >= level and f[level - 1][1] == name)
            drawn = sum(b["samples"] for b in boxes if b["name"] == name and b["level"] == level)
            assert abs(told - drawn) <= 2, (name, level, told, drawn)
    often = next(b for b in boxes if b["name"] == "often")
    assert often["samples"] > 100 and often["own"] == often["samples"] and often["level"] == 3


def test_boxes_lie_on_their_callers_and_apart(picture):
    (boxes, _), _ = picture
    unit = boxes[0]["width"] / boxes[0]["samples"]
    by_level = {}
    for b in boxes:
        assert abs(b["width"] - b["samples"] * unit) < 1
        by_level.setdefault(b["level"], []).append(b)
    for level, row in by_level.items():
        row.sort(key=lambda b: b["x"])
        for a, b in zip(row, row[1:]):
            assert a["x"] + a["width"] <= b["x"] + 0.05
        for b in row if level else []:
            assert any(p["x"] - 0.05 <= b["x"] and b["x"] + b["width"] <= p["x"] + p["width"] + 0.7
                       for p in by_level[level - 1]), b


def test_what_is_left_out_is_said(picture):
    (boxes, texts), stacks = picture
    assert max(b["level"] for b in boxes) == 249
    assert re.search(r"\d+ above level 249: left out", texts[-1])
    # A label has room, or there is none; the others are the title and what is said below.
    assert len(texts) <= len(boxes) + 10


def test_hostile_names(workdir):
    script, out = os.path.join(workdir, "p.py"), os.path.join(workdir, "out.svg")
    with open(script, "w") as f:
        f.write(textwrap.dedent(f"""\
            import time
            def f():
                time.sleep(.1)
            for name in {HOSTILE!r}:
                f.__code__ = f.__code__.replace(co_name=name, co_filename=name, **(
                    {{"co_qualname": name}} if hasattr(f.__code__, "co_qualname") else {{}}))
                f()
        """))
    pyprof("run", "--svg", "-o", out, script, check=True)
    boxes, texts = read(out)
    names = [b["name"] for b in boxes]
    assert "a & b < c > d \" e '" in "".join(names) and "</title><script>" in "".join(names)
    with open(out, encoding="utf-8") as f:
        written = f.read()
    assert "<script" not in written and "\\u202eevil\\u2066" in written and "\\uffff\\ufffe\\x01" in written
    assert "\u202e" not in written and "n" * 500 not in written
    assert not [t for t in texts if len(t) > 200]
