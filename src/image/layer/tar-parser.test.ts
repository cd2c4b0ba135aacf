import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  closeSync,
  linkSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { paxTime } from "./pax.ts";
import { padded, paxRecord, seal, tar, tarEntry, tarHeader } from "./tar.fixture.ts";
import { type TarEntry, TarError } from "./tar-entry.ts";
import { TarParser } from "./tar-parser.ts";

interface Read extends TarEntry {
  readonly data: Buffer;
}

/** Everything in an archive that comes in pieces of `step` bytes; files with their holes filled. */
function read(archive: Buffer, step = archive.length): Read[] {
  const parser = new TarParser();
  const found: Read[] = [];
  for (let at = 0; at < archive.length; at += step) {
    for (const event of parser.push(archive.subarray(at, at + step))) {
      if (event.type === "entry") found.push({ ...event.entry, data: Buffer.alloc(event.entry.size) });
      else event.bytes.copy(found.at(-1)?.data ?? Buffer.alloc(0), event.offset);
    }
  }
  parser.finish();
  return found;
}

function one(archive: Buffer): Read {
  const [entry, ...others] = read(archive);
  assert.ok(entry !== undefined && others.length === 0);
  return entry;
}

function random(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff;
    return (state >>> 8) % below;
  };
}

describe("a tar archive", () => {
  it("is read alike in pieces of any size", () => {
    const archive = tar(
      { name: "d/", type: "5", mode: 0o1777, uid: 7, gid: 8 },
      { name: "d/f", data: "x".repeat(1500), mode: 0o4755 },
      { name: "d/l", type: "2", linkName: "f" },
      { name: "x", pax: { path: "p".repeat(300), mtime: "1.5", "SCHILY.xattr.user.a": "b=\n" }, data: "y" },
      { name: "null", type: "3", major: 1, minor: 3 },
    );
    const whole = read(archive);
    assert.deepEqual(
      whole.map(({ kind, path, mode }) => [kind, path, mode]),
      [
        ["directory", "d/", 0o1777],
        ["file", "d/f", 0o4755],
        ["symlink", "d/l", 0o644],
        ["file", "p".repeat(300), 0o644],
        ["character", "null", 0o644],
      ],
    );
    assert.deepEqual(whole[3]?.xattrs, new Map([["user.a", Buffer.from("b=\n")]]));
    assert.deepEqual([whole[3]?.mtimeSeconds, whole[3]?.mtimeNanoseconds], [1, 500_000_000]);
    for (const step of [1, 7, 511, 512, 513, 1000]) assert.deepEqual(read(archive, step), whole);
  });

  for (const format of ["v7", "ustar", "oldgnu", "gnu", "pax"]) {
    it(`that GNU tar wrote as ${format} is read as it was meant`, () => {
      const directory = mkdtempSync(join(tmpdir(), "nacelle-tar-"));
      try {
        const long = format === "v7" ? "n".repeat(90) : `${"d".repeat(90)}/${"n".repeat(90)}`;
        mkdirSync(join(directory, "t"));
        if (format !== "v7") mkdirSync(join(directory, "t", "d".repeat(90)));
        writeFileSync(join(directory, "t", long), "long");
        if (format !== "v7" && format !== "ustar") {
          mkdirSync(join(directory, "t", "e".repeat(200)));
          writeFileSync(join(directory, "t", "e".repeat(200), "é".repeat(100)), "longer");
          symlinkSync("s".repeat(200), join(directory, "t", "sym"));
        }
        writeFileSync(join(directory, "t", "first"), "");
        linkSync(join(directory, "t", "first"), join(directory, "t", "zhard"));
        const archive = execFileSync("tar", ["-C", directory, "--sort=name", `--format=${format}`, "-c", "t"]);
        const entries = read(archive, 700);
        const byPath = new Map(entries.map((entry) => [Buffer.from(entry.path, "latin1").toString(), entry]));
        assert.equal(byPath.get(`t/${long}`)?.data.toString(), "long");
        assert.deepEqual([byPath.get("t/zhard")?.kind, byPath.get("t/zhard")?.target], ["hardlink", "t/first"]);
        assert.equal(byPath.get("t/")?.kind, "directory");
        if (format === "v7" || format === "ustar") return;
        assert.equal(byPath.get(`t/${"e".repeat(200)}/${"é".repeat(100)}`)?.data.toString(), "longer");
        assert.equal(byPath.get("t/sym")?.target, "s".repeat(200));
      } finally {
        rmSync(directory, { recursive: true });
      }
    });
  }

  for (const [name, flags] of [
    ["old GNU", ["--format=gnu"]],
    ["0.0", ["--format=pax", "--sparse-version=0.0"]],
    ["0.1", ["--format=pax", "--sparse-version=0.1"]],
    ["1.0", ["--format=pax", "--sparse-version=1.0"]],
  ] as const) {
    it(`keeps the holes of sparse files, format ${name}`, () => {
      const directory = mkdtempSync(join(tmpdir(), "nacelle-tar-"));
      try {
        const path = join(directory, "sparse");
        const fd = openSync(path, "w");
        for (let i = 0; i < 40; i++) writeSync(fd, `piece ${i}`, 100_000 * i + 4096);
        closeSync(fd);
        truncateSync(path, 5_000_000);
        const archive = execFileSync("tar", ["-C", directory, "--sparse", ...flags, "-c", "sparse"], {
          maxBuffer: 2 ** 24,
        });
        assert.ok(archive.length < 2_000_000, "the archive is sparse");
        for (const step of [512, 1000, archive.length]) {
          const [entry] = read(archive, step);
          assert.deepEqual([entry?.path, entry?.size], ["sparse", 5_000_000]);
          for (let i = 0; i < 40; i++) {
            assert.equal(
              entry?.data.toString("latin1", 100_000 * i + 4096, 100_000 * i + 4096 + 7),
              `piece ${i}`.slice(0, 7),
            );
          }
          assert.equal(entry?.data.filter((byte) => byte !== 0).length, 10 * 7 + 30 * 8);
        }
      } finally {
        rmSync(directory, { recursive: true });
      }
    });
  }

  it("may have base-256 numbers, also negative ones", () => {
    const block = tarHeader({ name: "f" }, 0);
    block.fill(0, 108, 116).writeUInt32BE(3_000_000_000, 112);
    block.writeUInt8(0x80, 108);
    block.fill(0xff, 136, 148);
    const entry = one(Buffer.concat([seal(block), Buffer.alloc(1024)]));
    assert.deepEqual([entry.uid, entry.mtimeSeconds], [3_000_000_000, -1]);
  });

  it("gets defaults from global headers, and its own values before them", () => {
    const global = Buffer.from(paxRecord("uid", "5") + paxRecord("gid", "6"));
    const archive = Buffer.concat([
      tarHeader({ name: "g", type: "g" }, global.length),
      padded(global),
      tar({ name: "a" }, { name: "b", pax: { uid: "9" } }),
    ]);
    assert.deepEqual(
      read(archive).map(({ uid, gid }) => [uid, gid]),
      [
        [5, 6],
        [9, 6],
      ],
    );
  });

  it("ends at two blocks of zeros, whatever follows, or where its bytes end", () => {
    assert.equal(read(Buffer.concat([tar({ name: "a" }), Buffer.from("garbage")])).length, 1);
    assert.equal(read(tarEntry({ name: "a", data: "x" })).length, 1);
    assert.equal(read(Buffer.alloc(0)).length, 0);
  });

  const manySegments = Array.from({ length: 100_001 }, (_, offset) => `${offset},1`).join(",");
  const wrong: readonly (readonly [string, Buffer])[] = [
    ["a wrong checksum", Buffer.concat([Buffer.from("x"), tarEntry({ name: "a" }).subarray(1)])],
    ["an end in the data", tarEntry({ name: "a", data: "x".repeat(600) }).subarray(0, 1000)],
    ["an end in a header", tarEntry({ name: "a" }).subarray(0, 100)],
    ["an unknown type", tarEntry({ name: "a", type: "M" })],
    ["an entry after its end", Buffer.concat([Buffer.alloc(512), tarEntry({ name: "a" })])],
    ["metadata beyond the bound", tarEntry({ name: "a", type: "L", size: 2_000_000 })],
    ["a PAX record that is too short", tarEntry({ name: "a", type: "x", data: "3 a=b\n" })],
    ["a PAX record that is too long", tarEntry({ name: "a", type: "x", data: "99 a=b\n" })],
    ["a PAX record without a key", tarEntry({ name: "a", type: "x", data: "6 =ab\n" })],
    ["an owner beyond 32 bits", tarEntry({ name: "a", pax: { uid: "4294967296" } })],
    ["an owner that means no change", tarEntry({ name: "a", pax: { uid: "4294967295" } })],
    ["a negative size", tarEntry({ name: "a", pax: { size: "-1" } })],
    ["a size that is no number", tarEntry({ name: "a", pax: { size: "1e3" } })],
    ["an mtime that is no time", tarEntry({ name: "a", pax: { mtime: "now" } })],
    ["an odd sparse map", tarEntry({ name: "a", pax: { "GNU.sparse.map": "1,2,3", "GNU.sparse.size": "9" } })],
    [
      "a sparse map out of order",
      tarEntry({ name: "a", data: "ab", pax: { "GNU.sparse.map": "5,1,2,1", "GNU.sparse.size": "9" } }),
    ],
    [
      "a sparse map beyond the file",
      tarEntry({ name: "a", data: "ab", pax: { "GNU.sparse.map": "8,2", "GNU.sparse.size": "9" } }),
    ],
    [
      "a sparse map of too much",
      tarEntry({ name: "a", data: "ab", pax: { "GNU.sparse.map": "0,900", "GNU.sparse.size": "999" } }),
    ],
    [
      "a sparse map of a hundred thousand segments and one",
      tarEntry({
        name: "a",
        data: "x".repeat(100_001),
        pax: { "GNU.sparse.map": manySegments, "GNU.sparse.size": "100001" },
      }),
    ],
    [
      "a leading sparse map without an end",
      tarEntry({ name: "a", data: "9".repeat(600), pax: { "GNU.sparse.major": "1", "GNU.sparse.realsize": "9" } }),
    ],
  ];
  for (const [what, archive] of wrong) {
    it(`with ${what} is refused`, () => {
      assert.throws(() => read(archive), TarError);
    });
  }

  it("of damaged bytes is read or refused, never anything else", () => {
    const next = random(1);
    const archive = tar(
      { name: "a/", type: "5" },
      { name: "a/f", data: "x".repeat(700), pax: { path: "q".repeat(200), mtime: "7.25", "SCHILY.xattr.user.k": "v" } },
      { name: "s", data: "ab", pax: { "GNU.sparse.map": "0,1,5,1", "GNU.sparse.size": "9", "GNU.sparse.name": "s" } },
      { name: "long", type: "L", data: `${"l".repeat(150)}\0` },
      { name: "n", type: "1", linkName: "a/f" },
    );
    for (let round = 0; round < 3000; round++) {
      const damaged = Buffer.from(archive);
      for (let i = next(4); i >= 0; i--) {
        const at = next(damaged.length);
        damaged[at] = next(256);
        if (next(2) === 0) seal(damaged.subarray(at - (at % 512), at - (at % 512) + 512));
      }
      const part = next(3) === 0 ? damaged.subarray(0, next(damaged.length)) : damaged;
      const parser = new TarParser();
      try {
        for (let at = 0; at < part.length; at += 333) for (const _ of parser.push(part.subarray(at, at + 333)));
        parser.finish();
      } catch (error) {
        assert.ok(error instanceof TarError, `round ${round}: ${String(error)}`);
      }
    }
  });
});

describe("a PAX time", () => {
  it("is floored to nanoseconds", () => {
    assert.deepEqual(paxTime("12.3456789019"), { seconds: 12, nanoseconds: 345_678_901 });
    assert.deepEqual(paxTime("-1.25"), { seconds: -2, nanoseconds: 750_000_000 });
    assert.deepEqual(paxTime("-3"), { seconds: -3, nanoseconds: 0 });
    assert.deepEqual(paxTime("0"), { seconds: 0, nanoseconds: 0 });
  });
});
