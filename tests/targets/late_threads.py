"""late_threads.py: starts to use threads only after a while, and then many that live shortly."""
import time


def before(end):
    while time.monotonic() < end:
        pass


before(time.monotonic() + 0.8)
import threading  # noqa: E402

threads = [threading.Thread(target=time.sleep, args=(0.25,), name=f"late-{i}") for i in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
