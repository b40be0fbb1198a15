"""A program on Python's `websockets`: sends far more at once than the rate allows, and stays connected by its pongs."""

import asyncio
import json
import sys
import time

import websockets

COUNT = 250


async def main(base):
    # The messages take several times as long as the library waits for a pong.
    patience = {"ping_interval": 0.2, "ping_timeout": 1.5}
    async with websockets.connect(f"{base}/ws?name=py", subprotocols=["chinwag.json"], **patience) as socket:
        assert socket.subprotocol == "chinwag.json", socket.subprotocol
        begun = time.monotonic()
        for number in range(COUNT):
            await socket.send(json.dumps({"type": "say", "room": "lobby", "text": f"m{number}", "id": number}))
        received = 0
        while received < COUNT:
            event = json.loads(await socket.recv())
            if event["type"] == "message":
                assert event["text"] == f"m{received}", event
                received += 1
        assert time.monotonic() - begun > 3 * 1.5, "it was not throttled"
        print("received", received, flush=True)
        for number in range(20):
            await socket.send(json.dumps({"type": "say", "room": "lobby", "text": f"last{number}"}))
        await asyncio.wait_for(socket.close(), 5)
        print("closed", socket.close_code, flush=True)


asyncio.run(main(sys.argv[1]))
