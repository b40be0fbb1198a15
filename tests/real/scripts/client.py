"""A program on Python's `websockets`: chats, answers pings, sends too large a message, and stays until the server ends."""

import asyncio
import json
import sys

import websockets


async def until(socket, wanted):
    while True:
        event = json.loads(await asyncio.wait_for(socket.recv(), 10))
        if event["type"] == wanted:
            return event


async def main(base):
    async with websockets.connect(f"{base}/ws?name=py") as socket:
        welcome = await until(socket, "welcome")
        assert welcome["name"] == "py", welcome
        await until(socket, "joined")
        received = await until(socket, "message")
        assert (received["from"], received["text"]) == ("ann", "hi py"), received
        # One message in three frames.
        await socket.send(['{"type":"say","room":"lobby",', '"text":"hallo ☃', '","id":1}'])
        receipt = await until(socket, "message")
        assert receipt["text"] == "hallo ☃" and receipt["id"] == 1, receipt
        await asyncio.wait_for(await socket.ping(b"there?"), 10)
        async with websockets.connect(f"{base}/raw/files") as one, websockets.connect(f"{base}/raw/files") as two:
            await one.send(bytes(range(256)))
            assert await asyncio.wait_for(two.recv(), 10) == bytes(range(256))
            await two.send("x" * 70_000)
            try:
                await asyncio.wait_for(two.recv(), 10)
            except websockets.ConnectionClosed:
                assert two.close_code == 1009, two.close_code
        print("talked", flush=True)
        try:
            while True:
                await socket.recv()
        except websockets.ConnectionClosed:
            print("closed", socket.close_code, flush=True)


asyncio.run(main(sys.argv[1]))
