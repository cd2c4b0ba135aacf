import assert from "node:assert/strict";
import test, { after, before, describe } from "node:test";
import { cgroupParent } from "../harness/cgroup-driver.ts";
import { assertNoStateRows, assertNothingLeaked, type Snapshot, snapshot } from "../harness/leaks.ts";
import { Server } from "../harness/server.ts";
import { skipWithoutTools } from "../harness/tools.ts";
import { builtLayout } from "../images/layout.ts";
import { pushLayout } from "../images/push.ts";
import { Registry } from "../images/registry.ts";
import { Crictl } from "./crictl.ts";

const busybox = "registry.k8s.io/e2e-test-images/busybox:1.29-2";
const nginx = "registry.k8s.io/e2e-test-images/nginx:1.14-2";

for (const runtime of ["runc", "crun"] as const) {
  describe(`crictl with ${runtime}`, { skip: skipWithoutTools }, () => {
    const owned = new AsyncDisposableStack();
    let server: Server;
    let crictl: Crictl;
    let clean: Snapshot;

    before(async () => {
      const registry = owned.use(await Registry.start());
      await pushLayout(await builtLayout(), registry.address);
      server = owned.use(await Server.start({ mirror: registry.address, defaultRuntime: runtime }));
      crictl = new Crictl(server);
      clean = await snapshot(server.paths);
    });
    after(() => owned.disposeAsync());

    test("version and info answer", async () => {
      assert.match(await crictl.run("version"), /RuntimeName: +nacelle/);
      const info = await crictl.json<{ status: { conditions: { type: string; status: boolean }[] } }>("info");
      assert.deepEqual(
        info.status.conditions.map(({ type, status }) => [type, status]),
        [
          ["RuntimeReady", true],
          ["NetworkReady", true],
        ],
      );
    });

    test("an image is pulled, listed and inspected under the name that was asked for", async () => {
      assert.match(await crictl.run("pull", busybox), /Image is up to date for (sha256:)?[0-9a-f]{64}/);
      const { images } = await crictl.json<{ images: { repoTags: string[]; size: string }[] }>("images");
      assert.deepEqual(
        images.map(({ repoTags }) => repoTags),
        [[busybox]],
      );
      assert.ok(Number(images[0]?.size) > 0);
      const inspected = await crictl.json<{ status: { repoTags: string[]; repoDigests: string[] } }>(
        "inspecti",
        busybox,
      );
      assert.deepEqual(inspected.status.repoTags, [busybox]);
      assert.match(inspected.status.repoDigests[0] ?? "", /^registry\.k8s\.io\/e2e-test-images\/busybox@sha256:/);
    });

    test("imagefsinfo tells what images take", async () => {
      interface Usage {
        status: { imageFilesystems: { usedBytes: { value: string }; fsId: { mountpoint: string } }[] };
      }
      const { status } = await crictl.json<Usage>("imagefsinfo");
      assert.ok(Number(status.imageFilesystems[0]?.usedBytes.value) > 0);
      assert.ok(status.imageFilesystems[0]?.fsId.mountpoint.startsWith(server.paths.root));
    });

    test("a pod runs from the first command to the last", async () => {
      const sandboxFile = await crictl.file(await sandboxConfig(crictl, "whole"));
      const sandbox = await crictl.run("runp", sandboxFile);
      assert.match(sandbox, /^[0-9a-f]{64}$/);
      const pods = await crictl.json<{ items: { id: string; state: string }[] }>("pods");
      assert.deepEqual(
        pods.items.map(({ id, state }) => [id, state]),
        [[sandbox, "SANDBOX_READY"]],
      );
      const inspected = await crictl.json<{ status: { network: { ip: string } } }>("inspectp", sandbox);
      assert.match(inspected.status.network.ip, /^10\.88\.\d+\.\d+$/);

      const script = "echo out; echo err >&2; trap 'exit 7' TERM; while :; do sleep 0.1; done";
      const container = await crictl.run(
        "create",
        sandbox,
        await crictl.file(containerConfig("main", script)),
        sandboxFile,
      );
      assert.equal(await crictl.run("start", container), container);
      const { containers } = await crictl.json<{ containers: { id: string; state: string }[] }>("ps");
      assert.deepEqual(
        containers.map(({ id, state }) => [id, state]),
        [[container, "CONTAINER_RUNNING"]],
      );

      assert.equal(await crictl.run("exec", "--sync", container, "echo", "from", "exec"), "from exec");
      assert.notEqual((await crictl.attempt("exec", "--sync", container, "sh", "-c", "exit 3")).code, 0);

      assert.equal(await crictl.run("stop", "--timeout=20", container), container);
      const { status } = await crictl.json<{ status: { state: string; exitCode: number } }>("inspect", container);
      assert.deepEqual([status.state, status.exitCode], ["CONTAINER_EXITED", 7]);
      const logs = await crictl.attempt("logs", container);
      assert.deepEqual([logs.stdout, logs.stderr], ["out\n", "err\n"]);

      assert.equal(await crictl.run("rm", container), container);
      await crictl.run("stopp", sandbox);
      await crictl.run("rmp", sandbox);
      assert.deepEqual((await crictl.json<{ items: unknown[] }>("pods")).items, []);
      await assertNothingLeaked(clean, server.paths);
    });

    test("a pod serves a page at its own address", async () => {
      await crictl.run("pull", nginx);
      const sandboxFile = await crictl.file(await sandboxConfig(crictl, "web"));
      const sandbox = await crictl.run("runp", sandboxFile);
      const config = { metadata: { name: "web" }, image: { image: nginx }, log_path: "web.log", linux: {} };
      const container = await crictl.run("create", sandbox, await crictl.file(config), sandboxFile);
      await crictl.run("start", container);
      const { status } = await crictl.json<{ status: { network: { ip: string } } }>("inspectp", sandbox);
      assert.equal(await page(`http://${status.network.ip}/`), "<p>it works\n");
      await crictl.run("rmp", "--force", sandbox);
      await assertNothingLeaked(clean, server.paths);
    });

    test("pods outlive a server that is killed", async () => {
      const sandboxFile = await crictl.file(await sandboxConfig(crictl, "killed"));
      const sandbox = await crictl.run("runp", sandboxFile);
      const container = await crictl.run(
        "create",
        sandbox,
        await crictl.file(containerConfig("main", "read never; sleep 1000")),
        sandboxFile,
      );
      await crictl.run("start", container);
      await server.kill();
      await server.restart();
      const { containers } = await crictl.json<{ containers: { id: string }[] }>("ps");
      assert.deepEqual(
        containers.map(({ id }) => id),
        [container],
      );
      assert.equal(await crictl.run("exec", "--sync", container, "echo", "alive"), "alive");
      await crictl.run("rmp", "--force", sandbox);
      await assertNothingLeaked(clean, server.paths);
    });

    test("images are removed and no row is left", async () => {
      await crictl.run("rmi", busybox, nginx);
      assert.deepEqual((await crictl.json<{ images: unknown[] }>("images")).images, []);
      assert.equal(await server.stop(), "exit code 0");
      await assertNoStateRows(server.paths);
    });
  });
}

async function sandboxConfig(crictl: Crictl, name: string): Promise<object> {
  return {
    metadata: { name, namespace: "conformance", uid: `uid-${name}`, attempt: 0 },
    hostname: name,
    log_directory: await crictl.logDirectory(name),
    dns_config: { servers: ["10.10.10.10"], searches: ["example.org"] },
    linux: { cgroup_parent: cgroupParent("nacelle-conformance") },
  };
}

function containerConfig(name: string, script: string): object {
  return {
    metadata: { name, attempt: 0 },
    image: { image: busybox },
    command: ["sh", "-c", script],
    log_path: `${name}.log`,
    stdin: false,
    linux: {
      resources: { cpu_shares: 102, memory_limit_in_bytes: 67_108_864, oom_score_adj: 500 },
      security_context: { namespace_options: { pid: 1 } },
    },
  };
}

/** nginx answers once it listens; until then connections are refused, at once. */
async function page(url: string): Promise<string> {
  const deadline = AbortSignal.timeout(20_000);
  for (;;) {
    try {
      const response = await fetch(url, { headers: { connection: "close" }, signal: deadline });
      return await response.text();
    } catch (error) {
      if (deadline.aborted) throw error;
    }
  }
}
