"""Sleeps in a known function: known_base -> known_middle -> known_leaf; says "ready" there."""
import sys
import time


def known_leaf():
    time.sleep(print("ready", *sys.argv[1:], flush=True) or 3600)


def known_middle():
    known_leaf()


def known_base():
    known_middle()


known_base()
