// State that is kept between visits. If storage is switched off or full, nothing is kept.

const PREFIX = "chinwag.";

/** The name last given, kept for all tabs. */
export function rememberedName() {
  return read("localStorage", "name") ?? "";
}

export function rememberName(name) {
  write("localStorage", "name", name);
}

/** The token of the reader's account, if the reader wants it kept. */
export function rememberedToken() {
  const token = read("localStorage", "token");
  return typeof token === "string" ? token : undefined;
}

/** Stores a token for the next visit; null removes it. */
export function rememberToken(token) {
  if (token === null) remove("localStorage", "token");
  else write("localStorage", "token", token);
}

/** The rooms this tab was in, so that a reload returns to them. */
export function rememberedRooms() {
  const rooms = read("sessionStorage", "rooms");
  return Array.isArray(rooms) ? rooms.filter((room) => typeof room === "string") : [];
}

export function rememberRooms(rooms) {
  write("sessionStorage", "rooms", rooms);
}

/** The ids this tab has had: each connection has another, and what was said by any of them is the reader's own. */
export function rememberedIds() {
  const ids = read("sessionStorage", "ids");
  return Array.isArray(ids) ? ids.filter((id) => typeof id === "string") : [];
}

export function rememberIds(ids) {
  write("sessionStorage", "ids", ids);
}

// Even naming the storage throws where it is forbidden, hence the names as strings.
function read(storage, key) {
  try {
    return JSON.parse(window[storage].getItem(PREFIX + key));
  } catch {
    return null;
  }
}

function remove(storage, key) {
  try {
    window[storage].removeItem(PREFIX + key);
  } catch {
    // Then nothing is stored.
  }
}

function write(storage, key, value) {
  try {
    window[storage].setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // Then the next visit asks again.
  }
}
