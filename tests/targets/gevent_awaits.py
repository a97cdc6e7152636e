"""Greenlets of gevent that wait for others in every way, and one that computes, awaited by two. Says
"ready"."""
import gevent
import gevent.event


def sleeps():
    gevent.sleep(100000)


def computes():
    while True:
        sum(range(20000))
        gevent.sleep(0)


def joins(other):
    other.join()


def gets(other):
    other.get(timeout=1000)


def joins_all(others):
    gevent.joinall(others)


def iterates(others):
    for _ in gevent.iwait(others):
        pass


class Sub(gevent.Greenlet):
    pass


a = gevent.spawn(sleeps)
b = gevent.spawn(joins, a)
c = Sub.spawn(gets, b)
d = gevent.spawn(joins_all, [a, c])
e = gevent.spawn(iterates, [d])
busy = Sub.spawn(computes)
f = gevent.spawn(joins, busy)
gevent.sleep(0.1)
print("ready", flush=True)
gevent.joinall([f])
