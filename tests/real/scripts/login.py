"""Logs in with each token in every way that a WebSocket client has, and prints the results of a token as one line.

Arguments: the address of the server, a room that guests may not enter, and the tokens.
"""

import asyncio
import json
import sys

import websockets


async def until(socket, *wanted):
    """Returns the next event of such a type."""
    while True:
        event = json.loads(await asyncio.wait_for(socket.recv(), 10))
        if event["type"] in wanted:
            return event


async def login(path, header=None, request=None):
    """Returns the name of the account, the code of the error, or the status of a refused handshake."""
    headers = {"Authorization": f"Bearer {header}"} if header else {}
    try:
        async with websockets.connect(path, extra_headers=headers) as socket:
            if request:
                await until(socket, "joined")
                await socket.send(json.dumps({"type": "login", "token": request}))
            event = await until(socket, "login", "error")
            return event.get("name") or event["code"]
    except websockets.InvalidStatusCode as error:
        return str(error.status_code)
    except websockets.ConnectionClosed as error:
        return f"closed {error.rcvd.code}"


async def relay(path, header=None):
    """Returns whether a raw client is admitted."""
    headers = {"Authorization": f"Bearer {header}"} if header else {}
    try:
        async with websockets.connect(path, extra_headers=headers) as socket:
            await asyncio.wait_for(await socket.ping(), 10)
            return "open"
    except websockets.InvalidStatusCode as error:
        return str(error.status_code)


async def main(base, room, tokens):
    for token in tokens:
        results = [
            await login(f"{base}/ws?token={token}"),
            await login(f"{base}/ws", header=token),
            await login(f"{base}/ws", request=token),
            await relay(f"{base}/raw/{room}?token={token}"),
            await relay(f"{base}/raw/{room}", header=token),
        ]
        print(*results, flush=True)


asyncio.run(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
