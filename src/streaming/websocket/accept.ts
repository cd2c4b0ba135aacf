import { type WebSocket, WebSocketServer } from "ws";
import { Refusal } from "../refusal.ts";
import { LINGER_MS } from "../transport.ts";
import type { Upgrade } from "../upgrade.ts";

/**
 * A message is collected before it is handed on. Each piece that was read costs a kilobyte, however short it is: clients
 * write some 32 KiB, cut into frames of 4 KiB at most.
 */
export const messageLimits = { maxPayload: 4 * 1024 * 1024, maxFragments: 4_096, maxBufferedChunks: 4_096 };

/** From the farewell on; the library's types do not know it yet. */
const farewell = { closeTimeout: LINGER_MS };

/** Completes the handshake with this sub-protocol; "" for none. Throws a Refusal (400) for a malformed one. */
export function acceptWebSocket({ request, socket, head }: Upgrade, protocol: string): WebSocket {
  // One for each: it holds nothing but these options, and the library has no other place for the answer's headers.
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    ...messageLimits,
    autoPong: false,
    ...farewell,
    // Texts are base64, or bytes of clients that call everything text.
    skipUTF8Validation: true,
  });
  // The library refuses names with a slash, and Kubernetes' tunnel has one: it neither sees what is offered nor chooses.
  delete request.headers["sec-websocket-protocol"];
  server.on("headers", (headers) => {
    if (protocol !== "") headers.push(`Sec-WebSocket-Protocol: ${protocol}`);
  });
  let refusal: Refusal | undefined;
  server.on("wsClientError", (error) => {
    refusal = new Refusal(400, error.message);
  });
  let accepted: WebSocket | undefined;
  server.handleUpgrade(request, socket, head, (webSocket) => {
    accepted = webSocket;
  });
  if (accepted !== undefined) return accepted;
  throw refusal ?? new Refusal(400, "the connection is no longer there");
}
