import assert from "node:assert/strict";
import { it } from "node:test";
import { health } from "./health.ts";

it("a server is well when its state and its launcher answer, and says all that does not", async () => {
  const store = { durable: async () => {} };
  const launcher = { problem: "", current: Promise.resolve({ unwatch: async () => {} }) };
  await health({ store, launcher });
  const full = { durable: () => Promise.reject(new Error("no space left in /var/lib/nacelle")) };
  const dead = { ...launcher, problem: "the launcher died (SIGKILL) and is being started again" };
  await assert.rejects(health({ store: full, launcher: dead }), {
    kind: "unavailable",
    message: "no space left in /var/lib/nacelle; the launcher died (SIGKILL) and is being started again",
  });
  const never = new Promise<void>(() => {});
  const hung = { problem: "", current: Promise.resolve({ unwatch: () => never }) };
  await assert.rejects(health({ store: { durable: () => never }, launcher: hung }, 1), {
    message: /^the state is not on disk after 0\.001 s: look at the disk; the launcher does not answer after 0\.001 s$/,
  });
});
