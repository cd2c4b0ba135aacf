import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import test, { type TestContext } from "node:test";
import { written } from "../harness/event.ts";
import { Daemon } from "../harness/process.ts";
import { builtLayout } from "./layout.ts";
import { unpackImage } from "./unpacked.ts";

const e2e = "registry.k8s.io/e2e-test-images";

interface Result {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A bundle of the image; the caller's `process` and mounts are laid over a plain container. */
async function bundle(t: TestContext, reference: string, args: string[], options: Options = {}): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "nacelle-image-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await unpackImage(await builtLayout(), reference, join(folder, "rootfs"));
  const capabilities = ["CAP_SETUID", "CAP_SETGID", "CAP_DAC_OVERRIDE", "CAP_NET_BIND_SERVICE", "CAP_CHOWN"];
  const config = {
    ociVersion: "1.0.2",
    process: {
      cwd: "/",
      args,
      env: ["PATH=/usr/local/bin:/usr/sbin:/bin"],
      user: { uid: options.uid ?? 0, gid: 0 },
      capabilities: { bounding: capabilities, effective: capabilities, permitted: capabilities },
    },
    root: { path: "rootfs" },
    mounts: [
      { destination: "/proc", type: "proc", source: "proc" },
      { destination: "/dev", type: "tmpfs", source: "tmpfs", options: ["mode=755"] },
      { destination: "/run", type: "tmpfs", source: "tmpfs" },
    ],
    linux: {
      namespaces: [{ type: "pid" }, { type: "mount" }, { type: "ipc" }],
      maskedPaths: options.masked ?? [],
      resources: {},
    },
  };
  await writeFile(join(folder, "config.json"), JSON.stringify(config));
  return folder;
}

interface Options {
  readonly uid?: number;
  readonly masked?: string[];
}

/** The state of crun lives in the bundle's folder and is thrown away with it. */
function crun(folder: string): string[] {
  return ["--root", join(folder, "state"), "run", "--bundle", folder, basename(folder)];
}

async function runToEnd(folder: string): Promise<Result> {
  return await new Promise((resolve) => {
    execFile("crun", crun(folder), { timeout: 20_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
    });
  });
}

test("a masked ls is refused to the shell, as critest's masked path spec reads it", async (t) => {
  const folder = await bundle(t, `${e2e}/busybox:1.29-2`, ["/bin/sh", "-c", "ls /"], { masked: ["/bin/ls"] });
  assert.deepEqual(await runToEnd(folder), { code: 127, stdout: "", stderr: "/bin/sh: ls: Permission denied\n" });
});

test("pgrep finds a process by name and says nothing when there is none", async (t) => {
  const script = "pgrep sleep; sleep 100 & until pgrep sleep >/dev/null; do :; done; echo found";
  const folder = await bundle(t, `${e2e}/busybox:1.29-2`, ["sh", "-c", script]);
  assert.deepEqual(await runToEnd(folder), { code: 0, stdout: "found\n", stderr: "" });
});

test("nnp keeps its setuid bit", async (t) => {
  const folder = await bundle(t, `${e2e}/nonewprivs:1.3`, ["nnp"], { uid: 1000 });
  assert.equal((await stat(join(folder, "rootfs/usr/local/bin/nnp"))).mode & 0o7777, 0o6755);
  assert.equal((await runToEnd(folder)).stdout, "Effective uid: 0\n");
});

for (const [name, reference, args, ready, port] of [
  ["nginx", `${e2e}/nginx:1.14-2`, ["nginx", "-g", "daemon off;"], "start worker process", 80],
  ["httpd", `${e2e}/httpd:2.4.39-4`, ["httpd-foreground"], "httpd: serving", 80],
] as const) {
  test(`${name} says what it is and serves a page`, async (t) => {
    const folder = await bundle(t, reference, [...args]);
    await using server = await Daemon.start(["crun", ...crun(folder)], join(folder, "log"));
    await server.until((signal) => written(server.logFile, ready, signal), 10_000);
    const page = await fetchOnce(`http://127.0.0.1:${port}/`);
    assert.equal(page, "<p>it works\n");
  });
}

/** Without keep-alive: a connection left open would hold the next server's port. */
async function fetchOnce(url: string): Promise<string> {
  const response = await fetch(url, { headers: { connection: "close" }, signal: AbortSignal.timeout(10_000) });
  return await response.text();
}
