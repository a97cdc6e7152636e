"""A service of two busy threads: each parses, matches and hashes documents of its own.

Prints "ready" and runs until it is killed."""
import hashlib
import json
import random
import re
import threading

WORDS = re.compile(r"\b([a-z]+)-(\d+)\b")


def document(rng):
    return {"id": rng.randrange(1 << 30),
            "lines": ["item-%d and other-%d" % (rng.randrange(1000), i) for i in range(60)],
            "nested": {str(i): [i, i * i, {"deep": i}] for i in range(40)}}


def encode(value):
    return json.dumps(value, sort_keys=True)


def words(value):
    found = {}
    for line in value["lines"]:
        for word, number in WORDS.findall(line):
            found[word] = found.get(word, 0) + int(number)
    return found


def checksum(text):
    digest = text.encode()
    for _ in range(20):
        digest = hashlib.sha256(digest * 50).digest()
    return digest.hex()


def handle(text):
    return words(json.loads(text)), checksum(text)


def serve(seed):
    rng = random.Random(seed)
    while True:
        handle(encode(document(rng)))


threading.Thread(target=serve, args=(1,), daemon=True).start()
print("ready", flush=True)
serve(2)
