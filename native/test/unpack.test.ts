import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname, join } from "node:path";
import { describe, it } from "node:test";
import { decodeResult, FrameEncoder, type UnpackResult } from "../../src/image/layer/frames.ts";
import { nativePath } from "../../src/image/layer/process-unpacker.fixture.ts";
import { TarParser } from "../../src/image/layer/tar-parser.ts";

const meta = { mode: 0o644, uid: 0, gid: 0, mtimeSeconds: 1_000_000_000, mtimeNanoseconds: 0 };
const dirMeta = { ...meta, mode: 0o755 };
/** The leak check of a sanitized build needs /proc, and in a layer there is none. */
const env = { ASAN_OPTIONS: "detect_leaks=0" };
const errno = { EPERM: 1, ENOENT: 2, ENOTDIR: 20, ELOOP: 40, ENODATA: 61, EPROTO: 71 };

/** A layer directory beside a directory that must stay as it is. */
class Scratch implements Disposable {
  readonly base = mkdtempSync(join(tmpdir(), "nacelle-native-"));
  readonly layer = join(this.base, "layer");
  readonly outside = join(this.base, "outside");

  constructor() {
    mkdirSync(this.layer);
    mkdirSync(this.outside);
    writeFileSync(join(this.outside, "secret"), "untouched");
  }

  path(name: string): string {
    return join(this.layer, name);
  }

  assertOutsideIsUntouched(): void {
    assert.deepEqual(readdirSync(this.outside), ["secret"]);
    assert.equal(readFileSync(join(this.outside, "secret"), "utf8"), "untouched");
    assert.deepEqual(readdirSync(this.base).sort(), ["layer", "outside"]);
  }

  [Symbol.dispose](): void {
    rmSync(this.base, { recursive: true, force: true });
  }
}

async function unpackBytes(dir: string, bytes: Buffer): Promise<UnpackResult> {
  const child = spawn(nativePath, ["unpack", dir], { stdio: ["pipe", "pipe", "inherit"], env });
  const output: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => output.push(chunk));
  child.stdin.on("error", () => {});
  child.stdin.end(bytes);
  await once(child, "close");
  const result = decodeResult(Buffer.concat(output));
  assert.ok(result !== undefined, `unpack gave no result, exit ${child.exitCode} signal ${child.signalCode}`);
  assert.equal(child.exitCode, result.errno === 0 ? 0 : 1);
  return result;
}

function unpack(dir: string, speak: (frames: FrameEncoder) => void): Promise<UnpackResult> {
  const slabs: Buffer[] = [];
  const frames = new FrameEncoder((slab) => slabs.push(slab));
  frames.begin();
  speak(frames);
  frames.end();
  return unpackBytes(dir, Buffer.concat(slabs));
}

/** An extended attribute, as GNU tar reads it: Node cannot. */
function xattr(path: string, name: string): string | undefined {
  const archive = execFileSync("tar", [
    "-C",
    dirname(path),
    "--xattrs",
    "--xattrs-include=*",
    "--no-recursion",
    "-c",
    basename(path),
  ]);
  const [event] = new TarParser().push(archive);
  return event?.type === "entry" ? event.entry.xattrs.get(name)?.toString("hex") : undefined;
}

const yes = Buffer.from("y").toString("hex");

describe("unpack", () => {
  it("makes what the golden bytes say", async () => {
    using scratch = new Scratch();
    const golden = JSON.parse(readFileSync(join(import.meta.dirname, "unpack-golden.json"), "utf8"));
    const frames: { hex: string }[] = golden.frames;
    const result = await unpackBytes(scratch.layer, Buffer.from(frames.map(({ hex }) => hex).join(""), "hex"));
    assert.equal(result.errno, 0, result.path);
    assert.equal(result.inodes, 8);
    const app = lstatSync(scratch.path("etc/app"), { bigint: true });
    assert.deepEqual([app.mode & 0o7777n, app.uid, app.gid, app.size, app.nlink], [0o4755n, 1000n, 1000n, 10n, 2n]);
    assert.equal(app.mtimeNs, 1_700_000_000_000_000_001n);
    assert.deepEqual(readFileSync(scratch.path("etc/app")), Buffer.from("abc\0\0\0\0xyz"));
    assert.equal(lstatSync(scratch.path("etc/hard"), { bigint: true }).ino, app.ino);
    assert.equal(readlinkSync(scratch.path("etc/link")), "/abs");
    assert.equal(lstatSync(scratch.path("etc/link")).uid, 3);
    assert.equal(lstatSync(scratch.path("etc/null")).rdev, 0x103);
    assert.equal(lstatSync(scratch.path("etc/pipe")).isFIFO(), true);
    const gone = lstatSync(scratch.path("usr/gone"));
    assert.deepEqual([gone.isCharacterDevice(), gone.rdev], [true, 0]);
    const etc = lstatSync(scratch.path("etc"), { bigint: true });
    assert.deepEqual([etc.mode & 0o7777n, etc.uid, etc.gid, etc.mtimeNs], [0o1777n, 1n, 2n, -1_250_000_000n]);
    assert.equal(xattr(scratch.path("var"), "trusted.overlay.opaque"), yes);
  });

  it("follows symbolic links in parents inside the layer only", async () => {
    using scratch = new Scratch();
    const result = await unpack(scratch.layer, (frames) => {
      frames.symlink("absolute", scratch.outside, meta);
      frames.symlink("climbing", "../../outside", meta);
      frames.directory("lib64", dirMeta);
      frames.symlink("lib", "/lib64", meta);
      frames.file("lib/inside", meta, 0);
    });
    assert.equal(result.errno, 0, result.path);
    assert.equal(existsSync(scratch.path("lib64/inside")), true);
    for (const link of ["absolute", "climbing"]) {
      using again = new Scratch();
      const refused = await unpack(again.layer, (frames) => {
        frames.symlink("absolute", again.outside, meta);
        frames.symlink("climbing", "../../outside", meta);
        frames.file(`${link}/secret`, meta, 0);
      });
      assert.equal(refused.errno, errno.ENOENT);
      again.assertOutsideIsUntouched();
    }
  });

  it("replaces a last component without following it", async () => {
    using scratch = new Scratch();
    const secret = join(scratch.outside, "secret");
    const result = await unpack(scratch.layer, (frames) => {
      for (const name of ["file", "dir", "link", "node", "white", "opaque"]) frames.symlink(name, secret, meta);
      frames.file("file", meta, 0);
      frames.directory("dir", dirMeta);
      frames.symlink("link", "elsewhere", meta);
      frames.node("node", meta, "fifo", 0, 0);
      frames.whiteout("white");
      frames.opaque("opaque");
      frames.times("white", 1, 0);
    });
    assert.equal(result.errno, 0, result.path);
    assert.equal(lstatSync(scratch.path("file")).isFile(), true);
    assert.equal(lstatSync(scratch.path("dir")).isDirectory(), true);
    assert.equal(readlinkSync(scratch.path("link")), "elsewhere");
    assert.equal(lstatSync(scratch.path("white")).isSymbolicLink(), true);
    scratch.assertOutsideIsUntouched();
  });

  it("hard links neither out of the layer nor through a last symbolic link", async () => {
    using scratch = new Scratch();
    const result = await unpack(scratch.layer, (frames) => {
      frames.symlink("link", join(scratch.outside, "secret"), meta);
      frames.hardlink("copy", "link");
      frames.file("copy", meta, 1);
      frames.data(0, Buffer.from("x"));
    });
    assert.equal(result.errno, 0, result.path);
    scratch.assertOutsideIsUntouched();
    const through = await unpack(scratch.layer, (frames) => {
      frames.symlink("up", scratch.outside, meta);
      frames.hardlink("stolen", "up/secret");
    });
    assert.equal(through.errno, errno.ENOENT);
    assert.equal(existsSync(scratch.path("stolen")), false);
  });

  it("counts what it replaced no longer", async () => {
    using scratch = new Scratch();
    const result = await unpack(scratch.layer, (frames) => {
      frames.directory("a/b/c", dirMeta);
      frames.file("a/b/c/d", meta, 3);
      frames.data(0, Buffer.from("abc"));
      frames.symlink("a", "z", meta);
      frames.directory("z", dirMeta);
      frames.file("z/new", meta, 0);
    });
    assert.equal(result.errno, 0, result.path);
    assert.deepEqual(readdirSync(scratch.layer).sort(), ["a", "z"]);
    assert.equal(result.inodes, 3);
    assert.equal(result.bytes, 512 * lstatSync(scratch.path("z")).blocks);
  });

  it("keeps whiteouts for lower layers only", async () => {
    using scratch = new Scratch();
    const result = await unpack(scratch.layer, (frames) => {
      frames.file("kept", meta, 0);
      frames.whiteout("kept");
      frames.directory("dir", dirMeta);
      frames.whiteout("dir");
      frames.whiteout("late");
      frames.directory("late", dirMeta);
      frames.whiteout("parent");
      frames.file("parent/child", meta, 0);
    });
    assert.equal(result.errno, 0, result.path);
    assert.equal(lstatSync(scratch.path("kept")).isFile(), true);
    for (const name of ["dir", "late", "parent"])
      assert.equal(xattr(scratch.path(name), "trusted.overlay.opaque"), yes);
  });

  it("refuses attributes that would steer overlayfs or a security module", async () => {
    for (const name of [
      "trusted.overlay.redirect",
      "user.overlay.opaque",
      "security.selinux",
      "system.posix_acl_access",
    ]) {
      using scratch = new Scratch();
      const result = await unpack(scratch.layer, (frames) => {
        frames.file("f", meta, 0);
        frames.xattr(name, Buffer.from("y"));
      });
      assert.deepEqual([result.errno, result.path], [errno.EPERM, "f"]);
    }
  });

  it("keeps capabilities and set-id bits", async () => {
    using scratch = new Scratch();
    const capability = Buffer.from("0100000200200000000000000000000000000000", "hex");
    const result = await unpack(scratch.layer, (frames) => {
      frames.file("ping", { ...meta, mode: 0o6755, uid: 5, gid: 6 }, 2);
      frames.data(0, Buffer.from("xx"));
      frames.xattr("security.capability", capability);
    });
    assert.equal(result.errno, 0, result.path);
    assert.equal(lstatSync(scratch.path("ping")).mode & 0o7777, 0o6755);
    assert.equal(xattr(scratch.path("ping"), "security.capability"), capability.toString("hex"));
  });

  it("removes a tree that is deeper than a path is long only up to its bound", async () => {
    using scratch = new Scratch();
    const result = await unpack(scratch.layer, (frames) => {
      const deep = Array.from({ length: 600 }, () => "d").join("/");
      frames.directory(deep, dirMeta);
      frames.symlink("s", deep, meta);
      frames.directory(`s/${deep}`, dirMeta);
      frames.file("d", meta, 0);
    });
    assert.equal(result.errno, errno.ELOOP);
  });
});

describe("a malformed stream", () => {
  const begin = "0400000001000000 01000000";
  const cases: readonly (readonly [string, string, number])[] = [
    ["nothing", "", errno.ENODATA],
    ["no BEGIN", "000000000c000000", errno.EPROTO],
    ["another version", "040000000100000002000000", errno.EPROTO],
    ["an unknown type", `${begin} 0000000063000000`, errno.EPROTO],
    ["a type of zero", `${begin} 0000000000000000`, errno.EPROTO],
    ["a second BEGIN", `${begin} ${begin}`, errno.EPROTO],
    ["a header that is not zero", `${begin} 000000000c000001`, errno.EPROTO],
    ["a payload beyond the bound", `${begin} 0100040004000000`, errno.EPROTO],
    ["an end in a frame", `${begin} 080000000800000061`, errno.ENODATA],
    ["an end without END", begin, errno.ENODATA],
    ["DATA without FILE", `${begin} 0900000004000000 0000000000000000 61`, errno.EPROTO],
    ["XATTR without an entry", `${begin} 050000000a000000 0100000061`, errno.EPROTO],
    ["a whiteout of ..", `${begin} 0200000008000000 2e2e`, errno.EPROTO],
    ["a whiteout of a/..", `${begin} 0400000008000000 612f2e2e`, errno.EPROTO],
    ["an absolute path", `${begin} 0200000008000000 2f61`, errno.EPROTO],
    ["a path with NUL", `${begin} 0300000008000000 610061`, errno.EPROTO],
    ["an empty path", `${begin} 0000000008000000`, errno.EPROTO],
    ["END with a payload", `${begin} 010000000c00000000`, errno.EPROTO],
  ];
  for (const [what, hex, expected] of cases) {
    it(`with ${what} is refused`, async () => {
      using scratch = new Scratch();
      const result = await unpackBytes(scratch.layer, Buffer.from(hex.replaceAll(" ", ""), "hex"));
      assert.equal(result.errno, expected);
      scratch.assertOutsideIsUntouched();
    });
  }

  it("of random frames leaves everything outside as it was", async () => {
    using scratch = new Scratch();
    let seed = 7;
    const random = (below: number) => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
      return (seed >>> 8) % below;
    };
    const names = ["a", "b", "a/b", "b/a", "a/b/c", "up", "up/secret", "b/up"];
    const pick = () => names[random(names.length)] ?? "a";
    for (let round = 0; round < 60; round++) {
      await unpack(scratch.layer, (frames) => {
        for (let i = 0; i < 40; i++) {
          const makers = [
            () => frames.directory(pick(), dirMeta),
            () => frames.file(pick(), meta, 4),
            () => frames.symlink(pick(), ["..", scratch.outside, "/", "a", "../../outside"][random(5)] ?? "a", meta),
            () => frames.hardlink(pick(), pick()),
            () => frames.whiteout(pick()),
            () => frames.opaque(pick()),
            () => frames.times(pick(), 1, 1),
            () => frames.node(pick(), meta, "fifo", 0, 0),
          ];
          makers[random(makers.length)]?.();
        }
      });
    }
    scratch.assertOutsideIsUntouched();
  });
});
