"""What a target knows of itself: frames, threads, and whether they stand still."""
import dis
import itertools
import sys
import threading
import time


def describe(frame):
    """The frames from a leaf to the base, as `pyprof dump --json` shows them."""
    frames = []
    while frame is not None:
        code = frame.f_code
        line, end_line, column, end_column = frame.f_lineno, frame.f_lineno, None, None
        if hasattr(code, "co_positions"):
            line, end_line, column, end_column = next(
                itertools.islice(code.co_positions(), frame.f_lasti // 2, None))
        frames.append({
            "function": getattr(code, "co_qualname", code.co_name),
            "file": code.co_filename,
            "first_line": code.co_firstlineno,
            "line": line,
            "end_line": end_line,
            "column": column,
            "end_column": end_column,
        })
        frame = frame.f_back
    return frames


def instruction(frame, cache={}):
    """The names of what a frame stands at: as it is specialised now, and the plain one."""
    code = frame.f_code
    if code not in cache:
        plain = {i.offset: i.opname for i in dis.get_instructions(code)}
        now = plain
        if sys.version_info >= (3, 11):
            now = {i.offset: i.opname for i in dis.get_instructions(code, adaptive=True)}
        cache[code] = plain, now
    plain, now = cache[code]
    # Of a caller the last unit of the instruction may be told.
    at = max(offset for offset in plain if offset <= frame.f_lasti)
    return [now[at], plain[at]]


def instructions(frame):
    """From a leaf to the base."""
    found = []
    while frame is not None:
        found.append(instruction(frame))
        frame = frame.f_back
    return found


def threads(frames, native_ids):
    """Threads of this interpreter, frames by ident; native_ids: of those that threading does not
    know, whose name is None."""
    names = {t.ident: (t.native_id, t.name) for t in threading.enumerate()}
    result = []
    for ident, frame in frames.items():
        tid, name = names.get(ident, (native_ids.get(ident), None))
        result.append({"tid": tid, "ident": str(ident), "name": name,
                       "main": ident == threading.main_thread().ident,
                       "frames": describe(frame)})
    return result


def switches(tid):
    """How often a thread has gone to sleep, and whether it sleeps now."""
    with open("/proc/self/task/%d/status" % tid) as f:
        fields = dict(line.split(":", 1) for line in f if ":" in line)
    return fields["State"].split()[0], fields["voluntary_ctxt_switches"]


def wait_until_still(tids):
    """Returns when these threads sleep, and slept all the time in several looks."""
    looks, before = 0, None
    while looks < 4:
        now = [switches(tid) for tid in tids]
        still = now == before and all(letter == "S" for letter, _ in now)
        looks = looks + 1 if still else 0
        before = now
        time.sleep(0.01)
