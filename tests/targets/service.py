"""A small service: workers take jobs from a queue, parse, match, hash and answer them."""
import hashlib
import json
import queue
import random
import re
import sys
import threading
import time

jobs = queue.Queue(maxsize=64)
answers = queue.Queue()
WORDS = re.compile(r"\b([a-z]+)-(\d+)\b")
SEED = 7


def make_document(rng):
    return {
        "id": rng.randrange(1 << 30),
        "lines": [f"item-{rng.randrange(1000)} and other-{i}" for i in range(60)],
        "nested": {str(i): [i, i * i, {"deep": i}] for i in range(40)},
    }


def encode(document):
    return json.dumps(document, sort_keys=True)


def decode(text):
    return json.loads(text)


def match_words(document):
    found = {}
    for line in document["lines"]:
        for word, number in WORDS.findall(line):
            found[word] = found.get(word, 0) + int(number)
    return found


def checksum(text):
    digest = text.encode()
    for _ in range(20):
        digest = hashlib.sha256(digest * 50).digest()
    return digest.hex()


def handle(text):
    document = decode(text)
    return {"words": match_words(document), "sum": checksum(text)}


def worker():
    while True:
        text = jobs.get()
        if text is None:
            return
        answers.put(handle(text))


def collector():
    while True:
        if answers.get() is None:
            return


def producer(seconds):
    rng = random.Random(SEED)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        jobs.put(encode(make_document(rng)))


def main():
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 600
    workers = [threading.Thread(target=worker, name=f"worker-{i}") for i in range(3)]
    last = threading.Thread(target=collector, name="collector")
    for thread in [*workers, last]:
        thread.start()
    try:
        producer(seconds)
    except KeyboardInterrupt:
        pass
    for _ in workers:
        jobs.put(None)
    for thread in workers:
        thread.join()
    answers.put(None)
    last.join()


if __name__ == "__main__":
    main()
