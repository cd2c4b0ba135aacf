import assert from "node:assert/strict";
import { mkdtempDisposable, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import type { HelloReply } from "../monitor/protocol.ts";
import type { RuntimeHandler } from "../oci/handler.ts";
import type { Paths } from "../sandbox/paths.ts";
import { aSandbox } from "../sandbox/sandbox.fixture.ts";
import { execCall } from "./exec-process.ts";

const handler: RuntimeHandler = {
  ...{ name: "crun", path: "/crun", root: "/r", args: [], pauseContainer: "auto", allowedAnnotations: [] },
  ...{ exit: "pid", signal: "pidfd", stats: "cgroup", systemdCgroup: false },
};

it("a cgroup for a command is asked for where both runtime and monitor know what that is", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "exec-"));
  await writeFile(
    join(folder.path, "process.json"),
    JSON.stringify({ args: [], env: [], cwd: "/", user: { uid: 0, gid: 0 } }),
  );
  const paths = { bundle: () => folder.path } as Partial<Paths> as Paths;
  const asks = async (execCgroups: boolean, version: number | undefined) => {
    const hello = version === undefined ? undefined : ({ version } as HelloReply);
    const place = { sandbox: aSandbox(), id: "c", monitor: { hello } };
    await using call = await execCall(paths, { handler, execCgroups }, place, { command: ["true"], tty: false });
    return call.argv.includes("@cgroup");
  };
  assert.deepEqual(await Promise.all([asks(true, 2), asks(false, 2), asks(true, 1), asks(true, undefined)]), [
    true,
    false,
    false,
    false,
  ]);
});
