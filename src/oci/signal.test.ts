import assert from "node:assert/strict";
import { test } from "node:test";
import { DomainError } from "../lib/errors.ts";
import { canonicalSignal, parseSignal, signalFromCri, signalName } from "./signal.ts";

test("reads names with and without prefix, numbers and real-time offsets", () => {
  const cases: readonly [string, number][] = [
    ["SIGTERM", 15],
    ["term", 15],
    [" 15 ", 15],
    ["SIGIOT", 6],
    ["SIGRTMIN", 34],
    ["SIGRTMIN+3", 37],
    ["rtmax-2", 62],
    ["SIGRTMAX", 64],
    ["37", 37],
  ];
  for (const [text, number] of cases) assert.equal(parseSignal(text), number, text);
});

test("refuses what is not a signal", () => {
  for (const text of [
    "",
    "0",
    "65",
    "SIG",
    "SIGNOPE",
    "SIGRTMIN+31",
    "SIGRTMIN-1",
    "SIGRTMAX+1",
    "toString",
    "-9",
    "1.5",
  ]) {
    assert.throws(() => parseSignal(text), DomainError, JSON.stringify(text));
  }
});

test("names every number so that it reads back the same", () => {
  for (const number of [...Array(65).keys()].filter((n) => (n > 0 && n < 32) || n > 33)) {
    assert.equal(parseSignal(signalName(number)), number);
  }
  assert.equal(canonicalSignal("37"), "SIGRTMIN+3");
  assert.throws(() => signalName(32), DomainError);
});

test("understands the CRI's enum in both of its spellings", () => {
  assert.equal(signalFromCri("SIGNAL_SIGRTMINPLUS3"), "SIGRTMIN+3");
  assert.equal(signalFromCri("SIGRTMAXMINUS14"), "SIGRTMAX-14");
  assert.equal(signalFromCri("SIGKILL"), "SIGKILL");
  assert.equal(signalFromCri("RUNTIME_DEFAULT"), "");
  assert.equal(signalFromCri("SIGNAL_RUNTIME_DEFAULT"), "");
  assert.throws(() => signalFromCri("SIGNAL_NONE"), DomainError);
});
