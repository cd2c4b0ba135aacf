import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import test from "node:test";
import { tarOf } from "./tar.ts";

test("GNU tar reads modes, owners, links and contents back, and the bytes are always the same", () => {
  const entries = [
    { kind: "directory", path: "bin", mode: 0o755 },
    { kind: "file", path: "bin/a", mode: 0o6755, uid: 5, gid: 6, data: Buffer.from("content") },
    { kind: "hardLink", path: "bin/b", target: "bin/a" },
    { kind: "symbolicLink", path: "run", target: "/var/run" },
  ] as const;
  const listing = execFileSync("tar", ["--list", "--verbose", "--numeric-owner", "--utc"], { input: tarOf(entries) });
  assert.deepEqual(listing.toString().trimEnd().split("\n"), [
    "drwxr-xr-x 0/0               0 2023-11-14 22:13 bin/",
    "-rwsr-sr-x 5/6               7 2023-11-14 22:13 bin/a",
    "hrwxrwxrwx 0/0               0 2023-11-14 22:13 bin/b link to bin/a",
    "lrwxrwxrwx 0/0               0 2023-11-14 22:13 run -> /var/run",
  ]);
  assert.deepEqual(tarOf(entries), tarOf(entries));
});

test("a path that does not fit is refused, not cut", () => {
  assert.throws(() => tarOf([{ kind: "directory", path: "x".repeat(100), mode: 0o755 }]), RangeError);
});
