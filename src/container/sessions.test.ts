import assert from "node:assert/strict";
import { mkdir, mkdtempDisposable, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import type { ExecStreamRequest } from "../monitor/stream-protocol.ts";
import type { Handlers } from "../sandbox/handlers.ts";
import type { Monitors } from "../sandbox/monitors.ts";
import type { Paths } from "../sandbox/paths.ts";
import { aSandbox } from "../sandbox/sandbox.fixture.ts";
import type { Container } from "./container.ts";
import { openExec } from "./sessions.ts";

const handler = { name: "crun", path: "/crun", root: "/r", args: [] };
const request = { command: ["true"], stdin: false, stdout: true, stderr: false, tty: false };

/** Opens a session with a process document too long for a frame, which `exec` is given the path of. */
async function opened(folder: string, exec: (document: string) => Promise<void>) {
  const env = ["x".repeat(200 << 10)];
  await writeFile(join(folder, "process.json"), JSON.stringify({ args: [], env, cwd: "/", user: { uid: 0, gid: 0 } }));
  const session = { disposals: 0, [Symbol.dispose]: () => void session.disposals++ };
  const monitor = {
    hello: undefined,
    exec: async (_id: string, { argv }: ExecStreamRequest) => {
      await exec(argv.find((argument) => argument.startsWith(join(folder, "exec-"))) ?? assert.fail(argv.join(" ")));
      return session;
    },
  };
  // As much of each as is used.
  const ports = {
    monitors: { require: () => monitor } as unknown as Monitors,
    handlers: { requireOf: () => ({ handler, execCgroups: false }) } as unknown as Handlers,
    paths: { bundle: () => folder } as unknown as Paths,
  };
  const container = { id: "c" } as Container;
  const result = openExec(ports, aSandbox(), container, request, new AbortController().signal);
  return { result, session };
}

it("a session is not left open when its process document cannot be removed", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "sessions-"));
  const { result, session } = await opened(folder.path, async (document) => {
    await rm(document);
    await mkdir(document); // which is not removed as a file
  });
  await assert.rejects(result, { code: "ERR_FS_EISDIR" });
  assert.equal(session.disposals, 1);
});

it("a session that was opened is its owner's, and its process document is gone", async () => {
  await using folder = await mkdtempDisposable(join(tmpdir(), "sessions-"));
  let path = "";
  const { result, session } = await opened(folder.path, async (document) => {
    path = document;
  });
  assert.equal(await result, session);
  assert.equal(session.disposals, 0);
  await assert.rejects(rm(path), { code: "ENOENT" });
});
