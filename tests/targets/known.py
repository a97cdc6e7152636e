"""Sleeps in a known function: known_base -> known_middle -> known_leaf."""
import sys
import time


def known_leaf():
    time.sleep(3600)


def known_middle():
    known_leaf()


def known_base():
    known_middle()


print("ready", *sys.argv[1:], flush=True)
known_base()
