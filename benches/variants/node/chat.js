// The chat on ws, the usual WebSocket library of Node: the broadcast is the one of its README. Whose queue in user space
// is over the bound is dropped. Compression is off, as it is by default, and ws turns Nagle's delay off itself.
'use strict';

const { WebSocket, WebSocketServer } = require('ws');

// What the other variants have, too (src/lib.rs).
const MESSAGE_MAX_BYTES = 64 * 1024;
const QUEUED_MAX_BYTES = 256 * 1024;
const BACKLOG = 4096;

const server = new WebSocketServer(
  { host: '127.0.0.1', port: 0, backlog: BACKLOG, maxPayload: MESSAGE_MAX_BYTES },
  () => {
    const { address, port } = server.address();
    console.log(JSON.stringify({ line: [], http: [`${address}:${port}`], unix: [] }));
  },
);

server.on('connection', (from) => {
  // A connection that broke; it is closed next.
  from.on('error', () => {});
  from.on('message', (data, isBinary) => {
    for (const client of server.clients) {
      if (client === from || client.readyState !== WebSocket.OPEN) continue;
      if (client.bufferedAmount > QUEUED_MAX_BYTES) client.terminate();
      else client.send(data, { binary: isBinary });
    }
  });
});
