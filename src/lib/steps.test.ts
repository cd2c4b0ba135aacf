import assert from "node:assert/strict";
import { subscribe, unsubscribe } from "node:diagnostics_channel";
import { it } from "node:test";
import { step } from "./steps.ts";

it("tells a listener of each step, in order and before the next line runs", () => {
  const seen: unknown[] = [];
  const listener = (message: unknown) => void seen.push(message);
  subscribe("nacelle.step", listener);
  step("sent", "START");
  assert.equal(seen.length, 1);
  step("commit", () => "1 change");
  unsubscribe("nacelle.step", listener);
  step("received", "EXIT");
  assert.deepEqual(seen, [
    { kind: "sent", detail: "START" },
    { kind: "commit", detail: "1 change" },
  ]);
});

it("does not even make the text when nobody listens", () => {
  step("commit", () => assert.fail("made a text for nobody"));
});
