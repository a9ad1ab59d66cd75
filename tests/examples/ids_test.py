#!/usr/bin/env python3
"""Hundreds of clients of examples/ids, whose daemon is killed again and again.

    ids_test.py <ids>

No identifier ever has two clients; a client keeps its own over the death of
the daemon; what a client had that died is leased to others.
"""
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import time

IDS, CLIENTS, ROUNDS = 500, 300, 8
PATIENCE = 30


class Daemon:
    def __init__(self, program, where):
        self.command = [program, where + "/socket", where + "/leases"]
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        assert self.process.wait() == -signal.SIGKILL

    def connect(self):
        """A connection, as soon as somebody listens."""
        deadline = time.monotonic() + PATIENCE
        while True:
            assert self.process.poll() is None, "the daemon has ended"
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(PATIENCE)
            try:
                s.connect(self.command[1])
                return s
            except OSError:
                s.close()
                assert time.monotonic() < deadline, "nobody listens"
                time.sleep(0.01)


def ask_all(daemon, lines):
    """What each of as many new clients is answered, and its connection."""
    asking = [daemon.connect() for _ in lines]
    for s, line in zip(asking, lines):
        s.sendall(line.encode() + b"\n")
    return [(int(s.recv(64)), s) for s in asking]


def lease(daemon, clients, n):
    """n more clients; each of them has an identifier of its own."""
    deadline = time.monotonic() + PATIENCE
    while n > 0:
        for i, s in ask_all(daemon, ["lease"] * n):
            if i == -1:
                s.close()
                continue
            assert 0 <= i < IDS and i not in clients, f"{i} is leased twice"
            clients[i] = s
            n -= 1
        # What others had may still rest.
        assert time.monotonic() < deadline, "nothing comes back"
        time.sleep(0.02)


def leave(clients, n):
    for i in random.sample(sorted(clients), n):
        clients.pop(i).close()


def killed_while_busy(daemon, clients):
    """The daemon dies between answers: what was answered must count."""
    asking = [daemon.connect() for _ in range(20)]
    for s in asking:
        s.sendall(b"lease\n")
    time.sleep(random.random() * 0.02)
    daemon.kill()
    for s in asking:
        try:
            i = int(s.recv(64) or b"-1")
        except ConnectionError:
            i = -1
        if i == -1:
            s.close()
        else:
            assert i not in clients, f"{i} is leased twice"
            clients[i] = s


def keep_all(daemon, clients):
    daemon.start()
    for s in clients.values():
        s.close()
    order = sorted(clients, key=lambda _: random.random())
    answers = ask_all(daemon, [f"keep {i}" for i in order])
    for i, (answer, s) in zip(order, answers):
        assert answer == i, f"{i} is lost"
        clients[i] = s
    (answer, s), = ask_all(daemon, [f"keep {order[0]}"])
    assert answer == -1, f"{order[0]} is kept twice"
    s.close()


def main():
    seed = random.randrange(1 << 32)
    print("seed", seed)
    random.seed(seed)
    clients = {}
    with tempfile.TemporaryDirectory() as where:
        daemon = Daemon(sys.argv[1], where)
        try:
            lease(daemon, clients, CLIENTS)
            for _ in range(ROUNDS):
                killed_while_busy(daemon, clients)
                keep_all(daemon, clients)
                leave(clients, len(clients) - CLIENTS // 3)
                lease(daemon, clients, CLIENTS - len(clients))
            # All but those of living clients come back in the end.
            time.sleep(3)
            lease(daemon, clients, IDS - len(clients))
            left = os.listdir(where)
            assert sorted(left) in (["leases", "socket"],
                                    ["leases", "leases.new", "socket"]), left
        finally:
            daemon.process.kill()
            daemon.process.wait()


main()
