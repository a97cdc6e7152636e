"""many_threads.py N: N threads, of which three compute and the others sleep."""
import sys
import threading

COUNT = int(sys.argv[1])
forever = threading.Event()


def sleep_here():
    forever.wait()


def sleeper():
    sleep_here()


def busy():
    x = 0
    while True:
        for i in range(1000):
            x += i


threading.stack_size(128 * 1024)
for i in range(COUNT - 3):
    threading.Thread(target=sleeper, name=f"sleeper-{i}", daemon=True).start()
for i in range(2):
    threading.Thread(target=busy, name=f"busy-{i}", daemon=True).start()
print("ready", flush=True)
busy()
