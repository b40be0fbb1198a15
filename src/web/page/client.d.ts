// Types of client.js, the client of chinwag's JSON protocol.

export interface RoomOptions {
  /** Number of earlier messages that the first `history` event shows. Default: 0. */
  history?: number;
  /** Whether the client's own messages are `message` events, too. Default: false. */
  echo?: boolean;
  /** A `position` of an earlier visit: the messages since then come as `message` events. */
  since?: string;
}

export interface Options extends RoomOptions {
  /** Address of the server's chat page. Default: the server that has sent client.js. */
  url?: string | URL;
  /** A room that the client enters at once. */
  room?: string;
  /** The name that the client asks for. Without one the server gives a guest name. */
  name?: string;
  token?: string;
  /** Returns a token before each connection, and when the server says that the last one expires. */
  getToken?: () => string | Promise<string>;
}

/** "connecting" lasts until the server's welcome; "waiting" until the next attempt; "closed" until `open`. */
export type State = "idle" | "connecting" | "open" | "waiting" | "closed";

/** A message of the history. */
export interface Said {
  from: string;
  text?: string;
  data?: unknown;
  seq: number;
  /** Milliseconds since 1970. */
  at: number;
  me?: true;
  by?: string;
  via?: string;
  /** With several processes: the same for a message that was first sent without a number. */
  uid?: string;
}

/** An object of the server. Its other fields depend on its `type`. */
export interface ServerObject {
  type: string;
  id?: string | number;
  [field: string]: unknown;
}

export interface Joined {
  type: "joined";
  room: string;
  name: string;
  count: number;
  by: string;
  /** Only if this client has joined. */
  epoch?: string;
  seq?: number;
}

/** Names of events, and their objects. Other objects of the server are events of their `type`. */
export interface Events {
  /** Each message of a room once, in order, those included that came while the client was disconnected. */
  message: Said & { type: "message"; room: string };
  /** The messages before the client joined, if it asked for them with `history`. */
  history: { type: "history"; room: string; epoch: string; messages: Said[] };
  joined: Joined;
  left: { type: "left"; room: string; name: string; count: number; by: string; reason?: string };
  /** The client is in the room and has emitted what it missed; later messages come as they are sent. */
  ready: { type: "ready"; room: string };
  /** Messages were lost; without `count` the number is not known, and the sequence numbers are of another epoch. */
  missed: { type: "missed"; room?: string; count?: number };
  private: { type: "private"; from: string; text: string; by?: string; to?: string };
  /** An error of the server, or `no_connection` if there was no token or the address is invalid. */
  error: { type: "error"; code: string; text: string };
  /** `code` is the WebSocket close code, `retryAt` in milliseconds since 1970. */
  state: { type: "state"; state: State; reason: string; retryAt: number; code?: number };
  welcome: { type: "welcome"; id: string; name: string };
  /** Each object of the server, before it is used. */
  raw: ServerObject;
}

/** The error of a request: `code` is one of the protocol's, `closed` without a connection, or `left`. */
export interface Refusal extends Error {
  code: string;
}

/** Connects, and reconnects after each break except a good-bye or a removal by the server. */
export function connect(options?: Options): Client;

/** Events carry their object as `detail`. */
export class Client extends EventTarget {
  /** Like `connect`, but the connection begins with `open`. */
  constructor(options?: Options);
  readonly state: State;
  /** Reason of the last end of a connection. */
  readonly reason: string;
  /** Time of the next attempt in milliseconds since 1970, while "waiting". */
  readonly retryAt: number;
  /** Id of this connection, which is the `by` of its messages. Null before the first welcome. */
  readonly id: string | null;
  /** The name that each connection asks for. */
  name: string;

  /** Calls `act` with the object of each event of that type. */
  on<T extends keyof Events>(type: T, act: (event: Events[T]) => void): this;
  on(type: string, act: (event: ServerObject) => void): this;
  /** Connects. A pending attempt is made at once. */
  open(): Promise<void>;
  /** Ends the connection for good, unless `open` is called. */
  close(): void;

  /** Enters a room now and in each later connection. */
  join(room: string, options?: RoomOptions): Promise<Joined>;
  /** The default room of this and the methods below is the first one. */
  leave(room?: string): Promise<unknown>;
  say(text: string, room?: string): Promise<Events["message"]>;
  /** Says a text in the third person. */
  me(text: string, room?: string): Promise<Events["message"]>;
  /** Sends any JSON value as a message. */
  send(data: unknown, room?: string): Promise<Events["message"]>;
  tell(to: string, text: string): Promise<Events["private"]>;
  /** Sends a request with an `id`. The promise ends with the answer, or a `Refusal`; it may be ignored. */
  request(type: string, fields?: object): Promise<ServerObject>;
  /** Sends an object without waiting for an answer. Returns false if there is no connection. */
  post(object: object): boolean;

  /** Position of the last message of a room, for `since`. */
  position(room?: string): string | undefined;
  /** Whether this client has sent the message, in this connection or an earlier one. */
  isOwn(message: { by?: string }): boolean;
}
