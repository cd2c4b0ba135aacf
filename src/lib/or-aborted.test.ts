import assert from "node:assert/strict";
import { it } from "node:test";
import { orAborted } from "./or-aborted.ts";

it("leaves no failure of the work behind that nobody hears of, however early it was aborted", async (t) => {
  const unhandled: unknown[] = [];
  const remember = (reason: unknown) => void unhandled.push(reason);
  process.on("unhandledRejection", remember);
  t.after(() => process.off("unhandledRejection", remember));
  const [before, during] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
  const control = new AbortController();
  const waiting = orAborted(during.promise, control.signal);
  control.abort(new Error("left"));
  await assert.rejects(waiting, /left/);
  await assert.rejects(orAborted(before.promise, control.signal), /left/);
  for (const { reject } of [before, during]) reject(new Error("broke"));
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(unhandled, []);
});

it("settles as the work does while nothing is aborted", async () => {
  const { signal } = new AbortController();
  assert.equal(await orAborted(Promise.resolve(7), signal), 7);
  assert.equal(await orAborted(Promise.resolve(7), undefined), 7);
  await assert.rejects(orAborted(Promise.reject(new Error("broke")), signal), /broke/);
});
