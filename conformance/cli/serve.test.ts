import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after, before, describe } from "node:test";
import { promisify } from "node:util";
import { CriClient } from "../harness/cri-client.ts";
import { containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import { assertNothingLeaked, snapshot } from "../harness/leaks.ts";
import { Server } from "../harness/server.ts";
import { builtLayout } from "../images/layout.ts";
import { ask } from "./ask.ts";
import { nacelle } from "./nacelle.ts";

interface State {
  readonly phase: string;
  readonly pid: number;
  readonly sandboxes: Readonly<Record<string, number>>;
  readonly containers: Readonly<Record<string, number>>;
  readonly monitors: number;
  readonly creations: readonly { readonly name: string; readonly stage: string; readonly waiters: number }[];
  readonly launcher: { readonly operations: readonly { readonly what: string }[] };
}

describe("the command line beside a running server", () => {
  const owned = new AsyncDisposableStack();
  let server: Server;
  let plugins: string;

  before(async () => {
    plugins = await mkdtemp(join(tmpdir(), "plugins-"));
    owned.defer(() => rm(plugins, { recursive: true }));
    const binDirs = `[/opt/cni/bin, /usr/lib/cni, ${plugins}]`;
    server = owned.use(await Server.start({ settings: { "cni.binDirs": binDirs } }));
    const { code, err } = await nacelle(server.paths, "image", "import", await builtLayout());
    assert.equal(code, 0, err);
  });
  after(() => owned.disposeAsync());

  async function state(): Promise<State> {
    const { out, err } = await nacelle(server.paths, "status", "-o", "json");
    assert.equal(err, "");
    return JSON.parse(out);
  }

  test("a root, a run directory and a socket in use: one line and a code of its own each", async () => {
    const other = join(server.paths.folder, "other");
    const set = (...pairs: string[]) => pairs.flatMap((pair) => ["--set", pair]);
    const inRoot = await nacelle(server.paths, "serve");
    assert.deepEqual([inRoot.code, inRoot.out], [4, ""]);
    assert.match(inRoot.err, new RegExp(`^nacelle serve: .* in use by process ${server.pid} \\(.*\\)\\n$`));
    const before = await snapshot(server.paths);
    for (const own of [[`root=${other}/a`], [`root=${other}/b`, `runDir=${other}/run`, `netnsDir=${other}/netns`]]) {
      const { code, err } = await nacelle(server.paths, "serve", ...set(...own));
      assert.equal(code, 5, err);
      assert.match(err, new RegExp(`^nacelle serve: busy socket: .* is served by pid ${server.pid} .*\\n$`));
    }
    await assertNothingLeaked(before, server.paths);
    const wrong = await nacelle(server.paths, "serve", ...set("log.levle=x"));
    assert.deepEqual([wrong.code, wrong.err.split("\n").length], [3, 2]);
    await writeFile(join(server.paths.folder, "bad.conf"), "unqualified-search-registries = 7\n");
    const bad = await nacelle(
      server.paths,
      "serve",
      ...set(`root=${other}/c`, `runDir=${other}/run`, `netnsDir=${other}/netns`, `listen=${other}/s`),
      ...set(`registries.configFile=${server.paths.folder}/bad.conf`),
    );
    assert.equal(bad.code, 3, bad.err);
    // The log says before that who makes cgroups, and warns of what this machine cannot do.
    assert.match(
      bad.err,
      /^\{"ts":.*"msg":"cgroup driver".*\}\n(?:\{"ts":.*,"level":"warn",.*\}\n)*nacelle serve: .*bad\.conf.*\n$/,
    );
    await nacelle(
      server.paths,
      "wipe",
      ...set(`root=${other}/c`, `runDir=${other}/run`, `netnsDir=${other}/netns`, `listen=${other}/s`),
    );
    await rm(other, { recursive: true });
  });

  test("check finds the node fit, sees the server, and disturbs nothing", async () => {
    const before = await snapshot(server.paths);
    const { code, out } = await nacelle(server.paths, "check", "-o", "json");
    const { fit, checks }: { fit: boolean; checks: { what: string; level: string; found: string }[] } = JSON.parse(out);
    assert.deepEqual([code, fit], [0, true], out);
    assert.match(checks.find(({ what }) => what === "socket")?.found ?? "", new RegExp(`pid ${server.pid}, ready`));
    assert.equal(checks.find(({ what }) => what === "overlay")?.level, "ok");
    assert.match(checks.find(({ what }) => what === "network")?.found ?? "", /bridge, portmap, firewall/);
    await assertNothingLeaked(before, server.paths);
    assert.equal((await state()).phase, "ready");
  });

  test("check finds a node without its default runtime, or whose socket another program has, unfit", async () => {
    const socket = join(server.paths.folder, "taken.sock");
    const other = createServer().listen(socket);
    await once(other, "listening");
    const elsewhere = ["--set", `listen=${socket}`, "--set", `runDir=${server.paths.folder}/elsewhere`];
    const { code, out } = await nacelle(server.paths, "check", ...elsewhere, "--set", "runtimes={runc: {path: /none}}");
    other.close();
    assert.equal(code, 7);
    assert.match(out, /^FAIL {2}runtime runc \(default\) +there is no \/none$/m);
    assert.match(out, /^FAIL {2}socket +.*taken\.sock is served by another program$/m);
    assert.match(out, /this node is NOT fit: 2 failed/);
  });

  test("status shows a creation that waits for a plugin, and SIGTERM finishes the call and leaves the pod", async () => {
    const { cni, socket } = server.paths;
    const gate = join(plugins, "gate");
    const reached = join(plugins, "reached");
    const list: { plugins: object[] } = JSON.parse(await readFile(join(cni.confDir, "10-test.conflist"), "utf8"));
    const waits = { ...list, plugins: [...list.plugins, { type: "waits" }] };
    const script = `#!/bin/sh
input=$(cat)
[ "$CNI_COMMAND" = ADD ] || exit 0
echo >${reached}
read -r _ <${gate}
printf '%s' "$input" | sed 's/.*"prevResult"://; s/}$//'
`;
    await writeFile(join(plugins, "waits"), script, { mode: 0o755 });
    await writeFile(join(cni.confDir, "10-test.conflist"), JSON.stringify(waits));
    for (const fifo of [gate, reached]) await promisify(execFile)("mkfifo", [fifo]);
    await server.stop();
    await server.restart();

    using client = CriClient.connect(socket);
    const config = sandboxConfig("waiting");
    const running = client.call("RunPodSandbox", { config });
    await readFile(reached);
    const { creations, launcher } = await state();
    assert.deepEqual(
      creations.map(({ name, waiters }) => [name, waiters]),
      [["waiting/conformance/uid-waiting/0", 1]],
    );
    assert.ok(
      launcher.operations.some(({ what }) => what.includes("waits ADD")),
      JSON.stringify(launcher),
    );
    const page = (await nacelle(server.paths, "status")).out;
    assert.match(page, /^ {2}creating sandbox waiting\/conformance\/uid-waiting\/0: .* \(1 waiting\)$/m);

    const stopped = server.stop();
    await writeFile(gate, "\n");
    const { podSandboxId } = await running;
    assert.equal(await stopped, "exit code 0");
    assert.equal((await nacelle(server.paths, "status")).code, 1);
    await server.restart();
    const request = { podSandboxId, config: containerConfig("main"), sandboxConfig: config };
    const { containerId } = await client.call("CreateContainer", request);
    await client.call("StartContainer", { containerId });
    const after = await state();
    assert.deepEqual([after.sandboxes, after.containers, after.monitors], [{ ready: 1 }, { running: 1 }, 1]);
    assert.equal(await server.stop(), "exit code 0");
    await mkdir(server.paths.runDir, { recursive: true });
    await server.restart();
    assert.deepEqual((await state()).containers, { running: 1 });
    await client.call("RemovePodSandbox", { podSandboxId });
  });

  test("a second SIGTERM ends it at once, whatever it waits for, and the next server undoes that", async () => {
    const { socket } = server.paths;
    const clean = await snapshot(server.paths);
    using client = CriClient.connect(socket);
    const running = client.call("RunPodSandbox", { config: sandboxConfig("cut-short") });
    const cut = assert.rejects(running);
    await readFile(join(plugins, "reached"));
    const stopped = server.stop();
    while ((await state()).phase !== "stopping"); // it has seen the first one
    const { status, body } = await ask(join(server.paths.runDir, "admin.sock"), "/healthz");
    assert.deepEqual([status, body], [503, '{"error":"not ready: stopping"}\n']);
    process.kill(server.pid, "SIGTERM");
    assert.equal(await stopped, "SIGTERM");
    await cut;
    await server.restart();
    await assertNothingLeaked(clean, server.paths);
  });
});
