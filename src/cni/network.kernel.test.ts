import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtempDisposable, readdir, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { promisify } from "node:util";
import { type Attachment, attached, intended, isDebt, owed, progressed, withoutNamespace } from "./attachment.ts";
import { capabilityArgs } from "./capability.ts";
import { DebtPayer } from "./debts.ts";
import { Host } from "./host.fixture.ts";
import type { JsonObject } from "./json-object.ts";
import { addNetwork, checkNetwork, deleteNetwork, isUndone } from "./network.ts";
import { type NetworkConfig, parseNetworkList } from "./network-config.ts";
import { findPlugins } from "./plugin-path.ts";

const execute = promisify(execFile);
const PLUGINS = "/usr/lib/cni";
const options = { timeoutMs: 60_000, undoTimeoutMs: 60_000, preferred: "ipv4" } as const;

describe("CNI plugins of this machine", () => {
  let host: Host;
  let directory: Awaited<ReturnType<typeof mkdtempDisposable>>;
  let serial = 0;

  before(async () => {
    directory = await mkdtempDisposable(join(tmpdir(), "cni-"));
    host = await Host.create();
  });
  after(async () => {
    await host[Symbol.asyncDispose]();
    await directory.remove();
  });

  async function network(plugins: readonly object[], cniVersion = "1.0.0"): Promise<NetworkConfig> {
    const list = parseNetworkList(JSON.stringify({ cniVersion, name: "test", plugins }));
    const binDirs = [directory.path, PLUGINS];
    return { file: "10-test.conflist", list, binDirs, pluginPaths: await findPlugins(list, binDirs) };
  }

  const bridge = (subnet = "10.88.0.0/16") => ({
    type: "bridge",
    bridge: "cni0",
    isGateway: true,
    ipMasq: true,
    hairpinMode: true,
    ipam: {
      type: "host-local",
      dataDir: join(directory.path, "ipam"),
      ranges: [[{ subnet }]],
      routes: [{ dst: "0.0.0.0/0" }],
    },
  });
  const portmap = { type: "portmap", capabilities: { portMappings: true } };
  const firewall = { type: "firewall", backend: "iptables" };

  async function intend(config: NetworkConfig, hostPort = 0): Promise<Attachment> {
    const id = (++serial).toString(16).padStart(64, "0");
    const name = `nacelle-${id}`;
    await host.sh(`ip netns add ${name}`);
    const portMappings = [{ protocol: "tcp", containerPort: 80, hostPort, hostIp: "" }] as const;
    const { args } = capabilityArgs({ portMappings, annotations: {} }, config.list);
    return intended(config, { id, namespace: "default", name: "web", uid: "u-1" }, `/run/netns/${name}`, args);
  }

  /** Addresses, links and rules that belong to no host but to sandboxes. */
  async function leftovers() {
    const addresses = await readdir(join(directory.path, "ipam", "test")).catch(() => []);
    const links = await host.sh("ip -o link show type veth");
    const rules = await host.sh("iptables-save");
    return {
      addresses: addresses.filter((file) => /^[\d.]+$/.test(file)),
      links: links.split("\n").filter((line) => line !== ""),
      rules: rules.split("\n").filter((line) => /^-A .*(10\.88\.|[0-9a-f]{64}|CNI-[0-9a-f]{24}|CNI-DN-)/.test(line)),
    };
  }
  const nothing = { addresses: [], links: [], rules: [] };

  async function script(name: string, body: string): Promise<void> {
    const path = join(directory.path, name);
    await writeFile(path, `#!/bin/sh\n${body}\n`);
    await chmod(path, 0o755);
  }

  it("attach a sandbox with a host port and leave nothing after DEL, which succeeds twice", async () => {
    const intent = await intend(await network([bridge(), portmap, firewall]), 18080);
    const result = await addNetwork(host.operations, intent, options);
    const row = attached(intent, result.raw);
    assert.match(result.ips.join(), /^10\.88\.\d+\.\d+$/);
    assert.equal(result.interfaces.find(({ sandbox }) => sandbox !== "")?.name, "eth0");
    const before = await leftovers();
    assert.equal(before.addresses.length, 1);
    assert.equal(before.links.length, 1);
    assert.match(before.rules.join("\n"), /--dport 18080/);
    assert.ok(before.rules.some((rule) => rule.includes("CNI-FORWARD")));
    await deleteNetwork(host.operations, row, 60_000);
    assert.deepEqual(await leftovers(), nothing);
    await deleteNetwork(host.operations, row, 60_000);
  });

  it("carry a page from a sandbox to a port of the host at 127.0.0.1", async () => {
    const intent = await intend(await network([bridge(), portmap]), 18081);
    const result = await addNetwork(host.operations, intent, options);
    const serve = `require("node:http").createServer((_, answer) => answer.end("hello")).listen(80, () => console.log("up"))`;
    const name = intent.netnsPath.slice("/run/netns/".length);
    const server = host.spawn("ip", "netns", "exec", name, process.execPath, "-e", serve);
    const closed = once(server, "close");
    await once(server.stdout, "data");
    const fetched = `fetch("http://127.0.0.1:18081", { signal: AbortSignal.timeout(20_000) }).then((answer) => answer.text()).then(console.log)`;
    assert.equal(await host.sh(`${process.execPath} -e '${fetched}'`), "hello\n");
    server.kill("SIGKILL");
    await closed;
    await deleteNetwork(host.operations, attached(intent, result.raw), 60_000);
    assert.deepEqual(await leftovers(), nothing);
  });

  it("attach many sandboxes at once with distinct addresses, and free all of them", async () => {
    const config = await network([bridge(), firewall]);
    const intents = await Promise.all(Array.from({ length: 8 }, () => intend(config)));
    const rows = await Promise.all(
      intents.map(async (intent) => attached(intent, (await addNetwork(host.operations, intent, options)).raw)),
    );
    assert.equal((await leftovers()).addresses.length, 8);
    await Promise.all(rows.map((row) => deleteNetwork(host.operations, row, 60_000)));
    assert.deepEqual(await leftovers(), nothing);
  });

  it("free the address with an empty CNI_NETNS when the namespace is gone", async () => {
    const intent = await intend(await network([{ ...bridge(), ipMasq: false }, portmap, firewall]), 18082);
    const result = await addNetwork(host.operations, intent, options);
    const row = withoutNamespace(attached(intent, result.raw));
    await host.sh(`ip netns del ${intent.netnsPath.slice("/run/netns/".length)}`);
    await deleteNetwork(host.operations, row, 60_000);
    assert.deepEqual(await leftovers(), nothing);
  });

  it("free address and link when the daemon died in ADD and no result is known", async () => {
    const intent = await intend(await network([bridge(), portmap]), 18083);
    await addNetwork(host.operations, intent, options);
    await deleteNetwork(host.operations, intent, 60_000);
    assert.deepEqual(await leftovers(), nothing);
  });

  it("free firewall rules from the partial result when the daemon died in a later plugin's ADD", async () => {
    const intent = await intend(await network([bridge(), firewall, portmap]), 18084);
    let row: Attachment = intent;
    const onProgress = (partial: JsonObject) => {
      row = progressed(row, partial);
    };
    await addNetwork(host.operations, intent, { ...options, onProgress });
    assert.equal(row.state.phase, "intent");
    await deleteNetwork(host.operations, row, 60_000);
    assert.deepEqual(await leftovers(), nothing);
  });

  it("leave nothing when a later plugin of the chain fails", async () => {
    await script(
      "fails",
      `[ "$CNI_COMMAND" = ADD ] || exit 0; echo '{"code":11,"msg":"not now","details":"try later"}'; exit 1`,
    );
    const intent = await intend(await network([bridge(), firewall, portmap, { type: "fails" }]), 18085);
    const error = await addNetwork(host.operations, intent, options).catch((reason: unknown) => reason);
    assert.ok(error instanceof Error);
    assert.equal(error.message, "CNI plugin fails ADD failed: not now: try later (code 11)");
    assert.ok(isUndone(error));
    assert.deepEqual(await leftovers(), nothing);
  });

  it("free what other plugins hold when one is missing at DEL, and name it", async () => {
    await script("vanishes", `[ "$CNI_COMMAND" = ADD ] || exit 0; exec sed -n 's/.*"prevResult":\\(.*\\)}$/\\1/p'`);
    const intent = await intend(await network([bridge(), { type: "vanishes" }]));
    const result = await addNetwork(host.operations, intent, options);
    await execute("rm", [join(directory.path, "vanishes")]);
    const error = await deleteNetwork(host.operations, attached(intent, result.raw), 60_000).catch((e: unknown) => e);
    assert.match(String(error), /CNI plugin vanishes DEL/);
    assert.deepEqual(await leftovers(), nothing);
  });

  it("pass CHECK while attached and fail it once the interface is gone", async () => {
    // Without ipMasq: bridge finds its masquerading rules by the interface's addresses, and cannot once that is gone.
    const intent = await intend(await network([{ ...bridge(), ipMasq: false }, firewall]));
    const row = attached(intent, (await addNetwork(host.operations, intent, options)).raw);
    await checkNetwork(host.operations, row, 60_000);
    await host.sh(`ip -n ${intent.netnsPath.slice("/run/netns/".length)} link del eth0`);
    await assert.rejects(
      checkNetwork(host.operations, row, 60_000),
      /CNI plugin bridge CHECK failed: .*eth0.*\(code \d+\)/,
    );
    await deleteNetwork(host.operations, row, 60_000);
    assert.deepEqual(await leftovers(), nothing);
  });

  it("end with as many addresses as live sandboxes however many ADDs and DELs fail", async () => {
    // Fails every third ADD, and every DEL of a sandbox that it has not failed before.
    await script(
      "flaky",
      `cd ${directory.path}
      if [ "$CNI_COMMAND" = ADD ]; then
        case "$CNI_CONTAINERID" in *[0369c]) exit 3;; esac
        exec sed -n 's/.*"prevResult":\\(.*\\)}$/\\1/p'
      fi
      mkdir "failed-$CNI_CONTAINERID" 2>/dev/null && exit 4 || exit 0`,
    );
    const config = await network([bridge(), firewall, { type: "flaky" }]);
    const rows = new Map<string, Attachment>();
    for (const intent of await Promise.all(Array.from({ length: 9 }, () => intend(config)))) {
      rows.set(intent.sandboxId, intent);
      let row: Attachment = intent;
      const onProgress = (partial: JsonObject) => {
        row = progressed(row, partial);
      };
      await addNetwork(host.operations, intent, { ...options, onProgress }).then(
        ({ raw }) => rows.set(intent.sandboxId, attached(row, raw)),
        (error: unknown) => {
          assert.ok(!isUndone(error));
          rows.set(intent.sandboxId, owed(row, String(error), Date.now()));
        },
      );
    }
    const debts = () => [...rows.values()].filter(isDebt);
    await using payer = new DebtPayer({
      debts,
      debt: (id) => debts().find(({ sandboxId }) => sandboxId === id),
      pay: (debt, signal) => deleteNetwork(host.operations, debt, 60_000, signal),
      paid: async ({ sandboxId }) => void rows.delete(sandboxId),
      failed: async (debt) => void rows.set(debt.sandboxId, debt),
      nowMs: () => Date.now(),
      jitter: () => 0,
    });
    await Promise.all(debts().map(({ sandboxId }) => payer.pay(sandboxId)));
    assert.equal(rows.size, 6);
    assert.equal((await leftovers()).addresses.length, 6);
    for (const row of rows.values()) rows.set(row.sandboxId, owed(row, "", Date.now()));
    const first = await Promise.allSettled(debts().map(({ sandboxId }) => payer.pay(sandboxId)));
    assert.ok(first.every(({ status }) => status === "rejected"));
    await Promise.all(debts().map(({ sandboxId }) => payer.pay(sandboxId)));
    assert.equal(rows.size, 0);
    assert.deepEqual(await leftovers(), nothing);
  });

  it("speak 0.3.1 and 0.4.0 too", async () => {
    for (const cniVersion of ["0.3.1", "0.4.0"]) {
      const intent = await intend(await network([bridge(), portmap], cniVersion), 18086);
      const result = await addNetwork(host.operations, intent, options);
      assert.match(result.ips.join(), /^10\.88\./, cniVersion);
      assert.equal(result.raw.cniVersion, cniVersion);
      await deleteNetwork(host.operations, attached(intent, result.raw), 60_000);
      assert.deepEqual(await leftovers(), nothing, cniVersion);
    }
  });

  it("are cut at their deadline when they sleep, are named, and the chain is undone", async () => {
    await script("sleeps", `[ "$CNI_COMMAND" = ADD ] || exit 0; exec sleep 600`);
    const intent = await intend(await network([bridge(), { type: "sleeps" }]));
    const error = await addNetwork(host.operations, intent, { ...options, timeoutMs: 1_000 }).catch((e: unknown) => e);
    assert.match(String(error), /CNI plugin sleeps ADD did not answer within [\d.]+s$/);
    assert.ok(isUndone(error));
    assert.deepEqual(await leftovers(), nothing);
  });

  it("may print ten megabytes of garbage: the message is bounded and the chain is undone", async () => {
    await script("babbles", `[ "$CNI_COMMAND" = ADD ] || exit 0; head -c 10000000 /dev/zero | tr '\\0' x`);
    const intent = await intend(await network([bridge(), { type: "babbles" }]));
    const error = await addNetwork(host.operations, intent, options).catch((e: unknown) => e);
    assert.ok(error instanceof Error);
    assert.match(error.message, /^CNI plugin babbles ADD printed more than is accepted: "x{300}…"$/);
    assert.deepEqual(await leftovers(), nothing);
  });
});
