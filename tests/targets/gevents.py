"""Greenlets of gevent that wait for an event, sleep, or are joined. Says "ready"."""
import gevent
from gevent.event import Event

event = Event()


def waits(depth):
    if depth:
        waits(depth - 1)
    else:
        event.wait()


def sleeps():
    gevent.sleep(100000)


greenlets = [gevent.spawn(waits, n) for n in range(3)] + [gevent.spawn(sleeps)]
gevent.sleep(0.1)
print("ready", flush=True)
gevent.joinall(greenlets)
