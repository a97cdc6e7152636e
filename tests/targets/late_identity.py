"""A thread as it is for an instant while it starts: it has an identity, but not the kernel's yet."""
import ctypes
import sys
import threading
import time

wait = float(sys.argv[1])
state = ctypes.pythonapi.PyThreadState_Get
state.restype = ctypes.c_void_p


def identity():
    """Where the id of the kernel stands in this thread's state."""
    begin, own = state(), threading.get_native_id()
    for at in range(begin, begin + 1024, 8):
        word = ctypes.c_uint64.from_address(at)
        if word.value == own:
            return word
    raise LookupError("no identity")


def starting():
    word = identity()
    own, word.value = word.value, 0
    print("ready", own, flush=True)
    time.sleep(wait)
    word.value = own
    time.sleep(60)


threading.Thread(target=starting, daemon=True).start()
time.sleep(60)
