"""A client that never stops typing, and reads only after a line on standard input. Prints the last line it reads, or an error.

Usage: typist.py HOST PORT. It begins to read three seconds after that line.
"""

import socket
import sys
import threading
import time

peer = socket.socket()
peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
peer.connect((sys.argv[1], int(sys.argv[2])))
peer.sendall(b"slow\n")
print("typing", flush=True)


def type_on():
    try:
        while True:
            peer.sendall(b"are you there?\n")
            time.sleep(0.01)
    except OSError:
        pass


threading.Thread(target=type_on, daemon=True).start()
sys.stdin.readline()
time.sleep(3)
text = b""
try:
    while piece := peer.recv(65536):
        text = (text + piece)[-4096:]
except OSError as error:
    print(error, flush=True)
print(text.decode().splitlines()[-1], flush=True)
