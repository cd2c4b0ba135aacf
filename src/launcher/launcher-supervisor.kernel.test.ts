import assert from "node:assert/strict";
import { mkdtempDisposable, rename, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { LauncherSupervisor } from "./launcher-supervisor.ts";

const native = join(import.meta.dirname, "../../build/nacelle-native");

describe("LauncherSupervisor", () => {
  it("keeps nobody waiting longer than asked for a launcher that cannot be started, says why, and goes on when it can", async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), "supervisor-"));
    const binary = join(folder.path, "native");
    await writeFile(binary, `#!/bin/sh\nexec ${native} "$@"\n`, { mode: 0o755 });
    const { promise: restarted, resolve: onRestarted } = Promise.withResolvers<void>();
    const { promise: failed, resolve: fail } = Promise.withResolvers<void>();
    await using supervisor = await LauncherSupervisor.start({
      ...{ binary, runDir: folder.path, epoch: 1n, cgroup: "" },
      log: (line) => {
        if (line.includes("cannot be started")) fail();
      },
      onExited: () => {},
      onLost: () => {},
      onRestarted,
    });
    const { pid } = await supervisor.current;
    await rename(binary, `${binary}.away`);
    process.kill(pid, "SIGKILL");
    await failed;
    const operation = { owner: "test", what: "a look", deadlineMs: 50 };
    const look = () => supervisor.perform([{ op: "stat", path: "/" }], operation);
    await assert.rejects(look(), /a look waited 0\.05 s for a launcher: the launcher cannot be started/);
    assert.match(supervisor.problem, /cannot be started/);
    await rename(`${binary}.away`, binary);
    await restarted;
    assert.equal(supervisor.problem, "");
    await supervisor.perform([{ op: "stat", path: "/" }], { ...operation, deadlineMs: 5_000 });
  });
});
