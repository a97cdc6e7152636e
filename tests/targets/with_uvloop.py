"""Runs a program with uvloop's event loop instead of asyncio's own.

usage: with_uvloop.py SCRIPT [ARG...]"""
import asyncio
import runpy
import sys
import warnings

import uvloop

warnings.simplefilter("ignore", DeprecationWarning)
asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())
loop = asyncio.new_event_loop()
assert type(loop).__module__.startswith("uvloop"), loop
loop.close()
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
