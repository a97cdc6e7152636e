"""Threads that sleep nearly always, in turn in two places that look alike: at two lines of one
function, and below two calls of the same function. Prints "ready"."""
import threading
import time

NAP = 0.02


def wide(n):
    a = b = c = d = e = f = g = h = i = j = k = l = m = n  # noqa: E741
    aa = bb = cc = dd = ee = ff = gg = hh = ii = jj = kk = ll = mm = n
    while True:
        time.sleep(NAP)
        time.sleep(NAP)


def nap():
    time.sleep(NAP)


def under(n):
    a = b = c = d = e = f = g = h = i = j = k = l = m = n  # noqa: E741
    aa = bb = cc = dd = ee = ff = gg = hh = ii = jj = kk = ll = mm = n
    nap()


def over():
    while True:
        under(1)
        under(1)


threading.Thread(target=wide, args=(1,), daemon=True).start()
threading.Thread(target=over, daemon=True).start()
print("ready", flush=True)
over()
