"""Another reader and a writer of what profiling.sampling stores: by the format alone, in Python."""
import struct
from collections import Counter

HEADER = "IIIQQQIQQII"
GIL, CPU, CPU_UNKNOWN, GIL_WAIT, EXCEPTION, MAIN = (1 << i for i in range(6))


class Cursor:
    def __init__(self, data, at=0, order="<"):
        self.data, self.at, self.order = data, at, order

    def varint(self):
        value = shift = 0
        while True:
            byte = self.data[self.at]
            self.at += 1
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def zigzag(self):
        value = self.varint()
        return value >> 1 ^ -(value & 1)

    def byte(self):
        self.at += 1
        return self.data[self.at - 1]

    def take(self, form):
        values = struct.unpack_from(self.order + form, self.data, self.at)
        self.at += struct.calcsize(self.order + form)
        return values


def read(data):
    """(frames, samples) of an uncompressed file: frames as (file, name, line); samples as (tid,
    interpreter, us, status, frame numbers from the leaf)."""
    start, count, strings_at, codec = (struct.unpack_from("<" + HEADER, data)[i]
                                       for i in (3, 5, 7, 9))
    assert codec == 0
    n_strings, n_frames = struct.unpack_from("<II", data, len(data) - 32)
    c = Cursor(data, strings_at)
    strings = []
    for _ in range(n_strings):
        size = c.varint()
        strings.append(data[c.at:c.at + size].decode())
        c.at += size
    frames = []
    for _ in range(n_frames):
        file, name = strings[c.varint()], strings[c.varint()]
        frames.append((file, name, c.zigzag()))
        c.zigzag(), c.zigzag(), c.zigzag(), c.byte()
    c, samples, threads = Cursor(data, 64), [], {}
    while c.at < strings_at:
        key = c.take("QI")
        state = threads.setdefault(key, [start, []])
        kind, n = c.byte(), 1
        if kind == 0:
            n = c.varint()
        for _ in range(n):
            state[0] += c.varint()
            status = c.byte()
            if kind == 1:
                state[1] = [c.varint() for _ in range(c.varint())]
            elif kind:
                first, fresh = c.varint(), c.varint()
                kept = (state[1][len(state[1]) - first:] if kind == 2 else state[1][first:])
                state[1] = [c.varint() for _ in range(fresh)] + kept
            samples.append((*key, state[0], status, tuple(state[1])))
    assert len(samples) == count
    return frames, samples


def collapsed(frames, samples):
    """Collapsed lines with counts, without the sampler's own frames."""
    lines = Counter()
    for tid, _, _, _, stack in samples:
        words = [f"tid:{tid}"]
        for number in reversed(stack):
            file, name, line = frames[number]
            if file == "~":
                words.append(name)
            elif not file.endswith("_sync_coordinator.py"):
                words.append(f"{file.rpartition('/')[2]}:{name}:{max(line, 0)}")
        if len(words) > 1:
            lines[";".join(words)] += 1
    return lines


def varint(value):
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes(out + bytes([value]))


def zigzag(value):
    return varint(value << 1 ^ (-1 if value < 0 else 0))


def record(tid, kind, *parts, interpreter=0, order="<"):
    """One record; parts are numbers, or bytes as they are."""
    return struct.pack(order + "QIB", tid, interpreter, kind) + b"".join(
        p if isinstance(p, bytes) else varint(p) for p in parts)


def status(*bits):
    return bytes([sum(bits)])


def write(strings, frames, records, count, order="<", flags=0x09, interval=1000, threads=4,
          codec=0, start=1_000_000, sampled=None):
    """A whole file. frames: (string, string, line); sampled: the samples as they are stored."""
    sampled = b"".join(records) if sampled is None else sampled
    strings = [s if isinstance(s, bytes) else s.encode() for s in strings]
    first = b"".join(varint(len(s)) + s for s in strings)
    second = b"".join(varint(a) + varint(b) + zigzag(line) + zigzag(0) + zigzag(-1 if line < 0 else 4)
                      + zigzag(0 if line < 0 else 3) + b"\xff" for a, b, line in frames)
    at = 64 + len(sampled)
    head = struct.pack(order + HEADER, 0x54414348, 1,
                       *struct.unpack(order + "I", bytes([3, 15, 2, 0])), start, interval, count,
                       threads, at, at + len(first), codec, flags)
    body = head + sampled + first + second
    return body + struct.pack(order + "IIQQQ", len(strings), len(frames), len(body) + 32, 0, 0)
