import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Frame, FrameReader } from "./wire.ts";

const folder = join(import.meta.dirname, "../../conformance/fixtures");

/** A frame that a daemon of an earlier version sent (`>`) or received (`<`), in the order of the conversation. */
export interface RecordedFrame {
  /** Which connection: its frames have one sequence of requests and replies. */
  readonly connection: string;
  readonly direction: ">" | "<";
  readonly frame: Frame;
  /** For messages of tests. */
  readonly name: string;
}

/** `v1` and what was recorded since. Never none. */
export function recordedVersions(): readonly string[] {
  const versions = readdirSync(folder).filter((name) => /^v\d+$/.test(name));
  assert.ok(versions.length > 0, `nothing is recorded in ${folder}`);
  return versions;
}

/** What a version's daemon and its launcher or monitors said to each other. Never nothing. */
export function recordedFrames(version: string, peer: "launcher" | "monitor"): readonly RecordedFrame[] {
  const lines = readFileSync(join(folder, version, `${peer}.frames`), "utf8")
    .split("\n")
    .filter(Boolean);
  assert.ok(lines.length > 0, `nothing is recorded of ${peer} ${version}`);
  return lines.map((line, index) => {
    const [connection = "", direction, hex = ""] = line.split(" ");
    assert.ok(direction === ">" || direction === "<", line);
    const reader = new FrameReader();
    const [frame, ...others] = reader.push(Buffer.from(hex, "hex"));
    assert.ok(frame !== undefined && others.length === 0 && frame.payload.length * 2 === hex.length - 32, line);
    const name = `${version}/${peer}.frames:${index + 1}, type 0x${frame.type.toString(16)}`;
    return { connection, direction, frame, name };
  });
}

/** Where the state database of a version is. Not to be opened there: copy it. */
export function recordedState(version: string): string {
  return join(folder, version, "state.db");
}

/** Decodes a payload and makes sure that no byte of it was left unread. */
export function decodedWhole<T>(decode: (payload: Buffer) => T, payload: Buffer, name: string): T {
  const value = decode(payload);
  if (payload.length > 0) assert.throws(() => decode(payload.subarray(0, -1)), { name: "WireError" }, name);
  return value;
}
