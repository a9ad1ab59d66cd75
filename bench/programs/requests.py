"""requests.py - ask a web server for a compressed file over and over.

    requests.py SOCKET COUNT

SPDX-License-Identifier: BSD-2-Clause
"""
import socket
import sys

path, count = sys.argv[1], int(sys.argv[2])
ask = (b"GET /million.sql HTTP/1.1\r\nHost: x\r\n"
       b"Accept-Encoding: gzip\r\nConnection: %s\r\n\r\n")
for n in range(count):
    if n % 20 == 0:
        server = socket.socket(socket.AF_UNIX)
        server.connect(path)
    server.sendall(ask % (b"close" if n % 20 == 19 else b"keep-alive"))
    got = b""
    while not got.endswith(b"0\r\n\r\n"):
        part = server.recv(65536)
        if not part:
            sys.exit("the server hung up: %r" % got[:80])
        got += part
    if not got.startswith(b"HTTP/1.1 200"):
        sys.exit("%r" % got[:80])
