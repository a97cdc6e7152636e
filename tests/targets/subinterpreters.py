"""Two interpreters beside the main one, each with frames and a thread of its own.

Prints "interpreter ID" for each, then "parked"; answers each line on stdin with a line of JSON:
a list of {"interpreter", "threads"}. Threads that must answer themselves are left out.
"""
import json
import os
import sys
import threading

import truth

try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters

CODE = """
import sys
sys.path.insert(0, {directory!r})
import json, os, threading, time, truth

class Nested:
    def method(self, number):
        return list(map(lambda n: Nested.reads({park}), [number]))

    @staticmethod
    def reads(fd):
        frames[threading.get_ident()] = sys._getframe()
        return os.read(fd, 1)

frames = {{}}
native_ids = {{threading.get_ident(): threading.get_native_id()}}

def reporter():
    while not frames:
        time.sleep(0.005)
    truth.wait_until_still(list(native_ids.values()))
    while True:
        os.write({answer}, b"parked\\n")
        os.read({ask}, 1)
        found = truth.threads(frames, native_ids)
        os.write({answer}, json.dumps(found).encode() + b"\\n")
        os.read({ask}, 1)

threading.Thread(target=reporter, name="интерпретатор {number}").start()
Nested().method({number})
"""


def create():
    try:
        return interpreters.create(isolated=False)  # 3.9 to 3.12: else no threads in it
    except TypeError:
        return interpreters.create()


class Runner:
    def __init__(self, number):
        self.park, self.never = os.pipe()
        asks, self.ask = os.pipe()
        answers, answer = os.pipe()
        self.answers = os.fdopen(answers)
        self.code = CODE.format(directory=os.path.dirname(os.path.abspath(__file__)),
                                park=self.park, answer=answer, ask=asks, number=number)
        self.frame = self.id = None
        self.thread = threading.Thread(target=self.run, name="runner %d" % number, daemon=True)
        self.thread.start()
        assert self.answers.readline() == "parked\n"

    def run(self):
        self.frame = sys._getframe()
        # To 3.12 a thread state has the id of the thread that made it, here the one that runs.
        self.id = create()
        interpreters.run_string(self.id, self.code)

    def answer(self):
        os.write(self.ask, b"?")
        line = self.answers.readline()
        os.write(self.ask, b".")
        assert self.answers.readline() == "parked\n"
        return json.loads(line)


def main():
    runners = [Runner(1), Runner(2)]
    for runner in runners:
        print("interpreter %d" % int(runner.id), flush=True)
    print("parked", flush=True)
    for _ in sys.stdin:
        result = [{"interpreter": 0, "threads": [
            thread for r in runners
            for thread in truth.threads({r.thread.ident: r.frame}, {})]}]
        for r in runners:
            result.append({"interpreter": int(r.id), "threads": r.answer()})
        print(json.dumps(result), flush=True)


main()
