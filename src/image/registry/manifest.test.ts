import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { choosePlatform, hostPlatform, type IndexEntry, type Platform, parseManifest } from "./manifest.ts";

const digest = `sha256:${"a".repeat(64)}`;
const config = { mediaType: "application/vnd.oci.image.config.v1+json", digest, size: 2 };
const layer = { mediaType: "application/vnd.oci.image.layer.v1.tar", digest, size: 3 };
const manifestType = "application/vnd.oci.image.manifest.v1+json";
const indexType = "application/vnd.oci.image.index.v1+json";

function parse(document: unknown, mediaType = "") {
  return parseManifest(Buffer.from(JSON.stringify(document)), mediaType);
}

describe("a manifest", () => {
  it("is an image or an index", () => {
    assert.deepEqual(parse({ schemaVersion: 2, config, layers: [layer] }), { kind: "image", config, layers: [layer] });
    assert.equal(parse({ schemaVersion: 2, manifests: [] }, `${indexType}; charset=utf-8`).kind, "index");
  });

  for (const [what, document, type, message] of [
    ["both", { config, layers: [], manifests: [] }, "", /image and an index at once/],
    ["neither", {}, "text/html", /neither/],
    ["served as another type", { mediaType: manifestType, config, layers: [] }, indexType, /declares itself/],
    ["an index served as an image", { manifests: [] }, manifestType, /served as an image/],
    ["an image served as an index", { config, layers: [] }, indexType, /served as an index/],
    ["of schema 1", { schemaVersion: 1 }, "", /schema 1/],
    [
      "of an artifact",
      { config: { ...config, mediaType: "application/vnd.cncf.helm.config.v1+json" }, layers: [] },
      "",
      /artifact/,
    ],
    ["of too many layers", { config, layers: Array(128).fill(layer) }, "", /128 layers, more than 127/],
    [
      "with a bad digest",
      { config, layers: [{ ...layer, digest: "sha256:../../etc" }] },
      "",
      /layers\[0\] has no valid sha256/,
    ],
    ["with a negative size", { config, layers: [{ ...layer, size: -1 }] }, "", /size/],
    ["with a size that is a text", { config: { ...config, size: "2" }, layers: [] }, "", /size/],
    ["a list", [], "", /not a JSON object/],
  ] as const) {
    it(`that is ${what} is refused`, () => {
      assert.throws(() => parse(document, type), message);
    });
  }

  it("that is not JSON is refused", () => {
    assert.throws(() => parseManifest(Buffer.from("<html>"), ""), /not JSON/);
    assert.throws(() => parseManifest(Buffer.from([0x22, 0xff, 0x22]), ""), /not JSON/);
  });
});

describe("the platform of an index", () => {
  const entry = (os: string, architecture: string, variant = ""): IndexEntry => {
    return { mediaType: manifestType, digest, size: 1, platform: { os, architecture, variant } };
  };
  const amd64: Platform = { os: "linux", architecture: "amd64", variant: "" };
  const arm64: Platform = { os: "linux", architecture: "arm64", variant: "v8" };
  const chosen = (entries: readonly IndexEntry[], platform: Platform) => choosePlatform(entries, platform).platform;

  it("is this machine's, the same variant first", () => {
    const all = [
      entry("windows", "amd64"),
      entry("linux", "amd64", "v3"),
      entry("linux", "arm64"),
      entry("linux", "arm64", "v8"),
      entry("linux", "amd64"),
    ];
    assert.deepEqual(chosen(all, amd64), amd64);
    assert.deepEqual(chosen(all, arm64), arm64);
    assert.deepEqual(hostPlatform("x64"), amd64);
    assert.deepEqual(hostPlatform("arm64"), arm64);
  });

  it("that is not offered is named with those that are", () => {
    const offered = [entry("linux", "s390x"), entry("linux", "amd64", "v4"), entry("unknown", "unknown")];
    assert.throws(() => chosen(offered, amd64), /no manifest for linux\/amd64; it has linux\/s390x, linux\/amd64\/v4/);
  });

  it("may be left out of the index", () => {
    const unnamed: IndexEntry = { mediaType: manifestType, digest, size: 1, platform: undefined };
    assert.equal(chosen([unnamed], amd64), undefined);
    assert.deepEqual(chosen([unnamed, entry("linux", "amd64")], amd64), amd64);
  });
});
