import { createConnection, type Socket } from "node:net";
import { step } from "../lib/steps.ts";
import { cutFrame, encodeFrame, FRAME_HEADER, FRAME_MAX, type Frame, REPLY } from "../lib/wire.ts";
import { nextSeq } from "./connection.ts";
import { lost, MonitorError } from "./monitor-error.ts";
import { decodeError, encodeHello, MESSAGE } from "./protocol.ts";
import type { Endpoint } from "./session.ts";
import { type DialRequest, encodeDial } from "./stream-protocol.ts";

const GRACE_MS = 5_000;

/**
 * A connection to a TCP port, which the monitor relays; each half closes by itself. Its owner destroys it. Throws
 * `MonitorError`: SYSCALL with the errno when nobody takes it, TIMEOUT.
 */
export async function dial(endpoint: Endpoint, request: DialRequest, signal: AbortSignal): Promise<Socket> {
  signal.throwIfAborted();
  const what = `NET_CONNECT ${request.port}`;
  const socket = createConnection({ path: endpoint.socketPath, allowHalfOpen: true });
  socket.on("error", () => undefined); // its owner hears of it, too; it must not end the process before there is one
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const stop = readFrames(socket, (frame) => {
    if (frame.isError) reject(new MonitorError(what, decodeError(frame.payload)));
    else if (frame.type === (MESSAGE.netConnect | REPLY)) resolve();
    return frame.isError || frame.type === (MESSAGE.netConnect | REPLY);
  });
  const abort = (): void => reject(signal.reason instanceof Error ? signal.reason : lost(what, "aborted"));
  const close = (): void => reject(lost(what, "the connection broke"));
  const timer = setTimeout(() => reject(lost(what, "no answer in time")), request.deadlineMs + GRACE_MS);
  signal.addEventListener("abort", abort, { once: true });
  for (const event of ["end", "close"]) socket.once(event, close);
  try {
    socket.write(encodeFrame(MESSAGE.hello, nextSeq(), encodeHello(endpoint.epoch, "data")));
    socket.write(encodeFrame(MESSAGE.netConnect, nextSeq(), encodeDial(request)));
    step("sent", what);
    await promise;
    step("received", what);
    return socket;
  } catch (error) {
    socket.destroy();
    throw error;
  } finally {
    stop();
    clearTimeout(timer);
    signal.removeEventListener("abort", abort);
    for (const event of ["end", "close"]) socket.off(event, close);
  }
}

/** Hands on frames until one of them was the last; what follows that is left to be read. Returns how to stop before. */
function readFrames(socket: Socket, isLast: (frame: Frame) => boolean): () => void {
  let waiting: Buffer = Buffer.alloc(0);
  const readable = (): void => {
    for (let chunk: Buffer | null = socket.read(); chunk !== null; chunk = socket.read()) {
      waiting = Buffer.concat([waiting, chunk]);
      for (let frame = cutFrame(waiting); frame !== undefined; frame = cutFrame(waiting)) {
        waiting = waiting.subarray(FRAME_HEADER + frame.payload.length);
        if (!isLast(frame)) continue;
        socket.off("readable", readable);
        if (waiting.length > 0) socket.unshift(waiting);
        return;
      }
      if (waiting.length > FRAME_HEADER + FRAME_MAX) socket.destroy();
    }
  };
  socket.on("readable", readable);
  return () => socket.off("readable", readable);
}
