"""lives.py N PROGRAM...: works for a while in life_N, then executes PROGRAM... in its place."""
import os
import sys
import time


def life_1(end):
    while time.monotonic() < end:
        pass


def life_2(end):
    while time.monotonic() < end:
        pass


number, *program = sys.argv[1:]
print("life", number, flush=True)
globals()["life_" + number](time.monotonic() + 0.7)
if program:
    os.execv(program[0], program)
