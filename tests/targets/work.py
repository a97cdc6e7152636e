"""A program of ordinary functions that counts its own work.

usage: work.py [--count FILE]
--count: FILE, mapped, is 8 bytes: how many rounds of work are done. Prints "ready" and runs until
it is killed."""
import json
import mmap
import re
import sys

counter = [0]
if sys.argv[1:2] == ["--count"]:
    with open(sys.argv[2], "w+b") as f:
        f.truncate(8)
        counter = memoryview(mmap.mmap(f.fileno(), 8)).cast("Q")
RECORDS = [{"id": i, "name": f"user {i}", "tags": ["a", "b", str(i)], "score": i * 1.5}
           for i in range(40)]
WORD = re.compile(r"(\w+) (\d+)")


def parse(text):
    return json.loads(text)


def render(records):
    return json.dumps(records, sort_keys=True)


def score(record):
    total = 0.0
    for i in range(60):
        total += record["score"] * i
    return total


def match(records):
    return sum(len(WORD.findall(r["name"])) for r in records)


def one_round():
    records = parse(render(RECORDS))
    total = sum(score(r) for r in records)
    counter[0] += 1
    return total + match(records)


print("ready", flush=True)
while True:
    one_round()
