"""Generators that handle exceptions, in and around others that do not, in turns.

What has a frame of handler or of around_calm on its stack handles one, everything else handles none.
Prints "ready".
"""
import time

clock = time.monotonic_ns


def handler(end):
    try:
        raise ValueError
    except ValueError:
        while clock() < end:
            yield 1


def calm(end):
    while clock() < end:
        yield 1


def around_calm(end):
    try:
        raise ValueError
    except ValueError:
        for i in calm(end):
            yield i


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
    async for i in numbers:
        pass


async def handler_async(end):
    async def handler():
        try:
            raise ValueError
        except ValueError:
            while clock() < end:
                yield 1
    await awaiting(handler())


def handler_in_coroutines(end):
    try:
        handler_async(end).send(None)
    except StopIteration:
        pass


PARTS = (calm_through, handler_through, handler_delegated, around_calm_through,
         around_calm_delegated, handler_in_coroutines)


def main():
    print("ready", flush=True)
    while True:
        for part in PARTS:
            part(clock() + 5000000)


main()
