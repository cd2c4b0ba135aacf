/** How messages of one sub-protocol are written. */
export interface ChannelProtocol {
  /** The channel is a digit and the rest base64; otherwise a byte and bytes. */
  readonly isBase64: boolean;
  /** The error channel tells a `Status`; otherwise a text, and nothing when all went well. */
  readonly hasStatus: boolean;
  /** Message 255 ends the channel that it names. */
  readonly hasClose: boolean;
}

const bytes: ChannelProtocol = { isBase64: false, hasStatus: false, hasClose: false };
const base64: ChannelProtocol = { ...bytes, isBase64: true };

/** What exec and attach speak over WebSocket, by sub-protocol; "": a client that names none. */
export const commandChannels: Readonly<Record<string, ChannelProtocol>> = {
  "": bytes,
  "channel.k8s.io": bytes,
  "base64.channel.k8s.io": base64,
  "v4.channel.k8s.io": { ...bytes, hasStatus: true },
  "v4.base64.channel.k8s.io": { ...base64, hasStatus: true },
  "v5.channel.k8s.io": { ...bytes, hasStatus: true, hasClose: true },
};

/** What port-forward speaks over WebSocket, apart from a tunnel. */
export const portForwardChannels: Readonly<Record<string, ChannelProtocol>> = {
  "": bytes,
  "v4.channel.k8s.io": bytes,
  "v4.base64.channel.k8s.io": base64,
};

/** A whole SPDY connection in binary messages. */
export const tunnelProtocol = "SPDY/3.1+portforward.k8s.io";

/** Numbers of an exec's and attach's channels. */
export const channel = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4, close: 255 } as const;

export interface ChannelMessage {
  readonly channel: number;
  readonly data: Buffer;
}

const ZERO = "0".charCodeAt(0);

/** One message; it is a copy of the data, because not all clients put the fragments of a message together. */
export function encodeMessage({ isBase64 }: ChannelProtocol, number: number, data: Buffer): Buffer {
  if (isBase64) return Buffer.from(String.fromCharCode(ZERO + number) + data.toString("base64"), "latin1");
  const message = Buffer.allocUnsafe(1 + data.length);
  message[0] = number;
  data.copy(message, 1);
  return message;
}

/** Undefined for an empty message. Any other is one: what is no base64 in it is passed over. */
export function decodeMessage({ isBase64 }: ChannelProtocol, message: Buffer): ChannelMessage | undefined {
  const [first] = message;
  if (first === undefined) return undefined;
  if (!isBase64) return { channel: first, data: message.subarray(1) };
  return { channel: first - ZERO, data: Buffer.from(message.toString("latin1", 1), "base64") };
}
