// A program on Node's `ws`: sends far more at once than the rate allows, and its pings are answered at once.

const WebSocket = require("ws");
const assert = require("assert");

const COUNT = 60;
const unanswered = new Set();
let received = 0;
let socket;

// The other program is in the room before anything is sent there, so it misses nothing.
const other = new WebSocket(process.argv[2] + "/raw/files");
other.on("open", paste);
// Every ping is answered long before the other program has received half of the messages.
other.on("message", (data) => {
  assert.strictEqual(String(data), `m${received}`);
  received += 1;
  if (received === COUNT / 2) {
    console.log("unanswered", unanswered.size);
    socket.close(3000);
  }
  if (received === COUNT) {
    console.log("received", received);
    other.close();
  }
});

function paste() {
  socket = new WebSocket(process.argv[2] + "/raw/files?name=node", ["mqtt", "other"]);
  socket.on("pong", (payload) => assert(unanswered.delete(String(payload)), `no ping was ${payload}`));
  socket.on("open", () => {
    assert.strictEqual(socket.protocol, "mqtt");
    for (let number = 0; number < COUNT; number++) {
      socket.send(`m${number}`);
      const payload = `ping ${number}`;
      unanswered.add(payload);
      socket.ping(payload);
    }
  });
  socket.on("close", (code) => console.log("closed", code, received < COUNT));
}
