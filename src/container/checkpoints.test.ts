import assert from "node:assert/strict";
import { mkdir, mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import type { Operation } from "../launcher/operations.ts";
import { notFound } from "../lib/errors.ts";
import { Handlers } from "../sandbox/handlers.ts";
import { Paths } from "../sandbox/paths.ts";
import { Checkpoints } from "./checkpoints.ts";

it("what an earlier daemon's checkpoint has left is removed while the place of another does not answer", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "k-"));
  const paths = new Paths({ root: folder.path, runDir: "/run/nacelle", netnsDir: "/run/netns" });
  for (const id of ["a", "b"]) await mkdir(join(paths.checkpoints, id), { recursive: true });
  const asked: string[] = [];
  const both = Promise.withResolvers<void>();
  const checkpoints = new Checkpoints({
    operations: {
      run: () => assert.fail("nothing is run"),
      perform: async (operations: readonly Operation[]) => {
        asked.push(...operations.flatMap((one) => (one.op === "rmtree" ? [one.path] : [])));
        if (asked.length === 2) both.resolve();
        await both.promise;
        return operations.map(() => Buffer.alloc(0));
      },
    },
    handlers: new Handlers([], "runc"),
    paths,
    find: (id) => {
      throw notFound("container", id);
    },
    findSandbox: () => assert.fail("no container, no sandbox"),
    thaw: () => assert.fail("no container, nothing frozen"),
    now: () => assert.fail("the time is not asked for"),
    log: (message) => assert.fail(message),
  });
  await checkpoints.cleanUp();
  assert.deepEqual(new Set(asked), new Set(["a", "b"].map((id) => join(paths.checkpoints, id))));
});
