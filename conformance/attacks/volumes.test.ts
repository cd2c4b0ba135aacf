import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test, { after, afterEach, before, describe } from "node:test";
import type { ServiceError } from "@grpc/grpc-js";
import type { LayerEntry } from "../images/tar.ts";
import { AttackNode } from "./attack-node.ts";

/** More of them than any path is deep. */
const up = "../".repeat(24);
const link = (path: string, target: string): LayerEntry => ({ kind: "symbolicLink", path, target });

describe("an image or a volume that leads out of its root", () => {
  const owned = new AsyncDisposableStack();
  let node: AttackNode;
  let trap: string;

  before(async () => {
    trap = owned.adopt(await mkdtemp(join(tmpdir(), "trap-")), (path) => rm(path, { recursive: true, force: true }));
    const away = `${up}${trap}`;
    node = owned.use(
      await AttackNode.start([
        { name: "plain" },
        {
          name: "volumes",
          entries: [link("data", trap), link("dots", away), link("magic", "/proc/1/root/etc")],
          config: { Volumes: { "/etc": {}, "/data": {}, "/dots": {}, [`/${up}root/`]: {} } },
        },
        { name: "magic", entries: [link("magic", "/proc/1/root/etc")], config: { Volumes: { "/magic": {} } } },
        { name: "loop", entries: [link("loop", "loop")], config: { Volumes: { "/loop": {} } } },
        ...["dev", "proc", "sys"].map((name) => ({ name, entries: [link(name, away)] })),
        { name: "etc", entries: [link("etc", away)] },
        { name: "work", entries: [link("link", away)], config: { WorkingDir: "/link/made/here" } },
      ]),
    );
  });
  afterEach(async () => {
    for (const name of await readdir(trap)) await rm(join(trap, name), { recursive: true });
  });
  after(() => owned.disposeAsync());

  const mountsOnTrap = async () => (await readFile("/proc/self/mountinfo", "utf8")).split(trap).length - 1;
  const attempt = async (image: string, options: Parameters<AttackNode["create"]>[3] = {}) =>
    await node.run(await node.pod(), image, {}, options).catch((error: ServiceError) => error);

  test("shows nothing of the host in the volumes that it declares (as CVE-2022-23648)", async () => {
    await writeFile(join(trap, "secret"), "of the host\n");
    const id = await node.run(await node.pod(), "volumes");
    const magic = await node.run(await node.pod(), "magic");
    const shown =
      (await node.shell(id, "ls -A /etc /data /dots /root")) + (await node.shell(magic, "ls -A /magic/ /etc"));
    const ofHost = (await readdir("/etc")).filter((name) => !["passwd", "group", "hosts", "hostname"].includes(name));
    assert.ok(ofHost.length > 10);
    assert.deepEqual(
      ["secret", ...ofHost].filter((name) => shown.split("\n").includes(name) && name !== "resolv.conf"),
      [],
    );
    assert.match(await node.shell(id, "cat /etc/passwd"), /^root:x:0:0:root:\/root:\/bin\/sh\n/);
    const looping = await attempt("loop");
    assert.ok(looping instanceof Error && /loop/.test(looping.details), String(looping));
  });

  test("is refused where the runtime makes devices and the kernel's files are (as CVE-2026-41579, CVE-2025-62161)", async () => {
    for (const name of ["dev", "proc", "sys"]) {
      const result = await attempt(name);
      assert.deepEqual(await readdir(trap), []);
      assert.ok(
        result instanceof Error && result.details.includes(`image's /${name} is a symbolic link`),
        String(result),
      );
    }
    assert.equal(await mountsOnTrap(), 0);
  });

  for (const [image, what] of [
    ["etc", "where files of the pod are mounted (as CVE-2024-5154, CVE-2024-9341)"],
    ["work", "where its working directory is made (as CVE-2024-45310)"],
  ] as const) {
    test(`makes nothing on the host ${what}`, async () => {
      const result = await attempt(image);
      if (typeof result === "string") assert.match(await node.shell(result, "echo $((6 * 7))"), /42/);
      assert.deepEqual(await readdir(trap), []);
      assert.equal(await mountsOnTrap(), 0);
    });
  }

  test("is refused for /dev, where runtimes take its files for their own (as CVE-2025-31133, CVE-2025-52565)", async () => {
    const volume = join(node.server.paths.folder, "dev");
    await mkdir(volume);
    for (const name of ["null", "console"]) await symlink("/proc/sys/kernel/core_pattern", join(volume, name));
    const pattern = await readFile("/proc/sys/kernel/core_pattern", "utf8");
    const mounts = [{ containerPath: "/dev", hostPath: volume }];
    const result = await attempt("plain", { mounts, securityContext: { maskedPaths: ["/proc/version"] } });
    assert.ok(result instanceof Error && /container_path is \/dev/.test(result.details), String(result));
    assert.equal(await readFile("/proc/sys/kernel/core_pattern", "utf8"), pattern);
  });

  test("gets no mount on the host while it swaps a directory for a link (as CVE-2021-30465)", async () => {
    const volume = join(node.server.paths.folder, "shared");
    const secret = join(node.server.paths.folder, "secret");
    await mkdir(join(volume, "dir"), { recursive: true });
    await mkdir(secret);
    const shared = { containerPath: "/vol", hostPath: volume };
    const swap = `cd /vol; ln -s ${trap} away; while :; do mv dir d && mv away dir && mv dir away && mv d dir; done`;
    const swapper = await node.run(await node.pod(), "plain", {}, { mounts: [shared], command: ["sh", "-c", swap] });
    const pod = await node.pod();
    const mounts = [shared, { containerPath: "/vol/dir/sub", hostPath: secret }];
    for (let attempt = 0; attempt < 12; attempt += 1) {
      // Whether it works depends on what it met; what must not be is a mount outside.
      await node.run(pod, "plain", {}, { attempt, mounts }).catch(() => undefined);
      assert.equal(await mountsOnTrap(), 0);
    }
    await node.cri.call("StopContainer", { containerId: swapper, timeout: "0" });
  });

  test("is an image's directory asked for by a path that leads out", async () => {
    await writeFile(join(trap, "secret"), "of the host\n");
    for (const imageSubPath of ["dots", "data", "magic", "etc/../dots"]) {
      const mount = {
        ...{ containerPath: "/v", readonly: true, imageSubPath },
        image: { image: "docker.io/hostile/volumes:latest" },
      };
      const result = await attempt("plain", { mounts: [mount] });
      if (typeof result === "string") assert.doesNotMatch(await node.shell(result, "ls -A /v"), /secret/);
      else assert.match(result.details, /image_sub_path/);
    }
  });
});
