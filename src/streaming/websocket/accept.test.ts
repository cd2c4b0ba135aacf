import assert from "node:assert/strict";
import { once } from "node:events";
import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import { Duplex } from "node:stream";
import { it } from "node:test";
import { acceptWebSocket, messageLimits } from "./accept.ts";

/** A connection on which each piece is read as it was given. */
class Pieces extends Duplex {
  override _read(): void {}
  override _write(_chunk: Buffer, _encoding: string, done: () => void): void {
    done();
  }
}

function accepted() {
  const pieces = new Pieces();
  const headers = { upgrade: "websocket", "sec-websocket-version": "13", "sec-websocket-key": `${"A".repeat(22)}==` };
  const request = { method: "GET", headers } as unknown as IncomingMessage;
  const webSocket = acceptWebSocket({ request, socket: pieces as unknown as Socket, head: Buffer.alloc(0) }, "");
  return { pieces, webSocket };
}

/** Masked with zeros. `first`: flags and opcode. */
const frame = (first: number, length: number) => Buffer.from([first, 0x80 | 127, ...words(0, length), ...words(0)]);
const words = (...values: readonly number[]) =>
  values.flatMap((value) => [value >>> 24, value >>> 16, value >>> 8, value]);

it("does not collect a message that comes byte by byte: each would cost a kilobyte", async () => {
  const { pieces, webSocket } = accepted();
  const failed = once(webSocket, "error");
  pieces.push(frame(0x82, 1 << 20));
  for (let count = 0; count <= messageLimits.maxBufferedChunks; count += 1) pieces.push(Buffer.alloc(1));
  assert.match(String(await failed), /RangeError: Too many buffered chunks/);
  webSocket.terminate();
});

it("does not collect a message of more fragments than any client makes", async () => {
  const { pieces, webSocket } = accepted();
  const failed = once(webSocket, "error");
  const next = Buffer.concat([frame(0, 1), Buffer.alloc(1)]);
  pieces.push(Buffer.concat([frame(2, 1), Buffer.alloc(1), ...Array(messageLimits.maxFragments).fill(next)]));
  assert.match(String(await failed), /RangeError: Too many message fragments/);
  webSocket.terminate();
});
