import assert from "node:assert/strict";
import { it } from "node:test";
import { describeErrno } from "./errno.ts";

it("an errno has its name and text, and its number where it has none", () => {
  assert.deepEqual(describeErrno(2), { code: "ENOENT", text: "no such file or directory" });
  for (const errno of [0, 524, -1]) assert.deepEqual(describeErrno(errno), { code: `errno ${errno}`, text: "" });
});
