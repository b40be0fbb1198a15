// The parts of the page's own address: ?name=ann, ?room=dev or #dev, and #@bob for a private conversation.

const query = new URLSearchParams(location.search);

/** The name the address asks for, if it does. */
export function nameInAddress() {
  return query.get("name");
}

/** The conversation the address asks for: { kind, name }, or null. */
export function placeInAddress() {
  let hash = location.hash.slice(1);
  try {
    hash = decodeURIComponent(hash);
  } catch {
    // A stray percent sign; taken as it is.
  }
  if (hash.startsWith("@") && hash.length > 1) return { kind: "private", name: hash.slice(1) };
  const room = hash || query.get("room");
  return room ? { kind: "room", name: room } : null;
}

/** Shows in the address what is open, so that it can be shared and survives a reload. */
export function putInAddress(conversation) {
  const place = conversation.kind === "room" ? conversation.name : `@${conversation.name}`;
  const hash = `#${encodeURIComponent(place).replace("%40", "@")}`;
  // Replaced, not pushed: "back" leaves the chat rather than walking through rooms.
  if (location.hash !== hash) history.replaceState(null, "", hash);
}
