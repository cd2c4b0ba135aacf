import assert from "node:assert/strict";
import { it } from "node:test";
import { EventQueue } from "./event-queue.ts";

it("a queue hands out in order, waits for what is to come, and refuses what is too much", async () => {
  const queue = new EventQueue<string>({ items: 3, bytes: 5 }, (text) => text.length);
  const first = queue.next();
  assert.ok(queue.push("taken at once, and so never measured"));
  assert.equal(await first, "taken at once, and so never measured");
  assert.deepEqual([queue.push("aaaa"), queue.push("bb"), queue.push("b"), queue.length], [true, false, true, 2]);
  assert.deepEqual([await queue.next(), await queue.next()], ["aaaa", "b"]);
  assert.deepEqual([queue.push("larger than all"), queue.push("")], [true, false]);
  assert.equal(await queue.next(), "larger than all");
  assert.deepEqual(
    ["", "", "", ""].map((text) => queue.push(text)),
    [true, true, true, false],
  );
});
