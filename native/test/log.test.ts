/** The format of logs against a few lines that say the same, for text and pieces of all kinds. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempDisposableSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";

const native = join(import.meta.dirname, "..");
const driver = join(native, "../build/native/log-driver");
const PIECE = 16_384;
const ROUNDS = 60;

execFileSync("make", ["-s", "-C", native, "log-driver"]);

interface Piece {
  readonly stream: "stdout" | "stderr";
  readonly text: Buffer;
}

/** What a log holds of a stream that says this, without the times. */
function reference(stream: string, text: Buffer): string[] {
  const records: string[] = [];
  const lines = text.toString("latin1").split("\n");
  const last = lines.pop() ?? "";
  const cut = (line: string): string => {
    let rest = line;
    for (; rest.length > PIECE; rest = rest.slice(PIECE)) records.push(`${stream} P ${rest.slice(0, PIECE)}`);
    return rest;
  };
  for (const line of lines) records.push(`${stream} F ${cut(line)}`);
  const end = cut(last);
  if (end !== "") records.push(`${stream} P ${end}`);
  return records;
}

function log(pieces: readonly Piece[]): string[] {
  using dir = mkdtempDisposableSync(join(tmpdir(), "log-"));
  const path = join(dir.path, "0.log");
  const input = pieces.map(({ stream, text }) => {
    const head = Buffer.from([0, stream === "stdout" ? 1 : 2, 0, 0, 0, 0]);
    head.writeUInt32LE(text.length, 2);
    return Buffer.concat([head, text]);
  });
  execFileSync(driver, [path], { input: Buffer.concat(input), maxBuffer: 1 << 20 });
  if (pieces.every(({ text }) => text.length === 0)) return [];
  const raw = readFileSync(path, "latin1");
  rmSync(path);
  assert.ok(raw.endsWith("\n"));
  return raw
    .slice(0, -1)
    .split("\n")
    .map((record) => {
      assert.match(record, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z std(out|err) [FP] /);
      assert.ok(record.length <= 40 + PIECE);
      return record.slice(31);
    });
}

/** A small generator (Lehmer): the same text in each run. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
}

/** Lines of lengths that matter, of any bytes. */
function someText(next: (below: number) => number): Buffer {
  const lengths = [() => 0, () => next(200), () => PIECE - 2 + next(5), () => next(3 * PIECE)];
  const parts: Buffer[] = [];
  for (let i = next(30); i >= 0; i--) {
    const line = Buffer.alloc(lengths[next(lengths.length)]?.() ?? 0);
    for (let at = 0; at < line.length; at++) line[at] = (next(256) + 11) % 256 || 7;
    for (let at = line.indexOf(10); at >= 0; at = line.indexOf(10)) line[at] = 0;
    parts.push(line, Buffer.from(next(4) === 0 ? "" : "\n"));
  }
  return Buffer.concat(parts);
}

function inPieces(stream: Piece["stream"], text: Buffer, next: (below: number) => number): Piece[] {
  const pieces: Piece[] = [];
  const most = [1, 40, 5_000, 200_000][next(4)] ?? 1;
  const all = most === 1 ? text.subarray(0, 500) : text;
  for (let at = 0; at < all.length; ) {
    const length = 1 + next(most);
    pieces.push({ stream, text: all.subarray(at, at + length) });
    at += length;
  }
  return most === 1 ? [...pieces, { stream, text: text.subarray(500) }] : pieces;
}

describe("the format of a log", () => {
  it("is that of the reference, whatever the pieces in which text comes", () => {
    const next = numbers(1);
    for (let round = 0; round < ROUNDS; round++) {
      const text = someText(next);
      const expected = reference("stdout", text);
      for (let i = 0; i < 2; i++) assert.deepEqual(log(inPieces("stdout", text, next)), expected, `round ${round}`);
    }
  });

  it("gives back what was said, on both streams at once", () => {
    const next = numbers(2);
    for (let round = 0; round < ROUNDS / 4; round++) {
      const [out, err] = [someText(next), someText(next)];
      const [a, b] = [inPieces("stdout", out, next), inPieces("stderr", err, next)];
      const mixed: Piece[] = [];
      while (a.length + b.length > 0) mixed.push(...(next(2) === 0 ? a : b).splice(0, 1));
      const records = log(mixed);
      for (const [stream, text] of [
        ["stdout", out],
        ["stderr", err],
      ] as const) {
        const own = records.filter((record) => record.startsWith(stream));
        assert.deepEqual(own, reference(stream, text), `round ${round}`);
        const said = own.map((record) => record.slice(9) + (record[7] === "F" ? "\n" : "")).join("");
        assert.equal(said, text.toString("latin1"));
      }
    }
  });
});
