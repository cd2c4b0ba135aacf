import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import type { Operation } from "../launcher/operations.ts";
import { OverlaySnapshotter } from "./snapshot.ts";

const id = "0123456789abcdef".repeat(4);

/** A state root with `count` layers, each with a file of its own and one that all have. */
function stateRoot(count: number) {
  const root = mkdtempSync(join(tmpdir(), "nacelle-snapshot-"));
  const layersDir = join(root, "layers");
  const containersDir = join(root, "containers");
  const rootfs = join(root, "rootfs");
  for (const path of [layersDir, containersDir, rootfs]) mkdirSync(path);
  const layerDirs = Array.from({ length: count }, (_, i) => {
    const path = join(layersDir, String(10_000 + i));
    mkdirSync(path);
    writeFileSync(join(path, `f${i}`), "");
    writeFileSync(join(path, "all"), `layer ${i}`);
    return path;
  });
  const snapshotter = new OverlaySnapshotter(layersDir, containersDir);
  return { snapshotter, layerDirs, rootfs, [Symbol.dispose]: () => rmSync(root, { recursive: true, force: true }) };
}

/** The operations as a shell script, in a mount namespace of its own that ends with it. */
function run(operations: readonly Operation[], then: string): string {
  const quote = (text: string) => `'${text}'`;
  const lines = operations.map((operation) => {
    if (operation.op === "mkdir") return `mkdir -p -m ${operation.mode.toString(8)} ${quote(operation.path)}`;
    assert.ok(operation.op === "mount");
    const { chdir = "/", type, source, target, data } = operation;
    return `cd ${quote(chdir)}; mount -i -t ${type} -o ${quote(data)} ${source} ${quote(target)}`;
  });
  const script = ["set -e", "mount --make-rprivate /", ...lines, then].join("\n");
  return execFileSync("unshare", ["-m", "sh", "-c", script], { encoding: "utf8" });
}

describe("an overlay snapshot", () => {
  it("has 127 layers, the last one on top, and a writable one above them", () => {
    using state = stateRoot(127);
    const operations = state.snapshotter.prepare(id, state.layerDirs, state.rootfs);
    const output = run(operations, `cd ${state.rootfs}; cat all; ls | wc -l; echo new > all; cat all; stat -c %a .`);
    assert.deepEqual(output.split("\n"), ["layer 126128", "new", "755", ""]);
  });

  it("of an image without layers is empty and writable", () => {
    using state = stateRoot(0);
    const operations = state.snapshotter.prepare(id, [], state.rootfs);
    assert.equal(run(operations, `cd ${state.rootfs}; ls; touch x; ls`), "x\n");
  });

  it("is refused, not cut, when its options are longer than a page", () => {
    using state = stateRoot(0);
    const many = Array.from({ length: 900 }, (_, i) => `/somewhere/else/${i}`);
    assert.throws(() => state.snapshotter.prepare(id, many, state.rootfs), /too many layers/);
  });

  it("is viewed by nobody who can write to it, with any number of layers", () => {
    for (const [count, listed] of [
      [0, ""],
      [1, "all f0 "],
      [2, "all f0 f1 "],
    ] as const) {
      using state = stateRoot(count);
      const output = run(
        state.snapshotter.view(state.layerDirs, state.rootfs),
        `cd ${state.rootfs}; echo $(ls) ''; ${count === 0 ? "" : "! touch x 2>/dev/null; ! mount -o remount,rw . 2>/dev/null"}`,
      );
      assert.equal(output.trim(), listed.trim());
    }
  });

  it("of a pod with ids of its own has id-mapped layers and a writable one of its root's", () => {
    using state = stateRoot(2);
    const users = { pin: "/pin/user", uid: 100_000, gid: 200_000 };
    const operations = state.snapshotter.prepare(id, state.layerDirs, state.rootfs, users);
    const overlay = operations.at(-1);
    assert.ok(overlay?.op === "mountOverlay" && overlay.user === "/pin/user");
    assert.deepEqual(overlay.lower, ["10001", "10000"]);
    assert.match(overlay.data, /^upperdir=.*,volatile/);
    const owned = operations
      .filter((one) => one.op === "chown")
      .map(({ path, uid, gid }) => [path.split("/").at(-1), uid, gid]);
    assert.deepEqual(owned, [
      ["upper", 100_000, 200_000],
      ["work", 100_000, 200_000],
    ]);
  });

  it("is removed with everything below its id", () => {
    using state = stateRoot(0);
    const [removal, ...others] = state.snapshotter.remove(id);
    assert.equal(others.length, 0);
    assert.ok(removal?.op === "rmtree" && removal.path.endsWith(`/containers/${id}`));
  });
});
