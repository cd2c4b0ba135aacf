/** What PERFORM does, on real file systems, namespaces and cgroups. Needs root and a mount namespace of its own. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { until } from "../../conformance/harness/until.ts";
import type { Launcher } from "../../src/launcher/launcher.ts";
import type { Operation } from "../../src/launcher/operations.ts";
import { mounts, options, Site } from "./launcher-fixture.ts";
import { isAlive } from "./processes.ts";

const MS_BIND = 4096;
const MS_RDONLY = 1;
const MS_REMOUNT = 32;

async function perform(launcher: Launcher, ...operations: Operation[]): Promise<string[]> {
  return (await launcher.perform(operations, options)).map(String);
}

describe("files", () => {
  it("directories and files are made, replaced, renamed and removed; absent ones are no trouble", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const at = (name: string): string => join(site.dir, name);
    await perform(
      launcher,
      { op: "mkdir", path: at("a/b/c"), mode: 0o1777, parents: true },
      { op: "mkdir", path: at("a/b/c"), mode: 0o700 },
      { op: "writeFile", path: at("a/file"), mode: 0o640, data: Buffer.from("one") },
      { op: "writeFile", path: at("a/file"), mode: 0o666, data: Buffer.from("two") },
      { op: "rename", from: at("a/file"), to: at("a/other") },
      { op: "unlink", path: at("a/none") },
      { op: "rmdir", path: at("a/none") },
      { op: "rmtree", path: at("a/none") },
      { op: "rmtree", path: at("none/none") },
      { op: "unmount", target: at("a") },
      { op: "unmount", target: at("a/none") },
      { op: "unpin", path: at("a/none") },
      { op: "syncfs", path: at("a") },
    );
    assert.equal(statSync(at("a/b/c")).mode & 0o7777, 0o1777);
    assert.equal(statSync(at("a/b")).mode & 0o7777, 0o755);
    assert.equal(statSync(at("a/other")).mode & 0o7777, 0o666);
    assert.equal(readFileSync(at("a/other"), "utf8"), "two");
    assert.deepEqual(readdirSync(at("a")).sort(), ["b", "other"]);
    await perform(launcher, { op: "unlink", path: at("a/other") }, { op: "rmdir", path: at("a/b/c") });
    assert.deepEqual(readdirSync(at("a/b")), []);
  });

  it("are described", async () => {
    await using site = new Site();
    const launcher = await site.start();
    symlinkSync("/dev/null", join(site.dir, "link"));
    writeFileSync(join(site.dir, "file"), Buffer.alloc(8192), { mode: 0o600 });
    const [device, file, path, fs, usage] = await perform(
      launcher,
      { op: "stat", path: join(site.dir, "link") },
      { op: "stat", path: join(site.dir, "file") },
      { op: "realpath", path: join(site.dir, "link") },
      { op: "statfs", path: site.dir },
      { op: "diskUsage", path: join(site.dir, "file") },
    );
    assert.equal(device, `c ${0o666} 0 0 ${statSync("/dev/null").rdev} 0`);
    assert.equal(file, `f ${0o600} 0 0 0 8192`);
    assert.equal(path, "/dev/null");
    assert.match(fs ?? "", /^\d+ \d+ \d+ \d+ \d+$/);
    assert.equal(usage, "8192 1");
  });

  it("the first that fails ends the list and is named", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const list = perform(
      launcher,
      { op: "mkdir", path: join(site.dir, "made"), mode: 0o755 },
      { op: "stat", path: join(site.dir, "none") },
      { op: "mkdir", path: join(site.dir, "not-made"), mode: 0o755 },
    );
    await assert.rejects(list, { code: "ENOENT", syscall: "stat", index: 1, path: join(site.dir, "none") });
    assert.deepEqual(readdirSync(site.dir).sort(), ["made", "run"]);
  });

  it("a tree is removed however deep, but nothing behind links or mounts", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const tree = join(site.dir, "tree");
    const outside = join(site.dir, "outside");
    mkdirSync(join(tree, "x/y"), { recursive: true });
    mkdirSync(outside);
    writeFileSync(join(outside, "keep"), "");
    symlinkSync(outside, join(tree, "link"));
    mkdirSync(join(tree, "bind"));
    const bind = join(tree, "bind");
    await perform(launcher, { op: "mount", source: outside, target: bind, type: "", flags: MS_BIND, data: "" });
    await assert.rejects(perform(launcher, { op: "rmtree", path: tree }), { code: "EBUSY" });
    await assert.rejects(perform(launcher, { op: "rmtree", path: bind }), { code: "EBUSY" });
    assert.ok(existsSync(join(outside, "keep")));
    const deep = `mkdir -p ${tree}/deep; cd ${tree}/deep; i=0; while [ $i -lt 2500 ]; do mkdir d; cd d; i=$((i+1)); done; touch end`;
    const made = await launcher.run({ ...options, argv: ["/bin/sh", "-c", deep], env: { PATH: "/bin:/usr/bin" } });
    assert.equal(made.status, 0);
    await perform(launcher, { op: "unmount", target: bind }, { op: "rmtree", path: tree });
    assert.deepEqual(readdirSync(site.dir).sort(), ["outside", "run"]);
    assert.ok(existsSync(join(outside, "keep")));
  });

  it("a mount is made with relative data, and all that is mounted on a place is unmounted", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const at = (name: string): string => join(site.dir, name);
    for (const name of ["1", "2", "m"]) mkdirSync(at(name));
    writeFileSync(at("1/one"), "");
    writeFileSync(at("2/two"), "");
    const overlay = { op: "mount", source: "overlay", target: at("m"), type: "overlay", flags: 0 } as const;
    await perform(
      launcher,
      { ...overlay, data: "lowerdir=1:2", chdir: site.dir },
      { op: "mount", source: "tmpfs", target: at("m"), type: "tmpfs", flags: 0, data: "size=64k" },
      { op: "mount", source: at("m"), target: at("m"), type: "", flags: MS_BIND, data: "" },
      { op: "mount", source: "", target: at("m"), type: "", flags: MS_BIND | MS_REMOUNT | MS_RDONLY, data: "" },
    );
    assert.throws(() => writeFileSync(at("m/x"), ""), { code: "EROFS" });
    assert.equal(readFileSync("/proc/self/mounts", "utf8").split(` ${at("m")} `).length, 4);
    await perform(launcher, { op: "unmount", target: at("m") });
    assert.ok(!readFileSync("/proc/self/mounts", "utf8").includes(at("m")));
  });
});

describe("a container's root", () => {
  it("is read inside only, and only regular files of a bounded size", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const root = join(site.dir, "root");
    mkdirSync(join(root, "etc"), { recursive: true });
    writeFileSync(join(root, "etc/passwd"), "inside");
    writeFileSync(join(site.dir, "passwd"), "outside");
    symlinkSync("/etc/passwd", join(root, "absolute"));
    symlinkSync("../../../../etc/passwd", join(root, "relative"));
    symlinkSync("/proc/self/root/etc/passwd", join(root, "magic"));
    writeFileSync(join(root, "huge"), Buffer.alloc(131_073));
    const { status } = await launcher.run({ ...options, argv: ["/usr/bin/mkfifo", join(root, "fifo")], env: {} });
    assert.equal(status, 0);
    const read = (path: string, max = 131_072): Promise<string[]> =>
      perform(launcher, { op: "readInRoot", root, path, max });
    for (const path of ["etc/passwd", "/etc/passwd", "absolute", "relative", "../etc/passwd"]) {
      assert.deepEqual(await read(path), ["inside"], path);
    }
    await assert.rejects(read("magic"), { code: "ENOENT" });
    await assert.rejects(read("../passwd"), { code: "ENOENT" });
    await assert.rejects(read("fifo"), { code: "EINVAL" });
    await assert.rejects(read("etc"), { code: "EISDIR" });
    await assert.rejects(read("huge"), { code: "EFBIG" });
    await assert.rejects(read("etc/passwd", 5), { code: "EFBIG" });
  });

  it("gets directories inside only, through its links", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const root = join(site.dir, "root");
    mkdirSync(join(root, "var"), { recursive: true });
    symlinkSync("/run", join(root, "var/run")); // dangling in this root, and a directory of the host
    symlinkSync("../../..", join(root, "up"));
    symlinkSync("loop", join(root, "loop"));
    writeFileSync(join(root, "file"), "");
    const make = (path: string): Promise<string[]> => perform(launcher, { op: "mkdirInRoot", root, path, mode: 0o700 });
    assert.deepEqual(await make("/var/run/secrets/token"), ["run/secrets/token"]);
    assert.deepEqual(await make("up/etc"), ["etc"]);
    assert.deepEqual(await make("../../a/./b/../c"), ["a/c"]);
    assert.deepEqual(await make("/"), ["."]);
    assert.equal(statSync(join(root, "run/secrets")).mode & 0o777, 0o755);
    assert.equal(statSync(join(root, "run/secrets/token")).mode & 0o777, 0o700);
    assert.deepEqual(readdirSync(root).sort(), ["a", "etc", "file", "loop", "run", "up", "var"]);
    await assert.rejects(make("loop/x"), { code: "ELOOP" });
    await assert.rejects(make("file/x"), { code: "ENOTDIR" });
    await assert.rejects(make("file"), { code: "ENOTDIR" });
    assert.deepEqual(readdirSync(site.dir).sort(), ["root", "run"]);
  });
});

describe("namespaces", () => {
  it("are pinned with lo up, a host name and sysctls of their own, and unpinned", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const [net, ipc, uts] = ["net", "ipc", "uts"].map((name) => join(site.dir, name));
    assert.ok(net !== undefined && ipc !== undefined && uts !== undefined);
    const before = readFileSync("/proc/sys/kernel/shm_rmid_forced", "utf8");
    await perform(launcher, {
      op: "namespaces",
      net,
      ipc,
      uts,
      hostname: "pod-1",
      sysctls: [
        ["net/ipv4/ip_unprivileged_port_start", "7"],
        ["/proc/sys/net/core/somaxconn", "77"],
        ["kernel/shm_rmid_forced", "1"],
        ["fs/mqueue/msg_max", "13"],
        ["kernel/sem", "100\t200\t30\t40"],
        ["kernel/domainname", "example"],
      ],
    });
    const argv = ["/usr/bin/nsenter", `--net=${net}`, `--ipc=${ipc}`, `--uts=${uts}`, "/bin/sh", "-c"];
    const look =
      "hostname; cat /proc/sys/net/ipv4/ip_unprivileged_port_start /proc/sys/net/core/somaxconn " +
      "/proc/sys/kernel/shm_rmid_forced /proc/sys/fs/mqueue/msg_max /proc/sys/kernel/sem /proc/sys/kernel/domainname; " +
      "ip -o link show lo | grep -c LOWER_UP";
    const { stdout } = await launcher.run({ ...options, argv: [...argv, look], env: { PATH: "/bin:/usr/bin:/sbin" } });
    assert.deepEqual(String(stdout).trim().split("\n"), [
      "pod-1",
      "7",
      "77",
      "1",
      "13",
      "100\t200\t30\t40",
      "example",
      "1",
    ]);
    assert.equal(readFileSync("/proc/sys/kernel/shm_rmid_forced", "utf8"), before);
    await perform(launcher, { op: "unpin", path: net }, { op: "unpin", path: ipc }, { op: "unpin", path: uts });
    assert.deepEqual(readdirSync(site.dir), ["run"]);
  });

  it("are all there or none", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const net = join(site.dir, "net");
    const spaces = { op: "namespaces", net, uts: join(site.dir, "none/uts") } as const;
    await assert.rejects(perform(launcher, spaces), { code: "ENOENT", syscall: "open", index: 0 });
    // Each value is the host's own, so that a failure of this test does no harm.
    const sysctl = (name: string): Operation => {
      const file = join("/proc/sys", name);
      const value = existsSync(file) ? readFileSync(file, "utf8").trim() : "1";
      return { op: "namespaces", net, sysctls: [[name, value]] };
    };
    await assert.rejects(perform(launcher, sysctl("net/none")), { code: "ENOENT", syscall: "sysctl" });
    for (const name of ["kernel/core_pattern", "kernel/shm_rmid_forced", "net/../kernel/core_pattern"]) {
      await assert.rejects(perform(launcher, sysctl(name)), { code: "EPERM", path: name });
    }
    assert.deepEqual(readdirSync(site.dir), ["run"]);
    assert.ok(!readFileSync("/proc/self/mounts", "utf8").includes(site.dir));
  });

  it("do not move the operations after them", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const net = join(site.dir, "net");
    const [, link] = await perform(
      launcher,
      { op: "namespaces", net },
      { op: "realpath", path: "/proc/self/net" },
      { op: "unpin", path: net },
    );
    assert.ok(link?.startsWith("/proc/"));
    const { stdout } = await launcher.run({ ...options, argv: ["/bin/readlink", "/proc/self/ns/net"], env: {} });
    assert.equal(String(stdout).trim(), readlinkSync("/proc/self/ns/net"));
  });
});

describe("a cgroup", () => {
  const hierarchies = mounts(/^cgroup2?$/).filter((mount) => /freezer|pids|memory|unified|cgroup$/.test(mount));

  it("is killed and removed in every hierarchy, forks and all", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const paths = hierarchies.map((mount) => join(mount, `${site.cgroup}-kill`));
    const children = paths.map((path) => join(path, "child"));
    for (const path of children) mkdirSync(path, { recursive: true });
    // Members fork all the time, once all of them are members.
    const child = spawn("/bin/sh", ["-c", "read go; while :; do (while :; do :; done) & sleep 0.01; done"], {
      detached: true,
      stdio: ["pipe", "ignore", "ignore"],
    });
    await once(child, "spawn");
    const pid = child.pid ?? 0;
    for (const path of children) writeFileSync(join(path, "cgroup.procs"), String(pid));
    child.stdin.end("go\n");
    const members = (): string[] =>
      children.flatMap((path) => readFileSync(join(path, "cgroup.procs"), "utf8").split("\n"));
    await until("it has forked", () => members().filter((member) => member !== "").length > 3 * children.length);
    await perform(launcher, { op: "killCgroup", paths }, { op: "removeCgroup", paths });
    assert.ok(!isAlive(pid));
    for (const path of paths) assert.ok(!existsSync(path), path);
    await perform(launcher, { op: "killCgroup", paths }, { op: "removeCgroup", paths });
  });

  for (const mount of hierarchies) {
    it(`is killed in ${mount} alone`, async () => {
      await using site = new Site();
      const launcher = await site.start();
      const path = join(mount, `${site.cgroup}-one`);
      mkdirSync(path);
      const child = spawn("/bin/sleep", ["1005.5"], { stdio: "ignore" });
      await once(child, "spawn");
      writeFileSync(join(path, "cgroup.procs"), String(child.pid));
      await perform(launcher, { op: "killCgroup", paths: [path] }, { op: "removeCgroup", paths: [path] });
      assert.ok(!isAlive(child.pid ?? 0));
      assert.ok(!existsSync(path));
    });

    it(`has one oom_score_adj in ${mount}, with those below it and those that fork`, async () => {
      await using site = new Site();
      const launcher = await site.start();
      const path = join(mount, `${site.cgroup}-score`);
      const inner = join(path, "inner");
      mkdirSync(inner, { recursive: true });
      const [first, second] = await Promise.all([forking(path), forking(inner)]);
      const outside = readFileSync("/proc/self/oom_score_adj", "utf8");
      await perform(launcher, { op: "setOomScoreAdj", path, value: 321 });
      const scores = [path, inner].flatMap(members).map(scoreOf);
      assert.ok(scores.length > 4);
      assert.deepEqual(
        scores.filter((score) => score !== "321" && score !== "gone"),
        [],
      );
      assert.equal(readFileSync("/proc/self/oom_score_adj", "utf8"), outside);
      await perform(launcher, { op: "killCgroup", paths: [inner, path] }, { op: "removeCgroup", paths: [path] });
      assert.ok(!isAlive(first) && !isAlive(second));
    });
  }

  it("that is not there, or a score that is none, is an error", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const path = join(hierarchies[0] ?? "", `${site.cgroup}-none`);
    await assert.rejects(perform(launcher, { op: "setOomScoreAdj", path, value: 1 }), { code: "ENOENT" });
    for (const value of [-1001, 1001, 0.5, Number.NaN]) {
      await assert.rejects(perform(launcher, { op: "setOomScoreAdj", path, value }), { code: "EINVAL" });
    }
  });
});

/** A member of the cgroup that forks all the time; answers its pid once it has. */
async function forking(path: string): Promise<number> {
  const child = spawn("/bin/sh", ["-c", "read go; while :; do sleep 0.3 & sleep 0.01; done"], {
    stdio: ["pipe", "ignore", "ignore"],
  });
  await once(child, "spawn");
  writeFileSync(join(path, "cgroup.procs"), String(child.pid));
  child.stdin.end("go\n");
  await until("it has forked", () => members(path).length > 3);
  return child.pid ?? 0;
}

function members(path: string): string[] {
  return readFileSync(join(path, "cgroup.procs"), "utf8")
    .split("\n")
    .filter((pid) => pid !== "");
}

function scoreOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/oom_score_adj`, "utf8").trim();
  } catch {
    return "gone";
  }
}
