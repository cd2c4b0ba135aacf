import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import test, { after, before, describe } from "node:test";
import { cgroupParent } from "../harness/cgroup-driver.ts";
import { CriClient } from "../harness/cri-client.ts";
import { busybox, containerConfig, sandboxConfig } from "../harness/cri-configs.ts";
import { assertNoStateRows, assertNothingLeaked, directories, type Snapshot, snapshot } from "../harness/leaks.ts";
import { Server, type ServerPaths } from "../harness/server.ts";
import { builtLayout } from "../images/layout.ts";
import { nacelle } from "./nacelle.ts";

/** Pods with running and merely created containers, on their own network, the host's, and with pause. Resolves with their ids. */
async function makePods(server: Server): Promise<readonly string[]> {
  using client = CriClient.connect(server.paths.socket);
  const ids: string[] = [];
  const kinds = [{}, { hostNetwork: true }, { pid: "POD" }] as const;
  for (const [index, kind] of kinds.entries()) {
    const config = sandboxConfig(`pod-${index}`, { cgroupParent: cgroupParent("nacelle-wiped"), ...kind });
    const { podSandboxId } = await client.call("RunPodSandbox", { config, runtimeHandler: index === 1 ? "crun" : "" });
    ids.push(podSandboxId);
    for (const name of ["running", "created"]) {
      const request = {
        podSandboxId,
        config: containerConfig(name, { pid: index === 2 ? "POD" : "CONTAINER" }),
        sandboxConfig: config,
      };
      const { containerId } = await client.call("CreateContainer", request);
      if (name === "running") await client.call("StartContainer", { containerId });
    }
  }
  return ids;
}

describe("nacelle wipe", () => {
  const owned = new AsyncDisposableStack();
  let server: Server;
  let clean: Snapshot;
  let plugins: string;
  /** Cgroups of servers before this one: a parent of pods stays until somebody removes it. */
  let others: ReadonlySet<string>;

  before(async () => {
    others = new Set(await cgroups());
    plugins = await mkdtemp(join(tmpdir(), "plugins-"));
    owned.defer(() => rm(plugins, { recursive: true }));
    server = owned.use(await Server.start({ settings: { "cni.binDirs": `[/opt/cni/bin, /usr/lib/cni, ${plugins}]` } }));
    await server.stop();
    await nacelle(server.paths, "wipe");
    clean = await snapshot(server.paths);
    await restart(server);
    const imported = await nacelle(server.paths, "image", "import", await builtLayout());
    assert.equal(imported.code, 0, imported.err);
  });
  after(() => owned.disposeAsync());

  test("refuses while a server uses the root, and names it", async () => {
    const { code, err } = await nacelle(server.paths, "wipe");
    assert.equal(code, 4);
    assert.match(err, new RegExp(`^nacelle wipe: .* is in use by process ${server.pid} \\(.*\\)\n$`));
  });

  test("removes pods of a server that was killed, and keeps images for the next one", async () => {
    await makePods(server);
    await server.kill();
    const { code, out, err } = await nacelle(server.paths, "wipe");
    assert.deepEqual([code, err], [0, ""]);
    assert.match(out, /^removed 3 sandboxes, 6 containers\n$/);
    await assertNothingLeaked(clean, server.paths);
    await assertNoStateRows(server.paths);
    await restart(server);
    using client = CriClient.connect(server.paths.socket);
    const { image } = await client.call("ImageStatus", { image: { image: busybox } });
    assert.ok(image);
  });

  test("frees what has no row any more, because the state was lost, and ends a monitor that does not answer", async () => {
    const [first = ""] = await makePods(server);
    await server.kill();
    const recorded = await readFile(join(server.paths.runDir, "p", first, "monitor"), "utf8");
    process.kill(Number.parseInt(recorded, 10), "SIGSTOP");
    await rm(server.paths.root, { recursive: true });
    const { code, out, err } = await nacelle(server.paths, "wipe");
    assert.deepEqual([code, err], [0, ""], out);
    assert.match(out, /^removed 7 stray containers, 3 stray monitors, 2 stray network namespaces, /);
    // What the plugins would have needed the result of ADD for is theirs to keep.
    const { iptables } = await snapshot(server.paths);
    clean = { ...clean, iptables };
    assert.deepEqual(
      iptables.filter((rule) => !rule.includes("-A CNI-FORWARD")),
      [],
    );
    await assertNothingLeaked(clean, server.paths);
  });

  test("leaves nothing at all with --all, and has nothing to do then", async () => {
    await restart(server);
    await nacelle(server.paths, "image", "import", await builtLayout());
    await makePods(server);
    await server.stop();
    const { code, out, err } = await nacelle(server.paths, "wipe", "--all");
    assert.deepEqual([code, err], [0, ""]);
    assert.match(out, /^removed 3 sandboxes, 6 containers, \d+ images\n$/);
    await assertNothingLeaked(clean, server.paths);
    const left = await readdir(server.paths.folder);
    assert.ok(!left.includes("root") && !left.includes("run"), left.join(" "));
    assert.deepEqual(
      (await cgroups()).filter((path) => !others.has(path)),
      [],
    );
    const again = await nacelle(server.paths, "wipe", "--all");
    assert.deepEqual([again.code, again.out, again.err], [0, "there is nothing to remove\n", ""]);
    await restart(server);
    assert.equal((await nacelle(server.paths, "status")).code, 0);
  });

  test("with a plugin that fails: says so, keeps the debt, and forgets it with --all", async () => {
    await sulkingPlugin(server.paths, plugins);
    await server.stop();
    await restart(server);
    await nacelle(server.paths, "image", "import", await builtLayout());
    await makePods(server);
    await server.kill();
    const first = await nacelle(server.paths, "wipe");
    assert.equal(first.code, 1);
    assert.match(first.err, /^(nacelle wipe: sandbox [0-9a-f]{64}: .*sulks.*it will not.*\n){2}$/);
    assert.match(first.out, /^removed 1 sandboxes, 6 containers; 2 could not be removed, run it again\n$/);
    const last = await nacelle(server.paths, "wipe", "--all");
    assert.equal(last.code, 1);
    assert.match(last.err, /its network is forgotten, an address may stay taken/);
    assert.match(last.out, /^removed 2 sandboxes, \d+ images\n$/);
    const left = await readdir(server.paths.folder);
    assert.ok(!left.includes("root") && !left.includes("run"), left.join(" "));
  });
});

/** Its watch for the socket needs the directory, which a wipe removes. */
async function restart(server: Server): Promise<void> {
  await mkdir(server.paths.runDir, { recursive: true });
  await server.restart();
}

/** Adds a plugin that attaches whatever it is given and never detaches. */
async function sulkingPlugin({ cni }: ServerPaths, plugins: string): Promise<void> {
  const file = join(cni.confDir, "10-test.conflist");
  const list: { plugins: object[] } = JSON.parse(await readFile(file, "utf8"));
  await writeFile(file, JSON.stringify({ ...list, plugins: [...list.plugins, { type: "sulks" }] }));
  const script = `#!/bin/sh
case $CNI_COMMAND in
ADD) sed 's/.*"prevResult"://; s/}$//' ;;
DEL) echo '{"cniVersion": "1.0.0", "code": 100, "msg": "it will not"}'; exit 1 ;;
esac
`;
  await writeFile(join(plugins, "sulks"), script, { mode: 0o755 });
}

/** Of launchers and monitors, wherever their server was started; a pod's parent is its kubelet's to remove. */
async function cgroups(): Promise<readonly string[]> {
  const paths = await directories("/sys/fs/cgroup", 1);
  return paths.filter((path) => /^nacelle-(?!wiped)/.test(basename(path)));
}
