import assert from "node:assert/strict";
import { it } from "node:test";
import { fieldLedger } from "./field-ledger.fixture.ts";
import { messageTypes } from "./message-types.fixture.ts";

it("every request field of every call is read, or refused by its name, or ignored for a stated reason", async () => {
  const { calls, fields, stale } = await fieldLedger();
  const unread = fields.filter(({ verdict }) => verdict === "unread").map(({ type, field }) => `${type}.${field}`);
  assert.deepEqual(unread, [], "nothing reads these: honour them, refuse them, or say why not in ignored-fields.ts");
  assert.deepEqual(stale, [], "correct ignored-fields.ts");
  assert.equal(calls.length, 43);
  assert.ok(fields.length > 200, `${fields.length} fields`);
});

it("a field that the API gains and nobody reads is found", async () => {
  const types = new Map(messageTypes());
  const planted = { name: "newlyPlanted", snake: "newly_planted", message: "", samples: [] };
  types.set("Mount", [...(types.get("Mount") ?? []), planted]);
  const { fields } = await fieldLedger(types);
  const unread = fields.filter(({ verdict }) => verdict === "unread").map(({ type, field }) => `${type}.${field}`);
  assert.deepEqual(unread, ["Mount.newly_planted"]);
});
