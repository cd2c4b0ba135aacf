/** What pods with ids of their own stand on: user namespaces, what belongs to them, and id-mapped mounts. */
import assert from "node:assert/strict";
import {
  chmodSync,
  chownSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { Launcher } from "../../src/launcher/launcher.ts";
import type { Operation } from "../../src/launcher/operations.ts";
import { options, Site } from "./launcher-fixture.ts";

const HOST_ID = 300_000;

async function perform(launcher: Launcher, ...operations: Operation[]): Promise<string[]> {
  return (await launcher.perform(operations, options)).map(String);
}

function userNamespace(path: string, first = HOST_ID): Operation {
  return { op: "userNamespace", path, uidMap: `0 ${first} 65536`, gidMap: `0 ${first + 1} 65536` };
}

async function inside(launcher: Launcher, flags: readonly string[], script: string): Promise<string[]> {
  const argv = ["/usr/bin/nsenter", ...flags, "/bin/sh", "-c", script];
  const result = await launcher.run({ ...options, argv, env: { PATH: "/bin:/usr/bin:/sbin" } });
  assert.equal(result.status, 0, String(result.stderr));
  return String(result.stdout).trim().split("\n");
}

describe("a user namespace", () => {
  it("is pinned with its maps, and others are made that belong to it", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const at = (name: string): string => join(site.dir, name);
    const before = readFileSync("/proc/sys/kernel/shm_rmid_forced", "utf8");
    await perform(launcher, userNamespace(at("user")), {
      ...{ op: "namespaces", user: at("user"), net: at("net"), ipc: at("ipc"), uts: at("uts"), hostname: "pod-1" },
      sysctls: [
        ["net/ipv4/ip_unprivileged_port_start", "7"],
        ["net/ipv4/ping_group_range", "0 65535"],
        ["kernel/shm_rmid_forced", "1"],
        ["fs/mqueue/msg_max", "13"],
      ],
    });
    const flags = ["user", "net", "ipc", "uts"].map((name) => `--${name}=${at(name)}`);
    const look =
      "cat /proc/self/uid_map /proc/self/gid_map; id -u; hostname; cat /proc/sys/net/ipv4/ip_unprivileged_port_start " +
      "/proc/sys/net/ipv4/ping_group_range /proc/sys/kernel/shm_rmid_forced /proc/sys/fs/mqueue/msg_max; " +
      // Only who owns the namespaces may do these.
      "hostname other && ip link add dummy0 type veth && ip -o link show lo | grep -c LOWER_UP";
    const lines = await inside(launcher, flags, look);
    assert.deepEqual(
      lines.map((line) => line.trim().replaceAll(/\s+/g, " ")),
      [`0 ${HOST_ID} 65536`, `0 ${HOST_ID + 1} 65536`, "0", "pod-1", "7", "0 65535", "1", "13", "1"],
    );
    assert.equal(readFileSync("/proc/sys/kernel/shm_rmid_forced", "utf8"), before);
    await perform(
      launcher,
      ...["net", "ipc", "uts", "user"].map((name): Operation => ({ op: "unpin", path: at(name) })),
    );
    assert.deepEqual(readdirSync(site.dir), ["run"]);
  });

  it("is not there when its map is refused, and neither is what was to belong to one that is absent", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const path = join(site.dir, "user");
    const bad = perform(launcher, { op: "userNamespace", path, uidMap: "0 1", gidMap: "0 1 1" });
    await assert.rejects(bad, { code: "EINVAL", syscall: "uid_map" });
    const net = join(site.dir, "net");
    await assert.rejects(perform(launcher, { op: "namespaces", user: path, net }), { code: "ENOENT", path });
    const sysctls = [["net/none", "1"]] as const;
    const made = perform(launcher, userNamespace(path), { op: "namespaces", user: path, net, sysctls });
    await assert.rejects(made, { code: "ENOENT", syscall: "sysctl", index: 1 });
    assert.deepEqual(readdirSync(site.dir).sort(), ["run", "user"]);
    await perform(launcher, { op: "unpin", path });
    assert.ok(!readFileSync("/proc/self/mounts", "utf8").includes(site.dir));
  });
});

describe("an overlay of id-mapped layers", () => {
  it("shows its files as the namespace's, writes as the namespace's, and leaves no other mount", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const at = (name: string): string => join(site.dir, name);
    for (const name of ["1", "2", "upper", "work", "m"]) mkdirSync(at(name));
    writeFileSync(at("1/root"), "lower");
    writeFileSync(at("1/both"), "lower");
    writeFileSync(at("2/both"), "upper");
    writeFileSync(at("2/daemon"), "");
    chownSync(at("2/daemon"), 5, 6);
    const mounted = readFileSync("/proc/self/mounts", "utf8").split("\n").length;
    const overlay: Operation = {
      ...{ op: "mountOverlay", user: at("user"), target: at("m"), chdir: site.dir, lower: ["2", "1"] },
      data: `upperdir=${at("upper")},workdir=${at("work")},volatile,index=off`,
    };
    await perform(
      launcher,
      userNamespace(at("user")),
      { op: "chown", path: at("upper"), uid: HOST_ID, gid: HOST_ID + 1 },
      overlay,
    );
    assert.equal(readFileSync("/proc/self/mounts", "utf8").split("\n").length, mounted + 2);
    assert.equal(readFileSync(at("m/both"), "utf8"), "upper");
    for (const [name, uid, gid] of [
      ["", HOST_ID, HOST_ID + 1],
      ["root", HOST_ID, HOST_ID + 1],
      ["daemon", HOST_ID + 5, HOST_ID + 7],
    ] as const) {
      const { uid: actual, gid: group } = statSync(at(`m/${name}`));
      assert.deepEqual([actual, group], [uid, gid], name);
    }
    chmodSync(site.dir, 0o711); // the namespace's root is nobody out here
    const lines = await inside(
      launcher,
      [`--user=${at("user")}`],
      `cd ${at("m")} && stat -c %u:%g root daemon && echo new >>root && touch made && chown 5:6 made && stat -c %u:%g made`,
    );
    assert.deepEqual(lines, ["0:0", "5:6", "5:6"]);
    assert.equal(statSync(at("upper/root")).uid, HOST_ID);
    assert.equal(statSync(at("upper/made")).uid, HOST_ID + 5);
    assert.equal(readFileSync(at("1/root"), "utf8"), "lower");
    await perform(launcher, { op: "unmount", target: at("m") }, { op: "unpin", path: at("user") });
    assert.equal(readFileSync("/proc/self/mounts", "utf8").split("\n").length, mounted);
  });

  it("of 128 layers is mounted, and of a layer that is not there nothing stays", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const at = (name: string): string => join(site.dir, name);
    const lower = Array.from({ length: 128 }, (_, index) => `l${index}`);
    for (const name of [...lower, "upper", "work", "m"]) mkdirSync(at(name));
    for (const name of lower) writeFileSync(at(`${name}/in-${name}`), "");
    const overlay = (layers: readonly string[]): Operation => ({
      ...{ op: "mountOverlay", user: at("user"), target: at("m"), chdir: site.dir, lower: layers },
      data: `upperdir=${at("upper")},workdir=${at("work")}`,
    });
    await perform(launcher, userNamespace(at("user")), overlay(lower));
    assert.equal(readdirSync(at("m")).length, 128);
    await perform(launcher, { op: "unmount", target: at("m") });
    await assert.rejects(perform(launcher, overlay(["l0", "none"])), { code: "ENOENT", syscall: "open_tree" });
    assert.ok(!existsSync(at("m/in-l0")));
    assert.ok(!readFileSync("/proc/self/mounts", "utf8").includes(`${at("m")} `));
    await perform(launcher, { op: "unpin", path: at("user") });
  });

  it("is refused by name where the file system cannot be id-mapped", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const user = join(site.dir, "user");
    const [, able] = await perform(launcher, userNamespace(user), { op: "tryIdmap", user, path: site.dir });
    assert.equal(able, "");
    const proc = perform(launcher, { op: "tryIdmap", user, path: "/proc" });
    await assert.rejects(proc, { code: "EINVAL", syscall: "mount_setattr", path: "/proc" });
    await perform(launcher, { op: "unpin", path: user });
  });
});

it("an owner is given to what is made in a root, and to a link rather than to what it leads to", async () => {
  await using site = new Site();
  const launcher = await site.start();
  const root = join(site.dir, "root");
  mkdirSync(join(root, "was"), { recursive: true });
  symlinkSync("was", join(root, "link"));
  const owner = { uid: HOST_ID, gid: HOST_ID + 1 };
  const [path] = await perform(
    launcher,
    { op: "mkdirInRoot", root, path: "link/new/deep", mode: 0o755, owner },
    { op: "chown", path: join(root, "link"), uid: 1, gid: 2 },
  );
  assert.equal(path, "was/new/deep");
  assert.equal(statSync(join(root, "was")).uid, 0);
  for (const name of ["was/new", "was/new/deep"]) assert.equal(statSync(join(root, name)).gid, HOST_ID + 1);
  assert.equal(lstatSync(join(root, "link")).gid, 2);
});
