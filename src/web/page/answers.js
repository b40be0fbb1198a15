// Texts for the server's answers about accounts, clients, topics and bans.

const MINUTE_SECONDS = 60;
const HOUR_SECONDS = 60 * MINUTE_SECONDS;
const DAY_SECONDS = 24 * HOUR_SECONDS;

const clock = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });

/** The lines that show the answer to a command. */
export function answerLines(event) {
  switch (event.type) {
    case "whois":
      return [`${event.name}: ${whoisFacts(event).map(([label, text]) => `${label} ${text}`).join(", ")}`];
    case "login":
      return [`You are logged in as ${event.name} (${event.role})`];
    case "topic":
      return [topicLine(event.text)];
    case "bans":
      return banLines(event);
    default:
      return [String(event.text ?? "")];
  }
}

/** The facts of a `whois` answer, as pairs of a label and a text. */
export function whoisFacts({ account, role, away, connected, idle, address }) {
  const facts = [["Account", account ? `${account} (${role ?? "user"})` : "none, a guest"]];
  if (Number.isFinite(connected)) facts.push(["Here since", clock.format(Date.now() - connected * 1000)]);
  if (Number.isFinite(idle)) facts.push(["Idle for", duration(idle)]);
  if (away) facts.push(["Away", String(away)]);
  if (address) facts.push(["Address", String(address)]);
  return facts;
}

/** The line for a topic. `by` is the name of the client that has just set it, or null. */
export function topicLine(topic, by = null) {
  if (by) return topic ? `${by} has set the topic: ${topic}` : `${by} has removed the topic`;
  return topic ? `The topic is: ${topic}` : "There is no topic";
}

function banLines({ bans, count }) {
  if (!Array.isArray(bans) || bans.length === 0) return ["Nobody is banned"];
  const lines = bans.map(({ target, by, reason, until }) => {
    const end = Number.isFinite(until) ? `until ${clock.format(until)}` : "until a moderator lifts it";
    return `${target} is banned by ${by} ${end}${reason ? `: ${reason}` : ""}`;
  });
  return count > bans.length ? [...lines, `and ${count - bans.length} more`] : lines;
}

function duration(seconds) {
  if (seconds < 2 * MINUTE_SECONDS) return `${seconds} s`;
  if (seconds < 2 * HOUR_SECONDS) return `${Math.floor(seconds / MINUTE_SECONDS)} min`;
  if (seconds < 2 * DAY_SECONDS) return `${Math.floor(seconds / HOUR_SECONDS)} h`;
  return `${Math.floor(seconds / DAY_SECONDS)} days`;
}
