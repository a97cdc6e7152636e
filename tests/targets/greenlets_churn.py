"""A hundred suspended greenlets in a program that makes and drops objects all the while, and keeps
as many as the argument says. Says "ready"."""
import json
import sys

import greenlet


class Request:
    def __init__(self, number):
        self.itself = self
        self.data = json.loads(json.dumps({"a": [1, 2, {"b": number}], "c": [{}] * 5}))


def recurse(depth):
    if depth:
        recurse(depth - 1)
    else:
        greenlet.getcurrent().parent.switch()


keep = [[] for _ in range(int(sys.argv[1]))]
greenlets = [greenlet.greenlet(recurse) for _ in range(100)]
for g in greenlets:
    g.switch(3)
print("ready", flush=True)
number = 0
while True:
    number += 1
    keep[number % len(keep)] = [number, Request(number).data]
