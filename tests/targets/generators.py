"""Generators that handle exceptions, in and around others that do not, in turns.

What has a frame on its stack that stands in a line marked "handles" handles one; everything else handles
none, but in a line marked "may". (Where a handler ends it has let go of its exception before its line is
another.) Prints "ready".
"""
import time

clock = time.monotonic_ns


def handler(end):
    try:
        raise ValueError  # may
    except ValueError:  # may
        while clock() < end:  # handles
            yield 1  # handles


def calm(end):
    while clock() < end:
        yield 1


def around_calm(end):
    try:
        raise ValueError  # may
    except ValueError:  # may
        for i in calm(end):  # handles
            yield i  # handles


def through(numbers):
    for i in numbers:
        yield i


def delegating(numbers):
    yield from numbers


def calm_through(end):
    for _ in through(calm(end)):
        pass


def handler_through(end):
    for _ in through(handler(end)):
        pass


def handler_delegated(end):
    for _ in delegating(through(handler(end))):
        pass


def around_calm_through(end):
    for _ in through(around_calm(end)):
        pass


def around_calm_delegated(end):
    for _ in delegating(around_calm(end)):
        pass


async def awaiting(numbers):
    async for i in numbers:  # may
        pass


async def handler_async(end):
    async def handler():
        try:
            raise ValueError  # may
        except ValueError:  # may
            while clock() < end:  # handles
                yield 1  # handles
    await awaiting(handler())


def handler_in_coroutines(end):
    try:
        handler_async(end).send(None)
    except StopIteration:  # may
        pass  # may


PARTS = (calm_through, handler_through, handler_delegated, around_calm_through,
         around_calm_delegated, handler_in_coroutines)


def main():
    print("ready", flush=True)
    while True:
        for part in PARTS:
            part(clock() + 5000000)


main()
