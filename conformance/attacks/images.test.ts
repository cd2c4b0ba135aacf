import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import test, { after, before, describe } from "node:test";
import type { ServiceError } from "@grpc/grpc-js";
import { file } from "../images/rootfs.ts";
import { AttackNode, type HostileImage } from "./attack-node.ts";

const megabytes = 32;

/** As passwd says it, at the end of so much of it that reading all would hurt. */
const hugePasswd = Buffer.concat([
  Buffer.alloc(megabytes << 20, "x:x:1000:1000::/:/bin/sh\n"),
  Buffer.from("late:x:4711:4711::/:/bin/sh\n"),
]);

const overflows = ["4294967296", "4294967295", "-1", "2147483648:4294967296", "18446744073709551616", "0x0", "1e0"];

const images: readonly HostileImage[] = [
  { name: "plain" },
  { name: "huge", entries: [file("etc/passwd", hugePasswd)], config: { User: "late" } },
  // A user whose name is the number that overflows: root, for who falls back on names.
  ...overflows.map((User, index) => ({
    name: `overflow-${index}`,
    entries: [file("etc/passwd", `${User}:x:0:0::/:/bin/sh\n`)],
    config: { User },
  })),
  {
    name: "labels",
    config: {
      Labels: {
        "containerd.io/restart.loguri": "binary:///bin/touch?/tmp/evil",
        "io.kubernetes.cri.container-type": "sandbox",
        "org.criu.checkpoint.container.name": "evil",
        "run.oci.hooks.stderr": "/tmp/evil",
      },
    },
  },
];

describe("an image", () => {
  const owned = new AsyncDisposableStack();
  let node: AttackNode;

  before(async () => {
    node = owned.use(await AttackNode.start(images));
  });
  after(() => owned.disposeAsync());

  async function refusal(name: string): Promise<ServiceError> {
    return await node.create(await node.pod(), name).then(
      () => assert.fail(`a container of ${name} was created`),
      (reason: ServiceError) => reason,
    );
  }

  test("with a passwd of 32 MB is not read into memory (as CVE-2025-4437, CVE-2026-47262)", async () => {
    const error = await refusal("huge");
    assert.match(error.details, /passwd.*too large/);
  });

  for (const [index, user] of overflows.entries()) {
    test(`of the user ${user} is not root's (as CVE-2024-40635, CVE-2026-46680)`, async () => {
      const pod = await node.pod();
      const created = await node.create(pod, `overflow-${index}`).catch((error: ServiceError) => error);
      if (created instanceof Error) {
        assert.match(created.details, /user|group/i);
        return;
      }
      // "0x0" and "1e0" are names like any other: the image says who they are. Digits never are.
      assert.match(user, /[a-z]/);
    });
  }

  test("commands nothing by its labels (as CVE-2026-53488, CVE-2024-8676, CVE-2026-92574)", async () => {
    const id = await node.run(await node.pod(), "labels");
    const { info, status: state } = await node.cri.call("ContainerStatus", { containerId: id, verbose: true });
    const { bundle }: { bundle: string } = JSON.parse(info["info"] ?? "{}");
    const spec: { annotations: Record<string, string> } = JSON.parse(
      await readFile(join(bundle, "config.json"), "utf8"),
    );
    assert.doesNotMatch(JSON.stringify(spec), /evil/);
    assert.equal(spec.annotations["io.kubernetes.cri.container-type"], "container");
    assert.doesNotMatch(JSON.stringify(state), /evil/);
    assert.match(await node.shell(id, "echo $((6 * 7))"), /42/);
  });
});
