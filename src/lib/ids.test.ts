import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { findId, newId } from "./ids.ts";

const a = `ab${"0".repeat(62)}`;
const b = `ac${"0".repeat(62)}`;

describe("findId", () => {
  it("finds an id and a unique prefix", () => {
    assert.equal(findId("sandbox", a, [a, b]), a);
    assert.equal(findId("sandbox", "ab", [a, b]), a);
  });

  it("finds nothing for what begins no id or is not hexadecimal", () => {
    for (const text of ["", "ad", "../etc", "AB", `${a}0`, "0e7f-11"])
      assert.equal(findId("sandbox", text, [a, b]), undefined);
  });

  it("refuses an ambiguous prefix and names what it could mean", () => {
    assert.throws(() => findId("sandbox", "a", [a, b]), { kind: "invalidArgument", message: /ambiguous: ab.* and ac/ });
  });

  it("takes the whole id even when it begins a longer one", () => {
    assert.equal(findId("sandbox", "ab", ["abc", "ab"]), "ab");
  });
});

it("a new id is 64 hexadecimal digits", () => {
  assert.match(newId(), /^[0-9a-f]{64}$/);
});
