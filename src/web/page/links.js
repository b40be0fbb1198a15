// Addresses in messages become links. All other text goes into text nodes.

const ADDRESS = /https?:\/\/[^\s<>"]+/gi;
/** Punctuation after an address is not part of it. */
const TRAILING = /[.,;:!?'”’»…]+$/;

/** Converts a text into nodes. Its http and https addresses become links. */
export function linkify(text) {
  const nodes = [];
  let done = 0;
  for (const match of text.matchAll(ADDRESS)) {
    const written = trim(match[0]);
    const url = checked(written);
    if (!url) continue;
    nodes.push(text.slice(done, match.index), link(url, written));
    done = match.index + written.length;
  }
  nodes.push(text.slice(done));
  return nodes.filter((node) => node !== "").map((node) => (typeof node === "string" ? new Text(node) : node));
}

function trim(address) {
  const trimmed = address.replace(TRAILING, "");
  // The ")" is removed in "(see http://a/b)", and kept in "http://a/b_(c)".
  const closes = trimmed.endsWith(")") && !trimmed.includes("(");
  return closes ? trim(trimmed.slice(0, -1)) : trimmed;
}

function checked(written) {
  try {
    const url = new URL(written);
    return ["http:", "https:"].includes(url.protocol) ? url : null;
  } catch {
    return null;
  }
}

function link(url, written) {
  const anchor = document.createElement("a");
  anchor.href = url.href;
  anchor.rel = "noopener noreferrer nofollow";
  anchor.target = "_blank";
  anchor.textContent = written;
  return anchor;
}
