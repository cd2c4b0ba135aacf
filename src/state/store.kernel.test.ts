import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { it } from "node:test";
import { scratch } from "./store.fixture.ts";

it("commits exits and removals on a full disk out of the reserve, refuses what is new, and recovers with room", () => {
  using directory = scratch();
  const child = join(import.meta.dirname, "store.full-child.ts");
  const script = 'mount -t tmpfs -o size=2500k none "$1" && exec "$2" "$3" "$1"';
  const argv = [
    "--mount",
    "--propagation",
    "private",
    "sh",
    "-ec",
    script,
    "sh",
    directory.path,
    process.execPath,
    child,
  ];
  const { status, stdout, stderr } = spawnSync("unshare", argv, { encoding: "utf8" });
  assert.equal(status, 0, stderr);
  assert.equal(stdout, "ok\n");
});
