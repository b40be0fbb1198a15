// A program on Node's `fetch` that publishes bodies of unknown length, piece by piece.

const base = process.argv[2];

/** Publishes the pieces as one message, and returns the status of the answer. */
async function publish(pieces) {
  const encoder = new TextEncoder();
  const body = new ReadableStream({
    async pull(controller) {
      const piece = pieces.shift();
      if (piece === undefined) controller.close();
      else controller.enqueue(encoder.encode(piece));
    },
  });
  const answer = await fetch(`${base}/rooms/lobby/messages`, { method: "POST", body, duplex: "half" });
  await answer.text();
  return answer.status;
}

async function main() {
  const statuses = new Set();
  for (let number = 0; number < 10; number += 1) {
    statuses.add(await publish(["in ", "chunks ", `${number} `, "☃"]));
  }
  const large = await publish(Array(80).fill("x".repeat(1000)));
  console.log([...statuses].join(" "), large);
}

main();
