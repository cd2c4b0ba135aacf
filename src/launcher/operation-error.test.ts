import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { OperationError } from "./operation-error.ts";

const EROFS = 30;
const ENOSPC = 28;

describe("the text of an operation that failed", () => {
  const failed = (errno: number, syscall: string, path: string) =>
    OperationError.failed("making the bundle", { errno, syscall, path, index: 0 }).message;

  it("names what was done, where, and why it failed", () => {
    assert.equal(failed(2, "mkdir", "/a/b"), "making the bundle: mkdir /a/b: no such file or directory (ENOENT)");
    assert.equal(failed(524, "syncfs", ""), "making the bundle: syncfs: errno 524");
  });

  it("says what an operator can do, where that is known", () => {
    assert.match(failed(ENOSPC, "write", "/a"), /write \/a: .*\(ENOSPC\): free space or inodes on its file system$/);
    assert.match(
      failed(ENOSPC, "mount", "/a"),
      /mount \/a: .*\(ENOSPC\): the node has too many mounts: .*fs\.mount-max/,
    );
    assert.match(failed(EROFS, "mkdir", "/a"), /\(EROFS\): mount its file system read-write$/);
  });
});
