import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempDisposableSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { nativePath } from "../../src/image/layer/process-unpacker.fixture.ts";

const native = join(import.meta.dirname, "..");
const EPERM = 1;
const EACCES = 13;
/** CHOWN, DAC_OVERRIDE, FOWNER, FSETID, SYS_ADMIN, MKNOD, SETFCAP. */
const KEPT = [0, 1, 3, 4, 21, 27, 31].reduce((mask, bit) => mask | (1n << BigInt(bit)), 0n);
/** The leak check of a sanitized build needs /proc, and in a layer there is none. */
const env = { ASAN_OPTIONS: "detect_leaks=0" };

/** An empty directory that is gone afterwards. */
function scratch() {
  return mkdtempDisposableSync(join(tmpdir(), "nacelle-native-"));
}

describe("an unpack process", () => {
  it("has seven capabilities, no way to gain others, no other descriptor, and no mount but its layer", async () => {
    using layer = scratch();
    const child = spawn(nativePath, ["unpack", layer.path], { stdio: ["pipe", "pipe", "inherit"], env });
    // Its answer to a malformed frame comes when it is confined; then it drains, and waits for us.
    child.stdin.write(Buffer.alloc(8, 0xff));
    await once(child.stdout, "data");
    const of = (file: string) => readFileSync(`/proc/${child.pid}/${file}`, "utf8");
    const status = of("status");
    const field = (name: string) => new RegExp(`^${name}:\\s*(\\S+)`, "m").exec(status)?.[1];
    for (const set of ["CapEff", "CapPrm", "CapBnd"]) assert.equal(BigInt(`0x${field(set)}`) & ~KEPT, 0n, set);
    for (const set of ["CapInh", "CapAmb"]) assert.equal(BigInt(`0x${field(set)}`), 0n, set);
    assert.deepEqual([field("NoNewPrivs"), field("Seccomp")], ["1", "2"]);
    assert.deepEqual(readdirSync(`/proc/${child.pid}/fd`).sort(), ["0", "1", "2", "3"]); // 3 is its root, O_PATH
    const [mount = "", ...others] = of("mountinfo").trimEnd().split("\n");
    assert.deepEqual(others, []);
    assert.deepEqual(mount.split(" ")[4], "/");
    assert.match(mount, / rw,nosuid,nodev,noexec,/);
    child.stdin.end();
    await once(child, "close");
    assert.equal(child.exitCode, 1);
  });

  it("is refused whatever its capabilities would allow beyond making files", () => {
    using layer = scratch();
    execFileSync("make", ["-s", "-C", native, "confined"]);
    const said = execFileSync(join(native, "../build/native/confined"), [layer.path], { encoding: "utf8" });
    const errors = new Map(
      said
        .trimEnd()
        .split("\n")
        .map((line) => [line.replace(/ \d+$/, ""), Number(/\d+$/.exec(line))]),
    );
    assert.equal(errors.size, 54);
    const work = ["make null", "create", "fchown", "fchmod", "mkdir", "trusted", "whiteout", "symlink", "link"];
    for (const [call, error] of errors) {
      const expected = work.includes(call) ? 0 : call === "open null" ? EACCES : EPERM;
      assert.equal(error, expected, call);
    }
    assert.deepEqual(readdirSync(layer.path).sort(), ["dir", "file", "gone", "link", "null", "other"]);
  });

  it("that cannot enter its directory says so", async () => {
    const child = spawn(nativePath, ["unpack", "/nonexistent/layer"], { stdio: ["ignore", "ignore", "pipe"], env });
    let text = "";
    child.stderr.on("data", (chunk: Buffer) => {
      text += chunk.toString();
    });
    await once(child, "close");
    assert.equal(child.exitCode, 3);
    assert.match(text, /enter the layer directory: No such file/);
  });
});
