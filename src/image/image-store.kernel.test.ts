import assert from "node:assert/strict";
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { ServiceUnderTest } from "./image-service.fixture.ts";
import { tar } from "./layer/tar.fixture.ts";
import { blobOf, descriptor, makeImage, ociIndex, type TestImage } from "./registry/registry.fixture.ts";

const never = new AbortController().signal;
const base = tar({ name: "base", data: "x".repeat(5000) });
const first = makeImage([base, tar({ name: "one" })], { Cmd: ["1"], User: "app:app" });
const second = makeImage([base, tar({ name: "two" })], { Cmd: ["2"] });

/** An OCI image layout of these images by name. */
function layout(images: Readonly<Record<string, TestImage>>): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), "nacelle-layout-"));
  mkdirSync(join(path, "blobs/sha256"), { recursive: true });
  const manifests = Object.entries(images).map(([name, { manifest }]) => {
    return { ...descriptor(manifest), annotations: { "org.opencontainers.image.ref.name": name } };
  });
  for (const { manifest, config, layers } of Object.values(images)) {
    for (const { digest, bytes } of [manifest, config, ...layers]) {
      writeFileSync(join(path, "blobs", digest.replace(":", "/")), bytes);
    }
  }
  writeFileSync(
    join(path, "index.json"),
    blobOf(Buffer.from(JSON.stringify({ schemaVersion: 2, manifests })), ociIndex).bytes,
  );
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

async function imported(): Promise<ServiceUnderTest> {
  using directory = layout({ "a.example/one:1": first, "a.example/two:1": second });
  const test = await ServiceUnderTest.start();
  await test.images.importDirectory(directory.path, undefined, never);
  return test;
}

function directories(test: ServiceUnderTest): string[] {
  return readdirSync(test.layers.directory).sort();
}

describe("images", () => {
  it("are imported from a layout and found by every name, alike", async () => {
    await using test = await imported();
    const { images } = test;
    const image = images.find("a.example/one:1");
    const id = first.config.digest;
    assert.deepEqual(image, {
      id,
      repoTags: ["a.example/one:1"],
      repoDigests: [`a.example/one@${first.manifest.digest}`],
      sizeBytes: image?.sizeBytes,
      uid: undefined,
      username: "app",
      pinned: false,
    });
    for (const name of [id, id.slice(7), id.slice(0, 20), id.slice(7, 20), ...(image?.repoDigests ?? [])]) {
      assert.deepEqual(images.find(name), image);
    }
    for (const absent of ["a.example/one", "a.example/one:2", "f".repeat(64), `sha256:${"f".repeat(64)}`, "cafe"]) {
      assert.equal(images.find(absent), undefined);
    }
    assert.throws(() => images.find("sha256:"), /digest|invalid|reference/);
    assert.deepEqual(
      images.list().map((each) => each.id),
      [id, second.config.digest],
    );
    assert.equal(directories(test).length, 3);
  });

  it("that are removed go with all names and with the layers that nobody else has", async () => {
    await using test = await imported();
    const before = test.images.fsInfo().images;
    await Promise.all(Array.from({ length: 5 }, () => test.images.remove(first.config.digest)));
    assert.equal(test.images.find("a.example/one:1"), undefined);
    await test.images.remove("a.example/absent");
    await test.layers[Symbol.asyncDispose]();
    assert.equal(directories(test).length, 2);
    assert.ok(test.images.fsInfo().images.inodesUsed < before.inodesUsed);
    await test.images.remove("a.example/two:1");
    assert.deepEqual(test.images.fsInfo().images.usedBytes, 0);
  });

  it("that a container uses stay until it is gone, also over a restart", async () => {
    await using test = await imported();
    const id = first.config.digest;
    {
      using held = test.images.acquire("a.example/one:1");
      test.images.retain("container", held.id);
    }
    await test.images.remove(id);
    assert.equal(test.images.find(id), undefined);
    await test.close();
    await test.open(new Map([["container", id]]));
    assert.equal(test.images.find(id), undefined);
    assert.equal(directories(test).length, 3);
    test.images.release("container");
    await test.layers[Symbol.asyncDispose]();
    assert.equal(directories(test).length, 2);
    assert.throws(() => test.images.retain("late", id), /is gone/);
  });

  it("that a container mounts besides its own stay as long", async () => {
    await using test = await imported();
    const id = first.config.digest;
    const other = test.images.list().find((image) => image.id !== id)?.id ?? "";
    for (const image of [other, id]) test.images.retain("container", image);
    for (const image of [other, id]) await test.images.remove(image);
    assert.equal(directories(test).length, 3);
    test.images.release("container");
    await test.layers[Symbol.asyncDispose]();
    assert.equal(directories(test).length, 0);
  });

  it("that were removed in use and whose container is gone at a restart are gone too", async () => {
    await using test = await imported();
    test.images.retain("container", first.config.digest);
    await test.images.remove("a.example/one:1");
    await test.close();
    await test.open();
    await test.layers[Symbol.asyncDispose]();
    assert.equal(directories(test).length, 2);
  });

  it("survive a restart, leftovers do not", async () => {
    await using test = await imported();
    const before = test.images.list();
    const usage = test.images.fsInfo().images.usedBytes;
    await test.close();
    mkdirSync(join(test.layers.directory, "77"));
    writeFileSync(join(test.layers.directory, "junk"), "");
    await test.open();
    await test.layers[Symbol.asyncDispose]();
    assert.deepEqual(test.images.list(), before);
    assert.equal(test.images.fsInfo().images.usedBytes, usage);
    assert.equal(directories(test).length, 3);
    assert.equal(existsSync(join(test.layers.directory, "77")), false);
  });

  it("that lost a layer directory are forgotten at a restart, and can be had again", async () => {
    await using test = await imported();
    using held = test.images.acquire("a.example/one:1");
    const top = held.layerDirs.at(-1) ?? "none";
    await test.close();
    rmSync(top, { recursive: true });
    await test.open();
    assert.deepEqual(
      test.images.list().map(({ id }) => id),
      [second.config.digest],
    );
    using directory = layout({ x: first });
    assert.deepEqual(await test.images.importDirectory(directory.path, "b.example/again:1", never), [
      first.config.digest,
    ]);
    assert.deepEqual(test.images.find("b.example/again:1")?.repoTags, ["b.example/again:1"]);
  });

  it("are synced once, before they are recorded, and only when something was written", async () => {
    await using test = await imported();
    const syncs = () => test.operations.performed.filter(({ op }) => op === "syncfs").length;
    assert.equal(syncs(), 2);
    using directory = layout({ "c.example/one:1": first });
    await test.images.importDirectory(directory.path, undefined, never);
    assert.equal(syncs(), 2);
    assert.deepEqual(test.images.find(first.config.digest)?.repoTags, ["a.example/one:1", "c.example/one:1"]);
  });

  it("are not imported from what is no layout", async () => {
    await using test = await imported();
    await assert.rejects(test.images.importDirectory("/nonexistent", undefined, never), /is this an OCI image layout/);
    using directory = layout({ a: first, b: second });
    await assert.rejects(test.images.importDirectory(directory.path, "one-name", never), /holds 2 images/);
  });
});
