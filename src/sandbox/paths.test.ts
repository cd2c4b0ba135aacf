import assert from "node:assert/strict";
import { it } from "node:test";
import { Paths } from "./paths.ts";

const id = "0".repeat(64);

function at(length: number): Paths {
  return new Paths({ root: `/${"r".repeat(length - 1)}`, runDir: "/run/nacelle", netnsDir: "/run/netns" });
}

it("second exit records have paths that monitors take, or none, and that is known before there is a container", () => {
  // Of 383 bytes 76 are "/exits/", the id and ".exit".
  assert.equal(at(307).exitCopy(id).length, 383);
  assert.equal(at(307).hasExitCopies, true);
  assert.equal(at(308).exitCopy(id), "");
  assert.equal(at(308).hasExitCopies, false);
});
