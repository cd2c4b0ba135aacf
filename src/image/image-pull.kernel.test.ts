import assert from "node:assert/strict";
import { createCipheriv } from "node:crypto";
import { once } from "node:events";
import { existsSync, lstatSync, readdirSync, readFileSync } from "node:fs";
import type { ServerResponse } from "node:http";
import { join } from "node:path";
import { describe, it } from "node:test";
import { gzipSync, zstdCompressSync } from "node:zlib";
import { DomainError, messageOf } from "../lib/errors.ts";
import { ServiceUnderTest } from "./image-service.fixture.ts";
import { type TarSpec, tar } from "./layer/tar.fixture.ts";
import { blobOf, descriptor, FakeRegistry, makeImage, makeIndex, type TestImage } from "./registry/registry.fixture.ts";

const never = new AbortController().signal;
const noAuth = { username: "", password: "", auth: "", serverAddress: "", identityToken: "", registryToken: "" };

async function start(image: TestImage) {
  const stack = new AsyncDisposableStack();
  const registry = stack.use(await FakeRegistry.start());
  registry.add("app", "v1", image);
  const test = stack.use(await ServiceUnderTest.start());
  const reference = `${registry.host}/app:v1`;
  const pull = (signal = never) => test.images.pull({ image: reference }, undefined, signal);
  return { registry, test, reference, pull, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

function files(...specs: readonly TarSpec[]): Buffer {
  return tar(...specs);
}

/** Resolves when no layer directory is left. */
async function layersGone(test: ServiceUnderTest): Promise<void> {
  await test.layers[Symbol.asyncDispose]();
  assert.deepEqual(readdirSync(test.layers.directory), []);
}

/** Bytes that do not compress, the same each time. */
const random = createCipheriv("aes-128-ctr", Buffer.alloc(16), Buffer.alloc(16)).update(Buffer.alloc(3_000_000));

describe("a layer", () => {
  const content = files({ name: "f", data: "content" }, { name: "big", data: random });
  const half = content.length >> 1;
  for (const [what, pack, type] of [
    ["plain", (bytes: Buffer) => bytes, "application/vnd.oci.image.layer.v1.tar"],
    ["zstd", (bytes: Buffer) => zstdCompressSync(bytes), "application/vnd.oci.image.layer.v1.tar+zstd"],
    [
      "zstd in several frames",
      (bytes: Buffer) =>
        Buffer.concat([zstdCompressSync(bytes.subarray(0, half)), zstdCompressSync(bytes.subarray(half))]),
      "application/vnd.oci.image.layer.v1.tar+zstd",
    ],
    [
      "gzip in several members",
      (bytes: Buffer) => Buffer.concat([gzipSync(bytes.subarray(0, half)), gzipSync(bytes.subarray(half))]),
      "application/vnd.docker.image.rootfs.diff.tar.gzip",
    ],
  ] as const) {
    it(`that is ${what} is unpacked`, async () => {
      await using at = await start(makeImage([content], {}, pack, type));
      using held = at.test.images.acquire(await at.pull());
      const [layer = ""] = held.layerDirs;
      assert.equal(readFileSync(join(layer, "f"), "utf8"), "content");
      assert.equal(readFileSync(join(layer, "big")).equals(random), true);
    });
  }

  const good = makeImage([content]);
  const [layer = good.config] = good.layers;
  for (const [what, spoil, message] of [
    [
      "was replaced",
      (bytes: Buffer) => gzipSync(Buffer.concat([bytes, Buffer.alloc(512)])).subarray(0, bytes.length),
      /^layer sha256|blob .* longer/,
    ],
    ["has a flipped bit", (bytes: Buffer) => flip(bytes, bytes.length - 5), /damaged|incorrect data check/],
    ["is truncated", (bytes: Buffer) => bytes.subarray(0, bytes.length - 100), /ended early/],
    ["is not gzip", (bytes: Buffer) => Buffer.alloc(bytes.length, 1), /incorrect header check/],
  ] as const) {
    it(`that ${what} is refused, and nothing of it stays`, async () => {
      await using at = await start(good);
      at.registry.replace(layer.digest, spoil(layer.bytes));
      await assert.rejects(at.pull(), (error) => error instanceof DomainError && message.test(messageOf(error)));
      assert.deepEqual(at.test.images.list(), []);
      await layersGone(at.test);
    });
  }

  it("whose inflated bytes are not those of the configuration is refused", async () => {
    const lying = { ...makeImage([files({ name: "other" })]), layers: good.layers };
    const manifest = blobOf(
      Buffer.from(
        JSON.stringify({ schemaVersion: 2, config: descriptor(lying.config), layers: good.layers.map(descriptor) }),
      ),
      good.manifest.mediaType,
    );
    await using at = await start({ ...lying, manifest });
    await assert.rejects(at.pull(), /inflated layer .* has the digest/);
    await layersGone(at.test);
  });

  for (const [what, specs, message] of [
    ["climbs out", [{ name: "../../evil", data: "x" }], /leads out of the layer/],
    [
      "writes through an absolute link",
      [{ name: "l", type: "2", linkName: "/etc" }, { name: "l/evil" }],
      /cannot unpack "l\/evil"/,
    ],
    ["links to what it does not have", [{ name: "h", type: "1", linkName: "etc/shadow" }], /cannot unpack "h"/],
    ["hides its parent", [{ name: "a/.wh..", data: "" }], /whiteout of/],
  ] as const) {
    it(`that ${what} is refused, and nothing of it stays`, async () => {
      await using at = await start(makeImage([files({ name: "ok" }), files(...specs)]));
      await assert.rejects(at.pull(), message);
      assert.equal(existsSync("/etc/evil"), false);
      assert.deepEqual(at.test.images.list(), []);
    });
  }
});

function flip(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at] = (copy[at] ?? 0) ^ 1;
  return copy;
}

describe("a pull", () => {
  const shared = files({ name: "shared", data: random });

  it("of the same image at once by many is one", async () => {
    await using at = await start(makeImage([shared, files({ name: "top" })]));
    const ids = await Promise.all(Array.from({ length: 5 }, () => at.pull()));
    assert.equal(new Set(ids).size, 1);
    assert.equal(at.registry.requests.length, 4);
  });

  it("of images that share a layer fetches it once", async () => {
    const [first, second] = [
      makeImage([shared], { Cmd: ["1"] }),
      makeImage([shared, files({ name: "x" })], { Cmd: ["2"] }),
    ];
    await using at = await start(first);
    at.registry.add("app", "v2", second);
    await Promise.all([at.pull(), at.test.images.pull({ image: `${at.registry.host}/app:v2` }, undefined, never)]);
    assert.equal(at.registry.count(first.layers[0]?.digest ?? "none"), 1);
    assert.equal(readdirSync(at.test.layers.directory).length, 2);
  });

  it("that nobody waits for any more ends within a second and keeps verified layers", async () => {
    const image = makeImage([files({ name: "small" }), shared]);
    const [small, big] = image.layers;
    await using at = await start(image);
    const hung = Promise.withResolvers<ServerResponse>();
    at.registry.intercept = ({ url = "" }, response) => {
      if (big === undefined || !url.endsWith(big.digest)) return false;
      response.writeHead(200, { "content-length": big.bytes.length });
      response.write(big.bytes.subarray(0, 100_000));
      hung.resolve(response);
      return true;
    };
    const control = new AbortController();
    const pull = at.pull(control.signal);
    pull.catch(() => {});
    const response = await hung.promise;
    while (at.test.layers.rowOf(small?.digest ?? "") === undefined) await new Promise(setImmediate);
    const begun = performance.now();
    const closed = once(response, "close");
    control.abort();
    await assert.rejects(pull, { name: "AbortError" });
    await closed;
    assert.ok(performance.now() - begun < 1000);
    at.registry.intercept = () => false;
    await at.pull();
    assert.equal(at.registry.count(small?.digest ?? "none"), 1);
    assert.equal(at.registry.count(big?.digest ?? "none"), 2);
  });

  it("goes on for who still waits", async () => {
    await using at = await start(makeImage([shared]));
    const control = new AbortController();
    const [first, second] = [at.pull(control.signal), at.pull()];
    control.abort();
    await assert.rejects(first, { name: "AbortError" });
    await second;
  });

  it("by digest gives no tag, and the digest that was asked for", async () => {
    const image = makeImage([shared]);
    await using at = await start(image);
    const index = makeIndex([
      { manifest: image.manifest, platform: { os: "linux", architecture: process.arch === "x64" ? "amd64" : "arm64" } },
    ]);
    at.registry.tag("app", "index", index);
    for (const reference of [`${at.registry.host}/app@${index.digest}`, `${at.registry.host}/app:v1@${index.digest}`]) {
      await at.test.images.pull({ image: reference }, undefined, never);
      const found = at.test.images.find(reference);
      assert.deepEqual([found?.repoTags, found?.repoDigests], [[], [`${at.registry.host}/app@${index.digest}`]]);
    }
  });

  it("does not believe a registry that answers another manifest than the one asked for by digest", async () => {
    const image = makeImage([shared]);
    await using at = await start(image);
    at.registry.replace(image.manifest.digest, makeImage([files({ name: "evil" })]).manifest.bytes);
    const reference = `${at.registry.host}/app@${image.manifest.digest}`;
    await assert.rejects(
      at.test.images.pull({ image: reference }, undefined, never),
      /has the digest sha256.*damaged or replaced/,
    );
  });

  it("moves a tag from one image to another", async () => {
    const [first, second] = [makeImage([shared], { Cmd: ["1"] }), makeImage([shared], { Cmd: ["2"] })];
    await using at = await start(first);
    const old = await at.pull();
    at.registry.add("app", "v1", second);
    const id = await at.pull();
    assert.notEqual(id, old);
    assert.equal(at.test.images.find(at.reference)?.id, id);
    assert.deepEqual(at.test.images.find(old)?.repoTags, []);
    assert.equal(at.test.images.list().length, 2);
  });

  it("sends the request's credentials to the registry that it names, and to no mirror", async () => {
    const image = makeImage([]);
    await using at = await start(image);
    const auth = { ...noAuth, username: "u", password: "p", serverAddress: "https://registry.example" };
    at.registry.intercept = ({ headers }, response) => {
      if (headers.authorization !== undefined) return false;
      response.writeHead(401, { "www-authenticate": "Basic" }).end();
      return true;
    };
    await assert.rejects(at.test.images.pull({ image: at.reference }, auth, never), /none for this host/);
    await at.test.images.pull({ image: at.reference }, { ...auth, serverAddress: at.registry.host }, never);
    await at.test.images.pull({ image: at.reference }, { ...auth, serverAddress: "" }, never);
  });

  it("of an image without layers works", async () => {
    await using at = await start(makeImage([]));
    using held = at.test.images.acquire(await at.pull());
    assert.deepEqual(held.layerDirs, []);
    assert.ok((at.test.images.find(held.id)?.sizeBytes ?? 0) > 0);
  });

  it("keeps ids, modes, times and links as the layer has them", async () => {
    await using at = await start(
      makeImage([
        files(
          { name: "d/", type: "5", mode: 0o2775, uid: 1, gid: 2, mtime: 3 },
          { name: "d/f", mode: 0o6711, uid: 4, gid: 5, mtime: 6, data: "x" },
          { name: "d/h", type: "1", linkName: "d/f" },
          { name: "d/s", type: "2", linkName: "/nowhere", mtime: 7 },
        ),
      ]),
    );
    using held = at.test.images.acquire(await at.pull());
    const stat = (name: string) => {
      const { mode, uid, gid, mtimeMs, nlink } = lstatSync(join(held.layerDirs[0] ?? "", name));
      return [mode & 0o7777, uid, gid, mtimeMs / 1000, nlink];
    };
    assert.deepEqual(stat("d"), [0o2775, 1, 2, 3, 2]);
    assert.deepEqual(stat("d/f"), [0o6711, 4, 5, 6, 2]);
    assert.deepEqual(stat("d/h"), stat("d/f"));
    assert.equal(stat("d/s")[3], 7);
  });
});
