import assert from "node:assert/strict";
import test from "node:test";
import type { ClusterNode } from "./cluster-node.ts";
import { podManifest, shell, waits } from "./pod.ts";

/** Tests of what a pod finds around itself: volumes, networks, namespaces, users. */
export function testSurroundings(node: () => ClusterNode): void {
  test("containers of a pod share its empty volumes, on disk and in memory", async () => {
    const both = [
      { name: "disk", mountPath: "/disk" },
      { name: "memory", mountPath: "/memory" },
    ];
    const writer = "echo d > /disk/f; echo m > /memory/f; echo done > /disk/done;";
    const reader = "while ! test -e /disk/done; do sleep 0.1; done; cat /disk/f /memory/f; stat -f -c %T /memory;";
    const spec = {
      containers: [
        shell("writer", `${writer} ${waits}`, { volumeMounts: both }),
        shell("reader", `${reader} touch /tmp/read; ${waits}`, {
          volumeMounts: both.map((mount) => ({ ...mount, readOnly: true })),
          readinessProbe: { exec: { command: ["test", "-e", "/tmp/read"] }, periodSeconds: 1 },
        }),
      ],
      volumes: [
        { name: "disk", emptyDir: {} },
        { name: "memory", emptyDir: { medium: "Memory", sizeLimit: "1Mi" } },
      ],
    };
    await node().apply(podManifest("empty", spec));
    await node().untilReady("empty");
    assert.equal(await node().logs("empty", "reader"), "d\nm\ntmpfs\n");
    await assert.rejects(node().run("empty", "reader", "touch /disk/forbidden"), /Read-only file system/);
  });

  test("a folder of the host is shared both ways, whole and a part of it", async () => {
    const folder = await node().sharedFolder("host-path");
    await folder.write("in", "from the host\n");
    const spec = {
      containers: [
        shell("main", `cat /host/in; echo from the pod > /host/out; echo part > /part/file; ${waits}`, {
          volumeMounts: [
            { name: "host", mountPath: "/host" },
            { name: "host", mountPath: "/part", subPath: "below" },
          ],
          readinessProbe: { exec: { command: ["test", "-e", "/host/below/file"] }, periodSeconds: 1 },
        }),
      ],
      volumes: [{ name: "host", hostPath: { path: folder.path, type: "Directory" } }],
    };
    await node().apply(podManifest("host-path", spec));
    await node().untilReady("host-path");
    assert.equal(await node().logs("host-path", "main"), "from the host\n");
    assert.equal(await folder.read("out"), "from the pod\n");
    assert.equal(await folder.read("below/file"), "part\n");
  });

  test("a pod on the host's network has the node's address and sees its links", async () => {
    const script = "test -d /sys/class/net/node0 && hostname && exec httpd -f -p 12080 -h /www";
    const readinessProbe = { httpGet: { port: 12080, path: "/" }, periodSeconds: 1 };
    const spec = { hostNetwork: true, containers: [shell("main", script, { readinessProbe })] };
    await node().apply(podManifest("host-network", spec));
    await node().untilReady("host-network");
    assert.equal(await page(`http://${node().address}:12080/`), "<p>it works\n");
  });

  test("a port of the host leads to the pod, from the node's address and from loopback, until the pod is gone", async () => {
    const ports = [{ containerPort: 8080, hostPort: 18_080 }];
    const readinessProbe = { httpGet: { port: 8080, path: "/" }, periodSeconds: 1 };
    const spec = { containers: [shell("main", "exec httpd -f -p 8080 -h /www", { ports, readinessProbe })] };
    await node().apply(podManifest("host-port", spec));
    const { status } = await node().untilReady("host-port");
    for (const address of [`${status.podIP}:8080`, `${node().address}:18080`, "127.0.0.1:18080"]) {
      assert.equal(await page(`http://${address}/`), "<p>it works\n", address);
    }
    await node().delete("host-port");
    await node().untilStopped("host-port");
    await assert.rejects(page(`http://${node().address}:18080/`));
  });

  test("containers see each other's processes where the pod shares them", async () => {
    const spec = {
      shareProcessNamespace: true,
      containers: [shell("one", "exec sleep 31337"), shell("two", waits)],
    };
    await node().apply(podManifest("shared-processes", spec));
    await node().untilReady("shared-processes");
    assert.match(await node().run("shared-processes", "two", "ps -o args"), /^sleep 31337$/m);
  });

  test("a container runs as the user that the pod names, with the groups, limits and values that it names", async () => {
    const script = `id -u; id -G; cat /proc/sys/net/ipv4/ip_local_port_range; echo $NAME $ADDRESS; grep NoNewPrivs /proc/self/status; touch /x; ${waits}`;
    const spec = {
      securityContext: {
        runAsUser: 1234,
        runAsGroup: 2345,
        fsGroup: 3456,
        supplementalGroups: [4567],
        sysctls: [{ name: "net.ipv4.ip_local_port_range", value: "40000 41000" }],
      },
      containers: [
        shell("main", script, {
          securityContext: {
            readOnlyRootFilesystem: true,
            allowPrivilegeEscalation: false,
            capabilities: { drop: ["ALL"] },
            seccompProfile: { type: "RuntimeDefault" },
          },
          env: [
            { name: "NAME", valueFrom: { fieldRef: { fieldPath: "metadata.name" } } },
            { name: "ADDRESS", valueFrom: { fieldRef: { fieldPath: "status.podIP" } } },
          ],
        }),
      ],
    };
    await node().apply(podManifest("user", spec));
    const { status, metadata } = await node().untilReady("user");
    await node().untilLogged("user", "main", "touch:");
    assert.deepEqual((await node().logs("user", "main")).split("\n").slice(0, 6), [
      "1234",
      "2345 3456 4567",
      "40000\t41000",
      `${metadata.name} ${status.podIP}`,
      "NoNewPrivs:\t1",
      "touch: /x: Read-only file system",
    ]);
  });
}

/** A page, over a connection of its own. */
async function page(url: string): Promise<string> {
  const response = await fetch(url, { headers: { connection: "close" }, signal: AbortSignal.timeout(20_000) });
  return await response.text();
}
