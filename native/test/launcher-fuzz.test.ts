/** Mutated frames. The launcher runs in a root of its own, where no path leads anywhere. Needs root. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { describe, it } from "node:test";
import { binary, RawLauncher, Site } from "./launcher-fixture.ts";

const FRAMES = Number(process.env.NACELLE_FUZZ ?? 10_000);
const LAST = 2n ** 63n;

/** Launcher requests of the golden file, without those that start what would outlive the test. */
const samples = readFileSync(join(import.meta.dirname, "golden.txt"), "utf8")
  .split("\n")
  .filter((line) => /^(run|perform|cancel|watch|unwatch|startUnpack|kill|notify) /.test(line))
  .map((line) => Buffer.from(line.split(" ")[1] ?? "", "hex"));

/** A small generator (Lehmer): the same frames in each run. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
}

/** The binary, and for a dynamic one its libraries, in an otherwise empty root. Returns how to start it there. */
function makeRoot(root: string): string[] {
  mkdirSync(join(root, "dev"), { recursive: true });
  mkdirSync(join(root, "proc"));
  mkdirSync(join(root, "run"));
  execFileSync("/bin/mknod", [join(root, "dev/null"), "c", "1", "3"]);
  chmodSync(join(root, "dev/null"), 0o666);
  copyFileSync(binary, join(root, basename(binary)));
  const listed = execFileSync("/bin/sh", ["-c", `ldd ${binary} 2>/dev/null || true`], { encoding: "utf8" });
  for (const [library] of listed.matchAll(/\/\S+/g)) {
    if (!existsSync(library)) continue;
    mkdirSync(join(root, dirname(library)), { recursive: true });
    copyFileSync(library, join(root, library));
  }
  // A PID namespace too: no number that a request may name is a process of the host.
  const isolate = [
    "/usr/bin/unshare",
    "--pid",
    "--fork",
    `--mount-proc=${join(root, "proc")}`,
    "/usr/sbin/chroot",
    root,
  ];
  return [...isolate, `/${basename(binary)}`, "launcher", "/run", "1", ""];
}

function mutate(sample: Buffer, next: (below: number) => number): Buffer {
  const payload = Buffer.from(sample.subarray(16));
  for (let i = next(4); i >= 0; i--) {
    const at = next(payload.length);
    const choice = next(4);
    if (choice === 0) payload[at] = next(256);
    else if (choice === 1) payload[at] = (payload[at] ?? 0) ^ (1 << next(8));
    else if (choice === 2) payload.fill(next(2) * 255, at, Math.min(at + 4, payload.length));
    else payload.copyWithin(at, next(payload.length));
  }
  return payload.subarray(0, next(8) === 0 ? next(payload.length) : payload.length);
}

describe("a launcher that is sent nonsense", () => {
  it(`answers each of ${FRAMES} mutated requests and lives`, async () => {
    await using site = new Site();
    const argv = makeRoot(join(site.dir, "root"));
    await using raw = new RawLauncher(argv);
    raw.hello();
    assert.equal((await raw.reply(1n))?.isError, false);
    const next = numbers(20_261_121);
    for (let seq = 2; seq < FRAMES + 2; seq++) {
      const sample = samples[next(samples.length)] ?? Buffer.alloc(16);
      raw.send(sample.readUInt16LE(4), BigInt(seq), mutate(sample, next));
      if (seq % 32 === 0) await raw.reply(BigInt(seq));
      assert.equal(raw.socket.destroyed, false, `request ${seq}: ${raw.said}`);
    }
    raw.send(0x0299, LAST, Buffer.alloc(0));
    assert.ok((await raw.reply(LAST)) !== undefined, `it still answers: ${raw.said}`);
  });

  it("ends after a mutated header, if at all, in order", async () => {
    const next = numbers(7);
    await using site = new Site();
    const argv = makeRoot(join(site.dir, "root"));
    for (let round = 0; round < 50; round++) {
      await using raw = new RawLauncher(argv);
      raw.hello();
      await raw.reply(1n);
      const frame = Buffer.from(samples[next(samples.length)] ?? Buffer.alloc(16));
      for (let i = 0; i < 3; i++) frame[next(16)] = next(256);
      raw.socket.end(frame);
      await raw.exited;
      assert.equal(raw.child.signalCode, null);
      assert.equal(raw.child.exitCode, 0, raw.said);
    }
  });
});
