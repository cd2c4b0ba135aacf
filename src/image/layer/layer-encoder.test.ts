import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FrameEncoder, frameType } from "./frames.ts";
import { LayerEncoder, layerPath } from "./layer-encoder.ts";
import { type TarSpec, tar } from "./tar.fixture.ts";
import { TarError } from "./tar-entry.ts";
import { TarParser } from "./tar-parser.ts";

const names = new Map(Object.entries(frameType).map(([name, type]) => [type as number, name]));

/** The frames that a layer of these entries becomes: their types and the names at their ends. */
function frames(...specs: readonly TarSpec[]): string[] {
  const slabs: Buffer[] = [];
  const encoder = new LayerEncoder(new FrameEncoder((slab) => slabs.push(slab)), 100);
  const parser = new TarParser();
  for (const event of parser.push(tar(...specs))) encoder.take(event);
  encoder.end();
  const bytes = Buffer.concat(slabs);
  const found: string[] = [];
  const skip: Record<string, number> = {
    directory: 24,
    file: 32,
    data: 8,
    symlink: 28,
    hardlink: 4,
    node: 36,
    xattr: 4,
    times: 12,
  };
  for (let at = 0; at < bytes.length; ) {
    const end = at + 8 + bytes.readUInt32LE(at);
    const name = names.get(bytes[at + 4] ?? 0) ?? "";
    found.push(name === "begin" ? name : `${name} ${bytes.toString("latin1", at + 8 + (skip[name] ?? 0), end)}`.trim());
    at = end;
  }
  return found.slice(1, -1);
}

describe("a layer's entry", () => {
  it("becomes frames; directories get their times at the end", () => {
    assert.deepEqual(
      frames(
        { name: "./", type: "5" },
        { name: "./a/", type: "5" },
        { name: "/a/f", data: "xyz", pax: { "SCHILY.xattr.user.k": "v", "SCHILY.xattr.security.selinux": "no" } },
        { name: "a/../b", type: "2", linkName: "../../x" },
        { name: "h", type: "1", linkName: "/a/f" },
        { name: "p", type: "6" },
      ),
      [
        "directory",
        "directory a",
        "file a/f",
        "data xyz",
        "xattr user.kv",
        "symlink b../../x",
        "hardlink ha/f",
        "node p",
        "times",
        "times a",
      ],
    );
  });

  it("that is a whiteout hides, makes opaque, or is AUFS's own", () => {
    assert.deepEqual(
      frames(
        { name: "d/.wh.x" },
        { name: ".wh.y" },
        { name: "d/.wh..wh..opq" },
        { name: ".wh..wh..opq" },
        { name: ".wh..wh.plnk", type: "5" },
        { name: ".wh..wh.aufs", data: "x" },
      ),
      ["whiteout d/x", "whiteout y", "opaque d", "opaque"],
    );
  });

  for (const spec of [
    { name: "../x" },
    { name: "a/../../x" },
    { name: "/../x" },
    { name: ".wh." },
    { name: "d/.wh.." },
    { name: ".wh..." },
    { name: "./", type: "2", linkName: "/" },
    { name: "h", type: "1", linkName: "../../etc/shadow" },
    { name: "h", type: "1", linkName: "/" },
    { name: "l", type: "2", linkName: "" },
    { name: "x", pax: { path: "n".repeat(256) } },
    { name: "x", pax: { path: "n/".repeat(2100) } },
    { name: "x", pax: { path: "a\0b" } },
  ] satisfies TarSpec[]) {
    it(`is refused: ${JSON.stringify(spec).slice(0, 60)}`, () => {
      assert.throws(() => frames(spec), TarError);
    });
  }

  it("beyond the bound is refused", () => {
    assert.throws(() => frames(...Array.from({ length: 101 }, (_, i) => ({ name: `f${i}` }))), /more than 100 entries/);
  });
});

describe("a path", () => {
  it("is clean and relative", () => {
    for (const [given, clean] of [
      ["./", ""],
      [".", ""],
      ["/", ""],
      ["a//b/./c/", "a/b/c"],
      ["//etc/passwd", "etc/passwd"],
      ["...", "..."],
    ] as const) {
      assert.equal(layerPath(given), clean);
    }
  });
});
