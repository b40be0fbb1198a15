"""A program on Python's `http.client` that publishes bodies of unknown length, piece by piece."""

import http.client
import sys

connection = http.client.HTTPConnection(sys.argv[1].removeprefix("http://"), timeout=10)


def publish(pieces):
    """Publishes the pieces as one message, and returns the status of the answer."""
    connection.request("POST", "/rooms/lobby/messages", body=iter(pieces), encode_chunked=True,
                       headers={"Transfer-Encoding": "chunked"})
    answer = connection.getresponse()
    answer.read()
    return answer.status


statuses = set()
for number in range(10):
    statuses.add(publish([b"in ", b"chunks ", f"{number} ".encode(), "\u2603".encode()]))
large = publish([b"x" * 1000] * 80)
print(*statuses, large, flush=True)
