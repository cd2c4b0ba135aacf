import assert from "node:assert/strict";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { ServiceUnderTest } from "./image-service.fixture.ts";
import { tar } from "./layer/tar.fixture.ts";
import { DockerRegistry, makeImage, makeIndex } from "./registry/registry.fixture.ts";

const never = new AbortController().signal;
const hello = makeImage(
  [
    tar({ name: "etc/", type: "5" }, { name: "etc/greeting", data: "hello\n", mode: 0o4755 }),
    tar({ name: "etc/.wh.greeting" }, { name: "bin/sh", data: "#!\n", mode: 0o755 }),
  ],
  { Env: ["A=b"], Cmd: ["sh"], User: "1000:5", WorkingDir: "/tmp" },
);

describe("a pull from Debian's docker-registry", () => {
  it("leaves verified layers and a complete image", async () => {
    await using registry = await DockerRegistry.start();
    await registry.push("team/hello", "v1", hello);
    await using test = await ServiceUnderTest.start();
    const name = `${registry.host}/team/hello`;
    const id = await test.images.pull({ image: `${name}:v1` }, undefined, never);
    assert.equal(id, hello.config.digest);
    const image = test.images.find(`${name}:v1`);
    assert.deepEqual(image?.repoTags, [`${name}:v1`]);
    assert.deepEqual(image?.repoDigests, [`${name}@${hello.manifest.digest}`]);
    assert.equal(image?.uid, 1000);
    using held = test.images.acquire(id);
    const [bottom = "", top = ""] = held.layerDirs;
    assert.equal(readFileSync(join(bottom, "etc/greeting"), "utf8"), "hello\n");
    assert.equal(statSync(join(bottom, "etc/greeting")).mode & 0o7777, 0o4755);
    assert.equal(statSync(join(top, "etc/greeting")).isCharacterDevice(), true);
    assert.deepEqual(held.config.cmd, ["sh"]);
  });

  it("goes through mirrors and indexes and keeps the requested name", async () => {
    await using registry = await DockerRegistry.start();
    await registry.push("mirror/hello", "ignored", hello);
    const arm = makeImage([], { Cmd: ["arm"] });
    await registry.push("mirror/hello", "arm", arm);
    const index = makeIndex([
      { manifest: arm.manifest, platform: { os: "linux", architecture: process.arch === "x64" ? "arm64" : "amd64" } },
      { manifest: hello.manifest, platform: { os: "linux", architecture: process.arch === "x64" ? "amd64" : "arm64" } },
    ]);
    await registry.pushManifest("mirror/hello", "v1", index);
    await using test = await ServiceUnderTest.start();
    writeFileSync(
      test.configFile,
      `[[registry]]\nprefix = "registry.example"\nlocation = "registry.example"\n[[registry.mirror]]\nlocation = "127.0.0.1:1/dead"\n[[registry.mirror]]\nlocation = "${registry.host}/mirror"\n`,
    );
    const id = await test.images.pull({ image: "registry.example/hello:v1" }, undefined, never);
    const [image] = test.images.list();
    assert.deepEqual(
      [image?.id, image?.repoTags, image?.repoDigests],
      [id, ["registry.example/hello:v1"], [`registry.example/hello@${index.digest}`]],
    );
  });
});
