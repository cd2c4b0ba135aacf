/** Messages that carry streams: attach, streaming exec, connections to a port. native/README.md is their specification. */

import { PayloadReader, PayloadWriter } from "../lib/wire.ts";
import { OUTCOMES, type Outcome, type PipeOwner, putOwner, type RuntimeCall } from "./protocol.ts";

/** Which streams are carried. With a terminal all output is stdout. */
export interface StreamChoice {
  readonly stdin: boolean;
  readonly stdout: boolean;
  readonly stderr: boolean;
}

export interface ExecStreamRequest extends RuntimeCall, StreamChoice {
  /** The runtime is given "@console" then. */
  readonly terminal: boolean;
  /** In characters; 0: not known yet. */
  readonly width: number;
  readonly height: number;
  /** The OCI process document, for "@process". */
  readonly process: Buffer;
  readonly owner?: PipeOwner;
}

export interface StreamExit {
  readonly outcome: Outcome;
  /** The exit code or the signal, as `outcome` says. */
  readonly status: number;
}

export interface DialRequest {
  /** Absolute path of a network namespace; empty: the monitor's own. */
  readonly netns: string;
  readonly port: number;
  readonly deadlineMs: number;
}

export function encodeExecStream(id: string, request: ExecStreamRequest): Buffer {
  const writer = new PayloadWriter().str(id).u32(request.deadlineMs);
  writer
    .u8(streamBits(request) | (request.terminal ? 8 : 0))
    .u16(request.width)
    .u16(request.height)
    .strings(request.argv)
    .strings(request.env)
    .bytes(request.process);
  return putOwner(writer, request.owner).done();
}

export function encodeAttach(id: string, streams: StreamChoice): Buffer {
  return new PayloadWriter().str(id).u8(streamBits(streams)).done();
}

export function encodeResize(width: number, height: number): Buffer {
  return new PayloadWriter().u16(width).u16(height).done();
}

export function encodeInput(data: Buffer): Buffer {
  return new PayloadWriter().bytes(data).done();
}

export function encodeDial({ netns, port, deadlineMs }: DialRequest): Buffer {
  return new PayloadWriter().str(netns).u16(port).u32(deadlineMs).done();
}

export function decodeStreamExit(payload: Buffer): StreamExit {
  const r = new PayloadReader(payload);
  return { outcome: OUTCOMES[r.u8()] ?? "cancelled", status: r.i32() };
}

export function decodeGap(payload: Buffer): { readonly stream: "stdout" | "stderr"; readonly lostBytes: bigint } {
  const r = new PayloadReader(payload);
  return { stream: r.u8() === 2 ? "stderr" : "stdout", lostBytes: r.u64() };
}

function streamBits({ stdin, stdout, stderr }: StreamChoice): number {
  return (stdin ? 1 : 0) | (stdout ? 2 : 0) | (stderr ? 4 : 0);
}
