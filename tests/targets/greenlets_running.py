"""greenlets_running.py MICROSECONDS: five greenlets, of a class each (Green0, Green1, ...), that run in
turn, that long each; each in functions of its own (run0 calls spin0). Every other round is made by
new greenlets. In the first one there is main_spin. A second thread does the same. Says "ready"."""
import sys
import threading
import time

import greenlet

KINDS = 5
CODE = """
class Green{n}(greenlet.greenlet):
    def run(self):
        while True:
            run{n}()
            self.parent.switch()

def run{n}():
    spin{n}()

def spin{n}():
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
"""


def main_spin():
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def work():
    kinds = [globals()["Green%d" % n] for n in range(KINDS)]
    keep = [kind() for kind in kinds]
    while True:
        for g in keep:
            g.switch()
        main_spin()
        for kind in kinds:
            kind().switch()


seconds = int(sys.argv[1]) / 1e6
for n in range(KINDS):
    exec(CODE.format(n=n))
threading.Thread(target=work, daemon=True).start()
print("ready", flush=True)
work()
