import assert from "node:assert/strict";
import { it } from "node:test";
import { parseQuantity } from "./quantity.ts";

it("quantities are read as Kubernetes writes them", () => {
  const read = ["0", "500", "10k", "10M", "1.5Ki", "10Mi", "1Gi", "0.5", "1Pi"].map(parseQuantity);
  assert.deepEqual(read, [0, 500, 10_000, 10_000_000, 1536, 10_485_760, 1_073_741_824, 1, 2 ** 50]);
});

it("nothing else is one", () => {
  for (const text of ["", "-1", "1K", "1ki", "1e3", " 1", "1 M", "1MB", "0x10", "Infinity", "1.", ".5", "1".repeat(17)])
    assert.equal(parseQuantity(text), undefined, text);
});
