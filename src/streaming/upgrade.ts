import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Runtime } from "./runtime.ts";

/** A request to change the protocol, and the connection that it came on. */
export interface Upgrade {
  readonly request: IncomingMessage;
  readonly socket: Socket;
  /** What was read behind the request. */
  readonly head: Buffer;
}

/** What one conversation with a client works with. */
export interface Surroundings {
  readonly runtime: Runtime;
  readonly idleMs: number;
  readonly creationMs: number;
  /** Ends the conversation: aborted when the client goes, or by the server. */
  readonly life: AbortController;
}
