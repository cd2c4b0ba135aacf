import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { Launcher } from "../launcher/launcher.ts";
import { Turns } from "../lib/turns.ts";
import { Store } from "../state/store.ts";
import { ImageService } from "./image-service.ts";
import { LayerWorkers } from "./layer/layer-workers.ts";
import { nativePath } from "./layer/process-unpacker.fixture.ts";
import { tar } from "./layer/tar.fixture.ts";
import { LayerStore } from "./layer-store.ts";
import { HttpClient } from "./registry/http.ts";
import { FakeRegistry, makeImage } from "./registry/registry.fixture.ts";

it("the launcher unpacks, syncs and removes what the image service asks for", async () => {
  await using stack = new AsyncDisposableStack();
  const root = mkdtempSync(join(tmpdir(), "nacelle-il-"));
  stack.defer(() => rmSync(root, { recursive: true, force: true }));
  const runDir = mkdtempSync(join(tmpdir(), "nacelle-ilr-"));
  stack.defer(() => rmSync(runDir, { recursive: true, force: true }));
  const lines: string[] = [];
  const launcher = stack.use(
    await Launcher.start({
      binary: nativePath,
      runDir,
      epoch: 1n,
      cgroup: "",
      log: (line) => lines.push(line),
      onExited: () => {},
    }),
  );
  const store = stack.use(Store.open({ root, bootId: "b", owner: { pid: process.pid, startTime: "1", listen: "/x" } }));
  const workers = stack.use(new LayerWorkers({ max: 2, idleMs: 1000 }));
  const report = (line: string) => lines.push(line);
  const layers = stack.use(new LayerStore({ root, store, operations: launcher, unpacker: launcher, workers, report }));
  const http = stack.use(new HttpClient({ connectMs: 5000, stallMs: 5000 }));
  const registries = { configFile: join(root, "registries.conf"), authFiles: [] };
  const now = () => Temporal.Now.instant();
  const turns = new Turns({ atOnce: 3, perOwner: 3, waiting: 100, what: "image pulls" });
  const images = new ImageService({
    turns,
    store,
    operations: launcher,
    layers,
    http,
    registries,
    sync: true,
    places: { root, layers: layers.directory, containers: join(root, "containers"), isOne: true },
    written: () => ({ bytes: 0, inodes: 0 }),
    now,
  });
  await images.recover();
  await images.recovered();

  const registry = stack.use(await FakeRegistry.start());
  const image = makeImage([tar({ name: "etc/hello", data: "from a registry" }), tar({ name: "etc/.wh.hello" })]);
  registry.add("app", "v1", image);
  const name = `${registry.host}/app:v1`;
  const id = await images.pull({ image: name }, undefined, AbortSignal.timeout(30_000));
  {
    using held = images.acquire(name);
    assert.equal(held.id, id);
    assert.equal(readFileSync(join(held.layerDirs[0] ?? "", "etc/hello"), "utf8"), "from a registry");
  }
  registry.replace(image.layers[0]?.digest ?? "", Buffer.alloc(10));
  await images.remove(id);
  await layers[Symbol.asyncDispose]();
  assert.deepEqual(readdirSync(layers.directory), []);
  assert.deepEqual(lines, []);
});
