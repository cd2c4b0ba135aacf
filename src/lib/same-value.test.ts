import assert from "node:assert/strict";
import { it } from "node:test";
import { isSameValue } from "./same-value.ts";

it("takes what was read back for what was written", () => {
  const asked = { dns: undefined, labels: { a: "1", b: "2" }, mounts: [{ path: "/x", image: undefined }] };
  assert.equal(isSameValue(asked, JSON.parse(JSON.stringify(asked))), true);
});

it("overlooks the order of members, and nothing else", () => {
  assert.equal(isSameValue({ a: 1, b: [1, 2] }, { b: [1, 2], a: 1 }), true);
  for (const other of [{ a: 1, b: [2, 1] }, { a: 1 }, { a: "1", b: [1, 2] }, { a: 1, b: [1, 2], c: 0 }])
    assert.equal(isSameValue({ a: 1, b: [1, 2] }, other), false);
});
