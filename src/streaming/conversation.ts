import { type Asked, commandOf, type PortForwardAsked } from "./asked.ts";
import { runCommand } from "./command.ts";
import type { Ending } from "./ending.ts";
import { headerValues, negotiateSpdy, negotiateWebSocket } from "./negotiation.ts";
import { Refusal } from "./refusal.ts";
import { SocketTransport } from "./socket-transport.ts";
import { commandProtocols, SpdyCommand } from "./spdy/spdy-command.ts";
import { SpdyConnection } from "./spdy/spdy-connection.ts";
import { portForwardProtocol, SpdyPortForward } from "./spdy/spdy-port-forward.ts";
import type { Transport } from "./transport.ts";
import type { Surroundings, Upgrade } from "./upgrade.ts";
import { acceptWebSocket } from "./websocket/accept.ts";
import {
  type ChannelProtocol,
  commandChannels,
  portForwardChannels,
  tunnelProtocol,
} from "./websocket/channel-protocol.ts";
import { WebSocketCommand } from "./websocket/websocket-command.ts";
import { MAX_FORWARDED_PORTS, WebSocketPortForward } from "./websocket/websocket-port-forward.ts";
import { WebSocketTransport } from "./websocket/websocket-transport.ts";

/** How a conversation has ended; for the log. */
type Outcome = Ending | { readonly kind: "closed" };

/**
 * Agrees with the client on a protocol and carries out what it asked for. Resolves when that has ended; the last bytes may
 * still be under way. Throws a Refusal as long as nothing was agreed.
 */
export async function converse(asked: Asked, upgrade: Upgrade, surroundings: Surroundings): Promise<Outcome> {
  const upgradeTo = upgrade.request.headers.upgrade?.toLowerCase();
  if (upgradeTo === "websocket") return await overWebSocket(asked, upgrade, surroundings);
  if (upgradeTo === "spdy/3.1") return await overSocket(asked, upgrade, surroundings);
  throw new Refusal(400, "expected an upgrade to SPDY/3.1 or websocket");
}

async function overSocket(asked: Asked, upgrade: Upgrade, surroundings: Surroundings): Promise<Outcome> {
  const { request, socket, head } = upgrade;
  const offered = headerValues(request.headersDistinct["x-stream-protocol-version"]);
  const served = asked.kind === "portforward" ? [portForwardProtocol] : commandProtocols;
  const protocol = negotiateSpdy(offered, served);
  const answer = ["Connection: Upgrade", "Upgrade: SPDY/3.1", `X-Stream-Protocol-Version: ${protocol}`];
  socket.write(`HTTP/1.1 101 Switching Protocols\r\n${answer.join("\r\n")}\r\n\r\n`);
  const transport = new SocketTransport(socket, head, surroundings.idleMs);
  if (asked.kind === "portforward") return await spdyPortForward(asked, transport, surroundings);
  return await spdyCommand(asked, protocol, transport, surroundings);
}

async function overWebSocket(asked: Asked, upgrade: Upgrade, surroundings: Surroundings): Promise<Outcome> {
  const offered = headerValues(upgrade.request.headersDistinct["sec-websocket-protocol"]);
  const channels = asked.kind === "portforward" ? portForwardChannels : commandChannels;
  const tunnel = asked.kind === "portforward" ? [tunnelProtocol] : [];
  const protocol = negotiateWebSocket(offered, [...Object.keys(channels), ...tunnel]);
  const ports = asked.kind === "portforward" && protocol !== tunnelProtocol ? portsOf(asked, upgrade) : [];
  const webSocket = acceptWebSocket(upgrade, protocol);
  const messages = channels[protocol];
  const options = { isText: messages?.isBase64 ?? false, idleMs: surroundings.idleMs };
  const transport = new WebSocketTransport(webSocket, upgrade.socket, options);
  if (asked.kind !== "portforward") return await webSocketCommand(asked, messages, transport, surroundings);
  if (messages === undefined) return await spdyPortForward(asked, transport, surroundings);
  return await webSocketPortForward(asked, ports, messages, transport, surroundings);
}

async function spdyCommand(
  asked: Exclude<Asked, PortForwardAsked>,
  protocol: string,
  transport: Transport,
  { runtime, creationMs, life }: Surroundings,
): Promise<Outcome> {
  const command = commandOf(asked, runtime);
  const channels = new SpdyCommand(command.choice, protocol, (reason) => life.abort(reason));
  const connection = new SpdyConnection(transport, channels);
  transport.start(connection);
  try {
    await channels.complete(creationMs, life.signal);
    return await runCommand(channels, command, life.signal);
  } finally {
    connection.close();
  }
}

async function spdyPortForward(
  asked: PortForwardAsked,
  transport: Transport,
  { runtime, creationMs, life }: Surroundings,
): Promise<Outcome> {
  const dial = (port: number, signal: AbortSignal) => runtime.dial(asked.sandboxId, port, signal);
  const gone = (reason: Error) => life.abort(reason);
  const connection = new SpdyConnection(transport, new SpdyPortForward({ dial, creationMs, gone }, life.signal));
  transport.start(connection);
  await aborted(life.signal);
  connection.close();
  return { kind: "closed" };
}

async function webSocketCommand(
  asked: Exclude<Asked, PortForwardAsked>,
  protocol: ChannelProtocol | undefined,
  transport: WebSocketTransport,
  { runtime, life }: Surroundings,
): Promise<Outcome> {
  if (protocol === undefined) throw new Error("a protocol without channels was agreed on");
  const command = commandOf(asked, runtime);
  const channels = new WebSocketCommand(transport, command.choice, protocol, (reason) => life.abort(reason));
  transport.start(channels);
  channels.greet();
  return await runCommand(channels, command, life.signal);
}

async function webSocketPortForward(
  asked: PortForwardAsked,
  ports: readonly number[],
  protocol: ChannelProtocol,
  transport: WebSocketTransport,
  { runtime, life }: Surroundings,
): Promise<Outcome> {
  const gone = (reason: Error) => life.abort(reason);
  const forwards = new WebSocketPortForward(transport, ports, protocol, gone);
  transport.start(forwards);
  await forwards.run((port, signal) => runtime.dial(asked.sandboxId, port, signal), life.signal);
  return { kind: "closed" };
}

/** Those of the call, else those of the URL's query. */
function portsOf({ ports: called }: PortForwardAsked, { request }: Upgrade): readonly number[] {
  const { searchParams } = new URL(request.url ?? "", "http://nowhere");
  const ports = called.length > 0 ? called : searchParams.getAll("port").flatMap((list) => list.split(",").map(Number));
  const areValid = ports.every((port) => Number.isInteger(port) && port > 0 && port <= 0xffff);
  if (ports.length > 0 && ports.length <= MAX_FORWARDED_PORTS && areValid) return ports;
  throw new Refusal(400, `port: expected 1 to ${MAX_FORWARDED_PORTS} ports, as in ?port=80`);
}

function aborted(signal: AbortSignal): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  if (signal.aborted) resolve();
  else signal.addEventListener("abort", () => resolve(), { once: true });
  return promise;
}
