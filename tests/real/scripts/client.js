// A program on Node's `ws`: chats, answers pings, sends too large a message, and stays until the server ends.

const WebSocket = require("ws");
const assert = require("assert");

const base = process.argv[2];

/** Opens a socket whose messages can be awaited one by one. */
function open(path) {
  const socket = new WebSocket(base + path);
  const events = [];
  let waiting = null;
  socket.on("message", (data, isBinary) => {
    events.push(isBinary ? data : JSON.parse(data));
    waiting?.();
  });
  socket.until = async (wanted) => {
    for (;;) {
      const event = events.shift();
      if (event && wanted(event)) return event;
      if (!event) await new Promise((resolve) => (waiting = resolve));
    }
  };
  return new Promise((resolve, reject) => {
    socket.on("open", () => resolve(socket));
    socket.on("error", reject);
  });
}

async function main() {
  const socket = await open("/ws?name=node");
  const welcome = await socket.until((event) => event.type === "welcome");
  assert.strictEqual(welcome.name, "node");
  const received = await socket.until((event) => event.type === "message");
  assert.deepStrictEqual([received.from, received.text], ["ann", "hi node"]);
  socket.send('{"type":"say","room":"lobby","text":"hal', { fin: false });
  socket.send('lo ☃","id":"x"}', { fin: true });
  const receipt = await socket.until((event) => event.type === "message");
  assert.deepStrictEqual([receipt.text, receipt.id], ["hallo ☃", "x"]);
  const ponged = new Promise((resolve) => socket.on("pong", resolve));
  socket.ping("there?");
  assert.strictEqual(String(await ponged), "there?");
  const [one, two] = [await open("/raw/files"), await open("/raw/files")];
  one.send(Buffer.from([0, 255, 10]));
  assert.deepStrictEqual([...(await two.until(() => true))], [0, 255, 10]);
  const closed = new Promise((resolve) => two.on("close", resolve));
  two.send("x".repeat(70_000));
  assert.strictEqual(await closed, 1009);
  one.close();
  console.log("talked");
  socket.on("close", (code) => console.log("closed", code));
}

main();
