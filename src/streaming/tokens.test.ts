import assert from "node:assert/strict";
import { it } from "node:test";
import { DomainError } from "../lib/errors.ts";
import { Tokens, tokenPattern } from "./tokens.ts";

it("gives what a token stands for once", () => {
  const tokens = new Tokens<string>(() => 0);
  const token = tokens.issue("a");
  assert.match(token, new RegExp(`^${tokenPattern}$`));
  assert.equal(tokens.take(token), "a");
  assert.equal(tokens.take(token), undefined);
  assert.equal(tokens.take("nonsense"), undefined);
});

it("forgets a token after a minute", () => {
  let nowMs = 0;
  const tokens = new Tokens<string>(() => nowMs);
  const [early, late] = [tokens.issue("a"), tokens.issue("b")];
  nowMs = 59_999;
  assert.equal(tokens.take(early), "a");
  nowMs = 60_000;
  assert.equal(tokens.take(late), undefined);
});

it("holds a thousand, and makes room for new ones by time and by use", () => {
  let nowMs = 0;
  const tokens = new Tokens<number>(() => nowMs);
  const issued = Array.from({ length: 1_000 }, (_, index) => tokens.issue(index));
  assert.equal(new Set(issued).size, 1_000);
  const isFull = (error: unknown) => error instanceof DomainError && error.kind === "resourceExhausted";
  assert.throws(() => tokens.issue(1_000), isFull);
  assert.equal(tokens.take(issued[500] ?? ""), 500);
  const last = tokens.issue(1_000);
  assert.throws(() => tokens.issue(1_001), isFull);
  nowMs = 60_000;
  tokens.issue(1_001);
  assert.equal(tokens.take(last), undefined);
});
