"""A second reader of recordings, written from pyprof(5) alone; standard library only.

usage: pyprof_reader.py FILE      prints its totals as JSON

zstd and XXH3 come through ctypes from libzstd and libxxhash where they are; without the latter
checksums are not checked.
"""
import ctypes
import ctypes.util
import json
import struct
import sys
from collections import Counter

PROLOGUE = bytes.fromhex("89505950524f460a")
CHUNK = bytes.fromhex("c7506b1a")
HEADER = struct.Struct("<4sBBHIIQIIQIIQQ")
STRING, FUNCTION, FRAME, STACK, THREAD, TASK = 2, 3, 4, 5, 6, 11
CPU_TIME_KNOWN, WAIT_KNOWN, WAIT = 0x4000, 0x400, 0x800
NATIVE = 3  # kind of a function


def library(name, soname):
    try:
        return ctypes.CDLL(ctypes.util.find_library(name) or soname)
    except OSError:
        return None


ZSTD = library("zstd", "libzstd.so.1")
XXHASH = library("xxhash", "libxxhash.so.0")
if ZSTD:
    ZSTD.ZSTD_decompress.restype = ctypes.c_size_t
    ZSTD.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t,
                                     ctypes.c_char_p, ctypes.c_size_t]
if XXHASH:
    XXHASH.XXH3_64bits.restype = ctypes.c_uint64
    XXHASH.XXH3_64bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def check(data, want):
    return XXHASH is None or XXHASH.XXH3_64bits(data, len(data)) == want


def unpack_zstd(data, size):
    if ZSTD is None:
        raise RuntimeError("libzstd is missing")
    to = ctypes.create_string_buffer(size)
    if ZSTD.ZSTD_decompress(to, size, data, len(data)) != size:
        raise ValueError("zstd")
    return to.raw


class Cursor:
    def __init__(self, data, at=0, end=None):
        self.data, self.at = data, at
        self.end = len(data) if end is None else end

    def varint(self):
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            if byte < 128:
                return value
            shift += 7
            if shift > 63:
                raise ValueError("varint")

    def zigzag(self):
        v = self.varint()
        return v >> 1 ^ -(v & 1)

    def take(self, n):
        if n > self.end - self.at:
            raise ValueError("short")
        self.at += n
        return self.data[self.at - n:self.at]


def stored(c, storage, n):
    if storage == 0:
        return [c.varint() for _ in range(n)]
    if storage in (1, 2, 3):
        code = "BHI"[storage - 1]
        return list(struct.unpack(f"<{n}{code}", c.take(n * (1, 2, 4)[storage - 1])))
    if storage == 4:
        values = []
        while len(values) < n:
            run = c.varint() + 1
            values += [c.varint()] * run
        if len(values) > n:
            raise ValueError("run")
        return values
    raise ValueError("storage")


def column(data, encoding, n, threads):
    c = Cursor(data)
    transform = encoding >> 4
    first = step = lag = 0
    if transform == 1:
        first, step = c.varint(), c.zigzag()
    elif transform == 2:
        lag = c.varint()
    numbers = stored(c, encoding & 15, n)
    if c.at != c.end:
        raise ValueError("column not used up")
    if transform == 0:
        return numbers
    values = []
    last = {}
    for i, number in enumerate(numbers):
        if transform == 1:
            value = first if i == 0 else (
                values[-1] + step + (number >> 1 ^ -(number & 1))) % 2**64
        elif transform == 2:
            value = number - 1 if number else values[i - lag] if i >= lag else 0
        elif transform == 3:
            value = number - 1 if number else last.get(threads[i], 0)
            last[threads[i]] = value
        else:
            raise ValueError("transform")
        values.append(value)
    return values


def decode(text):
    """Names are what CPython has, and the kernel's, which are any bytes."""
    try:
        return text.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError:
        return text.decode("utf-8", "surrogateescape")


class Stream:
    def __init__(self, number):
        self.number = number
        self.header = self.statistics = self.summary = None
        self.segment = None
        self.next = 0          # number of the next chunk
        self.expected = 0      # samples that should have been read so far
        self.samples = 0
        self.gaps = Counter()
        self.kinds = {kind: {} for kind in (STRING, FUNCTION, FRAME, STACK, THREAD,
                                          TASK)}
        self.stacks = Counter()  # (tid, ((file, function, line), ...)) base first
        self.states = Counter()
        self.tasks = []        # what each look at a task saw, as a dict
        self.tasks_seen = None  # (how many there are, found, more)
        self.task_stacks = Counter()  # of samples: None not known, () of none, (tid, frames)
        self.waits = Counter()   # (tid, frames) to looks; frames as of task_stacks
        self.waits_ns = Counter()
        self.waits_lost = 0
        self.thread_states = {}  # tid to Counter of states
        self.cpu = Counter()     # tid to the sum of its CPU times
        self.ops = {}            # frame to its opcode
        self.leaf_ops = Counter()  # (function, line, opcode)
        self.first = self.last = None
        self.time_sum = 0

    def has(self, kind, number):
        return number == 0 or number in self.kinds[kind]

    def define(self, kind, c):
        table = self.kinds[kind]
        number = c.varint()
        while c.at < c.end:
            needs = []
            if kind == FRAME:
                self.ops.pop(number, None)
            if kind == STRING:
                entry = decode(c.take(c.varint()))
            elif kind == FUNCTION:
                entry = (c.varint(), c.varint(), c.zigzag(), c.varint())
                needs = [(STRING, entry[0]), (STRING, entry[1])]
            elif kind == FRAME:
                entry = tuple([c.varint()] + [c.varint() - 1 for _ in range(4)])
                needs = [(FUNCTION, entry[0])]
            elif kind == STACK:
                entry = (number - c.varint(), c.varint())
                needs = [(STACK, entry[0]), (FRAME, entry[1])]
            elif kind == TASK:
                entry = (c.varint(), c.varint(), c.varint(), c.varint())
            else:
                entry = (c.varint(), c.varint(), c.varint(), c.zigzag(), c.varint(), c.varint())
            # What refers to something in a lost chunk is lost with it.
            if all(self.has(*need) for need in needs):
                table[number] = entry
            number += 1

    def instructions(self, c):
        while c.at < c.end:
            frame, op = c.varint(), c.varint()
            if self.has(FRAME, frame):
                self.ops[frame] = op - 1

    def frames(self, stack):
        out = []
        strings = self.kinds[STRING]
        while stack:
            stack, frame = self.kinds[STACK][stack]
            function, line = self.kinds[FRAME].get(frame, (0, -1))[:2]
            name, file, _, kind = self.kinds[FUNCTION].get(function, (0, 0, 0, 0))
            if kind == NATIVE:
                continue
            out.append((strings.get(file), strings.get(name), line if file else 0))
        return tuple(reversed(out))

    def rows(self, c, unit):
        n, columns = c.varint(), c.varint()
        described = [(c.varint(), c.varint(), c.varint()) for _ in range(columns)]
        values = {number: [0] * n for number in range(2, 9)}
        for number, encoding, size in described:
            data = c.take(size)
            if 1 <= number <= 8:
                values[number] = column(data, encoding, n, values[2])
        kept = [i for i in range(n)
                if self.has(THREAD, values[2][i]) and self.has(STACK, values[3][i])]
        if not kept:
            return
        times = [values[1][i] * unit for i in kept]
        self.samples += len(kept)
        self.time_sum += sum(times)
        self.first = times[0] if self.first is None else self.first
        self.last = max(times)
        self.states.update(values[4][i] for i in kept)
        counted = Counter((values[2][i], values[3][i]) for i in kept)
        for (thread, stack), count in counted.items():
            tid = self.kinds[THREAD][thread][1] if thread else 0
            self.stacks[tid, self.frames(stack)] += count
            frame = self.kinds[STACK][stack][1] if stack else None
            if frame in self.ops:
                _, name, line = self.frames(stack)[-1]
                self.leaf_ops[name, line, self.ops[frame]] += count
        for row in Counter((values[2][i], values[3][i], values[7][i], values[8][i])
                           for i in kept).items():
            self.sample_of_task(*row)
        for i in kept:
            tid = self.kinds[THREAD][values[2][i]][1] if values[2][i] else 0
            self.thread_states.setdefault(tid, Counter())[values[4][i]] += 1
            if values[4][i] & CPU_TIME_KNOWN:
                self.cpu[tid] += values[6][i]

    def sample_of_task(self, row, count):
        thread, stack, task, below = row
        if task == 1:
            self.task_stacks[()] += count
            return
        if task == 0 or not self.has(STACK, task - 1) or not self.has(STACK, below):
            self.task_stacks[None] += count
            return
        tid = self.kinds[THREAD][thread][1] if thread else 0
        own, plain = self.frames(below), self.frames(stack)
        if plain[:len(own)] != own:
            self.task_stacks[None] += count
            return
        self.task_stacks[tid, self.frames(task - 1) + plain[len(own):]] += count

    def wait(self, c, unit):
        _, thread, stack, count, ns = (c.varint() for _ in range(5))
        if not self.has(THREAD, thread) or not self.has(STACK, stack):
            return
        if stack == 0:
            self.waits_lost += count
            return
        key = self.kinds[THREAD][thread][1] if thread else 0, self.frames(stack)
        self.waits[key] += count
        self.waits_ns[key] += ns

    def task(self, c, unit):
        time, number, stack, state, problem = (c.varint() for _ in range(5))
        awaiters = []
        while c.at < c.end:
            awaiters.append(c.varint())
        tasks = self.kinds[TASK]
        if number not in tasks or not self.has(STACK, stack):
            return
        addr, loop, thread, name = tasks[number]
        self.tasks.append({
            "time": time * unit, "id": addr, "loop": loop,
            "tid": self.kinds[THREAD][thread][1] if thread in self.kinds[THREAD] else None,
            "name": self.kinds[STRING].get(name), "frames": self.frames(stack), "state": state,
            "problem": problem, "awaiters": [tasks[a][0] for a in awaiters if a in tasks]})

    def records(self, payload, unit):
        c = Cursor(payload)
        while c.at < c.end:
            kind, size = c.varint(), c.varint()
            record = Cursor(c.take(size))
            if kind in self.kinds:
                self.define(kind, record)
            elif kind == 7:
                self.rows(record, unit)
            elif kind == 8:
                record.varint(), record.varint()
                count = record.varint()
                self.gaps[record.varint()] += count
            elif kind == 12:
                self.task(record, unit)
            elif kind == 13:
                record.varint()
                self.tasks_seen = record.varint(), record.varint(), record.varint()
            elif kind == 14:
                self.instructions(record)
            elif kind == 15:
                self.wait(record, unit)
            elif kind == 1:
                self.header = json.loads(record.data)
            elif kind == 9:
                self.statistics = json.loads(record.data)
            elif kind == 10:
                self.summary = json.loads(record.data)
                self.statistics = self.summary["totals"]


class EachSample(Stream):
    """Also knows each sample: its time in ns, its thread's name, its frames, its state."""

    def __init__(self, number):
        super().__init__(number)
        self.each = []

    def rows(self, c, unit):
        again = Cursor(c.data, c.at, c.end)
        super().rows(c, unit)
        n, columns = again.varint(), again.varint()
        described = [(again.varint(), again.varint(), again.varint()) for _ in range(columns)]
        values = {}
        for number, encoding, size in described:
            values[number] = column(again.take(size), encoding, n, values.get(2))
        known = {}
        for time_, thread, stack, state in zip(*(values[number] for number in (1, 2, 3, 4))):
            if stack not in known:
                known[stack] = self.frames(stack)
            name = self.kinds[STRING].get(self.kinds[THREAD][thread][4])
            self.each.append((time_ * unit, name, known[stack], state))


def read(data, stream_class=Stream):
    """The streams of a recording, and how many bytes were no part of one."""
    streams = []
    current = {}
    at = skipped = 0
    if data[:8] != PROLOGUE:
        raise ValueError("not a recording")
    while at < len(data):
        if data[at:at + 8] == PROLOGUE and at + 16 <= len(data):
            if struct.unpack_from("<H", data, at + 8)[0] > 1:
                raise ValueError("a later version")
            at += 16
            continue
        head = data[at:at + 64]
        if len(head) == 64 and head[:4] == CHUNK:
            (_, kind, codec, size, raw, packed, number, segment, sequence, before, samples, unit,
             payload_check, head_check) = HEADER.unpack(head)
            payload = data[at + size:at + size + packed]
            if (check(head[:56], head_check) and len(payload) == packed
                    and check(payload, payload_check)):
                at += size + packed
                if number not in current or (sequence == 0 and current[number].next):
                    current[number] = stream_class(number)
                    streams.append(current[number])
                stream = current[number]
                stream.next = sequence + 1
                stream.expected = before + samples
                if kind != 1:
                    continue
                if stream.segment != segment:
                    stream.segment = segment
                    for table in stream.kinds.values():
                        table.clear()
                if codec == 1:
                    payload = unpack_zstd(payload, raw)
                stream.records(payload, unit)
                continue
        following = [i for i in (data.find(CHUNK, at + 1), data.find(PROLOGUE, at + 1)) if i > 0]
        end = min(following, default=len(data))
        skipped += end - at
        at = end
    return streams, skipped


def collapsed(streams, tasks=None):
    """Counts of collapsed lines. tasks: None, "running" or "all"."""
    lines = Counter()
    for stream in streams:
        stacks = stream.stacks if not tasks else Counter(
            {key: n for key, n in stream.task_stacks.items() if key})
        if tasks == "all":
            stacks = stacks + stream.waits
        for (tid, frames), count in stacks.items():
            parts = [f"tid:{tid}"]
            for file, name, line in frames:
                if file is None:
                    parts.append(name)
                else:
                    parts.append(f"{file.rsplit('/', 1)[-1]}:{name}:{max(line, 0)}")
            if frames:
                lines[";".join(parts)] += count
    return lines


def totals(streams, skipped):
    return {
        "skipped_bytes": skipped,
        "streams": [{
            "stream": s.number,
            "header": s.header,
            "samples": s.samples,
            "lost": s.expected - s.samples,
            "gaps": sum(s.gaps.values()),
            "first_ns": s.first,
            "last_ns": s.last,
            "time_sum": s.time_sum,
            "states": s.states,
            "end": s.summary and s.summary["end"],
            "statistics": s.statistics,
        } for s in streams],
    }


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    with open(sys.argv[1], "rb") as f:
        print(json.dumps(totals(*read(f.read())), indent=1))
