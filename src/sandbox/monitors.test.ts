import assert from "node:assert/strict";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { Monitors } from "./monitors.ts";
import { Paths } from "./paths.ts";

it("what a monitor has said of its containers' troubles ends with it, since it can take nothing back", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "m-"));
  const never = () => assert.fail("nothing is started, watched or killed");
  const launcher = { startMonitor: never, watch: never, unwatch: never, kill: never, makeDirectories: never };
  const paths = new Paths({ root: folder.path, runDir: folder.path, netnsDir: folder.path });
  using monitors = new Monitors({ launcher, paths, epoch: 1n, onExit: never, onLost: never, log: () => {} });
  monitors.troubles.tell("s", { id: "a", trouble: "log hangs", seconds: 10 });
  monitors.troubles.tell("t", { id: "b", trouble: "log hangs", seconds: 10 });
  await monitors.end("s");
  assert.deepEqual(
    monitors.troubles.list().map(({ containerId }) => containerId),
    ["b"],
  );
});
