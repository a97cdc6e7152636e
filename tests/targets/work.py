"""A program of ordinary functions that counts its own work.

Prints "ready", and on SIGTERM "work COUNT SECONDS": rounds of work done and the wall time that they
took, since it was ready."""
import json
import os
import re
import signal
import time

done = 0
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
    global done
    records = parse(render(RECORDS))
    total = sum(score(r) for r in records)
    done += 1
    return total + match(records)


def report(*_):
    print("work", done, time.perf_counter() - start, flush=True)
    os._exit(0)


start = time.perf_counter()
signal.signal(signal.SIGTERM, report)
print("ready", flush=True)
while True:
    one_round()
