// State that is stored between visits. If storage is disabled or full, nothing is stored.

const PREFIX = "chinwag.";

/** The last name of the reader, for all tabs. */
export function storedName() {
  return read("localStorage", "name") ?? "";
}

export function storeName(name) {
  write("localStorage", "name", name);
}

/** The token of the reader's account, if the reader has chosen to store it. */
export function storedToken() {
  const token = read("localStorage", "token");
  return typeof token === "string" ? token : undefined;
}

/** Stores a token for the next visit; null removes it. */
export function storeToken(token) {
  if (token === null) remove("localStorage", "token");
  else write("localStorage", "token", token);
}

/** The rooms of this tab, so that a reload returns to them. */
export function storedRooms() {
  const rooms = read("sessionStorage", "rooms");
  return Array.isArray(rooms) ? rooms.filter((room) => typeof room === "string") : [];
}

export function storeRooms(rooms) {
  write("sessionStorage", "rooms", rooms);
}

/** The ids of this tab's connections. Messages with one of them are the reader's own. */
export function storedIds() {
  const ids = read("sessionStorage", "ids");
  return Array.isArray(ids) ? ids.filter((id) => typeof id === "string") : [];
}

export function storeIds(ids) {
  write("sessionStorage", "ids", ids);
}

// If storage is forbidden, even access to `window.localStorage` throws. So it is looked up by name inside `try`.
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
    // Nothing is stored without storage.
  }
}

function write(storage, key, value) {
  try {
    window[storage].setItem(PREFIX + key, JSON.stringify(value));
  } catch {
    // Without storage the next visit begins with no stored state.
  }
}
