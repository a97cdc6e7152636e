"""prefork.py REPORT: a server of the prefork kind. Its master listens and keeps three workers, each
with the next number; they answer each connection with "PID NUMBER" after 20 ms of work by that
number. A worker that ends is replaced. Prints "ready PORT"; ends when its stdin does."""
import os
import select
import signal
import socket
import sys

WORKERS = 3
sys.argv[2:] = ["work"]
sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import family  # noqa: E402


def serve(listener, number):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    listener.setblocking(False)
    server = os.getppid()
    while os.getppid() == server:
        select.select([listener], [], [], 1)
        try:
            connection, _ = listener.accept()
        except BlockingIOError:
            continue  # nobody, or another worker was first
        with connection:
            family.work(number, 0.02)
            connection.sendall(f"{os.getpid()} {number}\n".encode())


def keep_workers(listener, workers, next_number):
    while len(workers) < WORKERS:
        workers.add(family.fork(serve, listener, next_number))
        next_number += 1
    return next_number


def main():
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        workers, number = set(), 1
        number = keep_workers(listener, workers, number)
        print("ready", listener.getsockname()[1], flush=True)
        while not select.select([sys.stdin], [], [], 0.02)[0]:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            if pid:
                workers.discard(pid)
                number = keep_workers(listener, workers, number)
        for pid in workers:
            os.kill(pid, signal.SIGTERM)
        for pid in workers:
            os.waitpid(pid, 0)


main()
