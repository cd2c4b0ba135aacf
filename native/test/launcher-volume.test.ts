/** Directories of an image as volumes: bound or copied, whatever links the image has laid. Needs root and a mount namespace of its own. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  chownSync,
  linkSync,
  lstatSync,
  lutimesSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  statSync,
  symlinkSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { Operation } from "../../src/launcher/operations.ts";
import { options, Site } from "./launcher-fixture.ts";

const MS_BIND = 4096;

/** A launcher, a root as an image's, a secret of the host beside it, and an empty directory to fill. */
class Volumes extends Site {
  readonly root = join(this.dir, "root");
  readonly target = join(this.dir, "target");
  readonly secret = join(this.dir, "secret");
  readonly #launcher = this.start();

  constructor() {
    super();
    for (const path of [this.root, this.target, this.secret]) mkdirSync(path);
    writeFileSync(join(this.secret, "key"), "host only");
  }

  async perform(...operations: Operation[]): Promise<void> {
    const launcher = await this.#launcher;
    await launcher.perform(operations, options);
  }

  copy(path: string): Promise<void> {
    return this.perform({ op: "copyInRoot", root: this.root, path, target: this.target });
  }

  bind(path: string): Promise<void> {
    return this.perform({ op: "bindInRoot", root: this.root, path, target: this.target });
  }
}

describe("a directory of an image that is copied", () => {
  it("keeps the names of a file together, so that it fills no disk", async () => {
    await using site = new Volumes();
    const data = join(site.root, "data");
    mkdirSync(join(data, "a/deep"), { recursive: true });
    mkdirSync(join(data, "b"));
    writeFileSync(join(data, "a/deep/large"), Buffer.alloc(1 << 20, "x"));
    for (let i = 0; i < 100; i++) linkSync(join(data, "a/deep/large"), join(data, i % 2 === 0 ? "b" : "a", `${i}`));
    linkSync(join(data, "a/deep/large"), join(site.root, "outside"));
    writeFileSync(join(data, "b/other"), "other");

    await site.copy("/data");

    const of = (name: string) => statSync(join(site.target, name), { bigint: true });
    assert.equal(of("a/deep/large").nlink, 101n);
    for (let i = 0; i < 100; i++) assert.equal(of(`${i % 2 === 0 ? "b" : "a"}/${i}`).ino, of("a/deep/large").ino);
    assert.notEqual(of("a/deep/large").ino, statSync(join(data, "a/deep/large"), { bigint: true }).ino);
    assert.ok(readFileSync(join(site.target, "b/98")).equals(Buffer.alloc(1 << 20, "x")));
    assert.equal(of("b/other").nlink, 1n);
  });

  it("keeps owners, modes, times, links, holes, pipes and extended attributes", async () => {
    await using site = new Volumes();
    const data = join(site.root, "data");
    mkdirSync(join(data, "sub"), { recursive: true });
    writeFileSync(join(data, "sub/program"), "#!/bin/sh\n");
    chownSync(join(data, "sub/program"), 1000, 1001);
    execFileSync("chmod", ["6755", join(data, "sub/program")]);
    writeFileSync(join(data, "holes"), "head");
    truncateSync(join(data, "holes"), 64 << 20);
    symlinkSync("/etc/shadow", join(data, "link"));
    execFileSync("mkfifo", ["-m", "620", join(data, "pipe")]);
    execFileSync("setfattr", ["-n", "user.note", "-v", "kept", join(data, "sub")]);
    execFileSync("setfattr", ["-n", "trusted.overlay.opaque", "-v", "y", join(data, "sub")]);
    chownSync(data, 33, 34);
    execFileSync("chmod", ["2750", data]);
    lutimesSync(join(data, "link"), 1_000, 1_000);
    utimesSync(join(data, "sub"), 2_000, 2_000);
    utimesSync(data, 3_000, 3_000);

    await site.copy("/data");

    const of = (name: string) => lstatSync(join(site.target, name));
    const brief = (name: string) => [of(name).uid, of(name).gid, of(name).mode.toString(8), of(name).mtimeMs / 1000];
    assert.deepEqual(brief("."), [33, 34, "42750", 3_000]);
    assert.deepEqual(brief("sub").slice(2), ["40755", 2_000]);
    assert.deepEqual(brief("sub/program").slice(0, 3), [1000, 1001, "106755"]);
    assert.deepEqual(brief("pipe")[2], "10620");
    assert.equal(brief("link")[3], 1_000);
    assert.equal(readlinkSync(join(site.target, "link")), "/etc/shadow");
    assert.equal(of("holes").size, 64 << 20);
    assert.ok(of("holes").blocks < 100, `${of("holes").blocks} blocks`);
    assert.equal(readFileSync(join(site.target, "holes")).subarray(0, 5).toString(), "head\0");
    const names = execFileSync("getfattr", ["-m", "-", "--absolute-names", join(site.target, "sub")]).toString();
    assert.match(names, /user\.note/);
    assert.doesNotMatch(names, /overlay/);
  });

  it("is found in the root alone, through whatever links and dots lead to it", async () => {
    await using site = new Volumes();
    mkdirSync(join(site.root, "inside"));
    writeFileSync(join(site.root, "inside/own"), "");
    const up = "../".repeat(40);
    symlinkSync(site.secret, join(site.root, "absolute"));
    symlinkSync(`${up}${site.secret}`, join(site.root, "dots"));
    symlinkSync("/inside", join(site.root, "data"));
    symlinkSync("/proc/self/root", join(site.root, "magic"));
    for (const path of ["/absolute", "/dots", `${up}${site.secret}`, `/magic${site.secret}`]) await site.copy(path);
    assert.deepEqual(readdirSync(site.target), []);
    await site.copy("/data");
    assert.deepEqual(readdirSync(site.target), ["own"]);
  });

  it("may be absent, but no file, no mount and not endlessly deep", async () => {
    await using site = new Volumes();
    await site.copy("/none");
    writeFileSync(join(site.root, "file"), "");
    await assert.rejects(site.copy("/file"), { code: "ENOTDIR" });
    mkdirSync(join(site.root, "data/mounted"), { recursive: true });
    await site.perform({
      ...{ op: "mount", source: site.secret, target: join(site.root, "data/mounted") },
      ...{ type: "", flags: MS_BIND, data: "" },
    });
    await assert.rejects(site.copy("/data"), { code: "EXDEV" });
    await site.perform({ op: "unmount", target: join(site.root, "data/mounted") });
    mkdirSync(join(site.root, `deep/${"d/".repeat(300)}`), { recursive: true });
    await assert.rejects(site.copy("/deep"), { code: "ELOOP" });
  });

  it("is not copied over what is there", async () => {
    await using site = new Volumes();
    mkdirSync(join(site.root, "data"));
    writeFileSync(join(site.root, "data/name"), "new");
    symlinkSync(join(site.secret, "key"), join(site.target, "name"));
    await assert.rejects(site.copy("/data"), { code: "EEXIST" });
    assert.equal(readFileSync(join(site.secret, "key"), "utf8"), "host only");
  });
});

describe("a directory of an image that is bound", () => {
  it("is found in the root alone, and covers even the root's own mount", async () => {
    await using site = new Volumes();
    mkdirSync(join(site.root, "inside/deep"), { recursive: true });
    symlinkSync("/inside", join(site.root, "link"));
    symlinkSync(site.secret, join(site.root, "absolute"));
    await site.bind("link/../link");
    assert.deepEqual(readdirSync(site.target), ["deep"]);
    await site.perform({ op: "unmount", target: site.target });
    await assert.rejects(site.bind("absolute"), { code: "ENOENT", path: "absolute" });
    await assert.rejects(site.bind("none"), { code: "ENOENT" });
    writeFileSync(join(site.root, "file"), "");
    await assert.rejects(site.bind("file"), { code: "ENOTDIR" });
    const { ino } = statSync(join(site.root, "inside"));
    await site.perform({ op: "bindInRoot", root: site.root, path: "inside", target: site.root });
    assert.equal(statSync(site.root).ino, ino);
    await site.perform({ op: "unmount", target: site.root });
  });
});

describe("a root whose directories are swapped for links to the host's meanwhile", () => {
  it("is never left: not to make, to read, to copy or to bind", async () => {
    await using site = new Volumes();
    const inside = join(site.root, "dir");
    mkdirSync(inside);
    const swap = `cd ${site.root}; ln -s ${site.secret} away; while :; do mv dir d; mv away dir; mv dir away; mv d dir; done`;
    const swapper = spawn("/bin/sh", ["-c", swap], { stdio: "ignore" });
    await once(swapper, "spawn");
    for (let round = 0; round < 60; round += 1) {
      const target = join(site.dir, "copies", String(round));
      const attempts: Operation[] = [
        { op: "mkdirInRoot", root: site.root, path: `dir/made-${round}/deep`, mode: 0o755 },
        { op: "readInRoot", root: site.root, path: "dir/key", max: 100 },
        { op: "bindInRoot", root: site.root, path: "dir", target: site.target },
        { op: "copyInRoot", root: site.root, path: "dir", target },
      ];
      mkdirSync(target, { recursive: true });
      for (const attempt of attempts) {
        const failure = await site.perform(attempt).then(
          () => "",
          (error: { readonly code: string }) => error.code,
        );
        assert.ok(attempt.op !== "readInRoot" || failure !== "", "there is no such file inside");
      }
      assert.ok(!readdirSync(site.target).includes("key"));
      assert.ok(!readdirSync(target).includes("key"));
      await site.perform({ op: "unmount", target: site.target });
    }
    swapper.kill("SIGKILL");
    await once(swapper, "exit");
    assert.deepEqual(readdirSync(site.secret), ["key"]);
  });
});
