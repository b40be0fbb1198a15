// The page's own address has these parts: ?name=ann, ?room=dev or #dev, and #@bob for a private conversation.

const query = new URLSearchParams(location.search);

/** The name in the address, or null. */
export function nameInAddress() {
  return query.get("name");
}

/** The conversation in the address as { kind, name }, or null. */
export function conversationInAddress() {
  let hash = location.hash.slice(1);
  try {
    hash = decodeURIComponent(hash);
  } catch {
    // The address has a stray percent sign, so it is used as it is.
  }
  if (hash.startsWith("@") && hash.length > 1) return { kind: "private", name: hash.slice(1) };
  const room = hash || query.get("room");
  return room ? { kind: "room", name: room } : null;
}

/** Writes the open conversation into the address, so that a link or a reload opens it again. */
export function showInAddress(conversation) {
  const target = conversation.kind === "room" ? conversation.name : `@${conversation.name}`;
  const hash = `#${encodeURIComponent(target).replace("%40", "@")}`;
  // The entry is replaced, not pushed: "back" leaves the chat instead of visiting earlier rooms.
  if (location.hash !== hash) history.replaceState(null, "", hash);
}
