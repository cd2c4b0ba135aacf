import assert from "node:assert/strict";
import { chmod, chown, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import test, { after, before, describe } from "node:test";
import { file } from "../images/rootfs.ts";
import { AttackNode } from "./attack-node.ts";

const passwd = "root:x:0:0:root:/root:/bin/sh\nweb:x:1000:1000::/:/bin/sh\n";
const group = "root:x:0:\nweb:x:1000:\nwheel:x:50:web\n";

describe("a user in a container", () => {
  const owned = new AsyncDisposableStack();
  let node: AttackNode;

  before(async () => {
    const entries = [file("etc/passwd", passwd), file("etc/group", group)];
    node = owned.use(await AttackNode.start([{ name: "plain" }, { name: "web", entries, config: { User: "web" } }]));
  });
  after(() => owned.disposeAsync());

  /** A line of its status, of the first process and of one that an exec starts. */
  const lines = async (id: string, name: string) => {
    const output = await node.shell(id, `grep -h '^${name}:' /proc/1/status /proc/self/status`);
    return output
      .trimEnd()
      .split("\n")
      .map((line) => line.trimEnd());
  };

  test("has the primary group among the others, so that it cannot shed it (as CVE-2023-25173, CVE-2022-2995)", async () => {
    const denied = join(node.server.paths.folder, "denied");
    await mkdir(denied);
    await writeFile(join(denied, "file"), "not for the group\n");
    // Everybody may read it but group 1000: with that group shed, everybody is who is left.
    await chown(join(denied, "file"), 0, 1000);
    await chmod(join(denied, "file"), 0o604);
    const mounts = [{ containerPath: "/denied", hostPath: denied }];
    const id = await node.run(await node.pod(), "web", {}, { mounts });
    assert.deepEqual(await lines(id, "Groups"), ["Groups:\t50 1000", "Groups:\t50 1000"]);
    const asked = { supplementalGroups: ["77"], supplementalGroupsPolicy: "Strict", runAsUser: { value: "1000" } };
    const strict = await node.run(await node.pod(), "web", {}, { mounts, securityContext: asked });
    for (const line of await lines(strict, "Groups")) assert.equal(line, "Groups:\t77 1000");
    assert.match(await node.shell(strict, "cat /denied/file"), /[Pp]ermission denied/);
  });

  test("inherits no capability, started or executed (as CVE-2022-24769, CVE-2022-29162, CVE-2022-27652)", async () => {
    for (const securityContext of [
      {},
      { capabilities: { addCapabilities: ["ALL"] } },
      { runAsUser: { value: "1000" }, capabilities: { addCapabilities: ["NET_ADMIN"] } },
    ]) {
      const id = await node.run(await node.pod(), "plain", {}, { securityContext });
      for (const set of ["CapInh", "CapAmb"]) {
        assert.deepEqual(await lines(id, set), [`${set}:\t${"0".repeat(16)}`, `${set}:\t${"0".repeat(16)}`]);
      }
    }
  });
});
