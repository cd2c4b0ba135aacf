import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";

/** A package of its own with the real bin/nacelle, and an executable `node` that prints how it was called. */
function setup(version: string) {
  const base = mkdtempSync(join(tmpdir(), "nacelle-bin-"));
  for (const directory of ["package/bin", "package/src", "path"]) mkdirSync(join(base, directory), { recursive: true });
  cpSync(join(import.meta.dirname, "../../bin/nacelle"), join(base, "package/bin/nacelle"));
  const node = `#!/bin/sh
if [ "$*" = --version ]; then echo ${version}; else echo "$MALLOC_ARENA_MAX" "$NODE_COMPILE_CACHE" "$@"; fi
`;
  writeFileSync(join(base, "path/node"), node);
  chmodSync(join(base, "path/node"), 0o755);
  symlinkSync("../package/bin/nacelle", join(base, "path/nacelle"));
  const call = (...argv: string[]) => {
    const env = { PATH: `${join(base, "path")}:/usr/bin:/bin`, NODE_COMPILE_CACHE: "/cache" };
    return spawnSync(join(base, "path/nacelle"), argv, { env, encoding: "utf8" });
  };
  return { base, call, [Symbol.dispose]: () => rmSync(base, { recursive: true }) };
}

describe("bin/nacelle", () => {
  it("works through a symlink, gives serve a small heap, and passes words on as they are", () => {
    using place = setup("v26.0.0");
    const main = join(place.base, "package/src/main.ts");
    const { stdout } = place.call("serve", "--set", "a=b c");
    const unoptimized = "--no-wasm-tier-up --no-wasm-dynamic-tiering";
    const flags = `--disable-warning=ExperimentalWarning ${unoptimized} --max-semi-space-size=2 --max-old-space-size=64`;
    assert.equal(stdout, `2 /cache ${flags} ${main} serve --set a=b c\n`);
    assert.ok(!place.call("status").stdout.includes("--max-semi-space-size"));
  });

  it("prefers the Node that was installed beside it", () => {
    using place = setup("v26.0.0");
    const arch = process.arch;
    const own = join(place.base, `package/node_modules/node-linux-${arch}/bin`);
    mkdirSync(own, { recursive: true });
    writeFileSync(join(own, "node"), "#!/bin/sh\necho own\n");
    chmodSync(join(own, "node"), 0o755);
    assert.equal(place.call("version").stdout, "own\n");
  });

  it("says which Node is too old, or that there is none, with code 6", () => {
    using old = setup("v24.1.0");
    const { status, stderr } = old.call("serve");
    assert.deepEqual(
      [status, stderr],
      [6, `nacelle: Node 26 or later is needed, ${join(old.base, "path/node")} is v24.1.0: run script/setup\n`],
    );
    using broken = setup("banana");
    assert.match(broken.call("serve").stderr, /says 'banana', which is no version/);
    using none = setup("");
    rmSync(join(none.base, "path/node"));
    const bare = spawnSync(join(none.base, "path/nacelle"), { env: { PATH: onlyTools(none.base) }, encoding: "utf8" });
    assert.deepEqual(
      [bare.status, bare.stderr],
      [6, "nacelle: Node 26 or later is needed: run script/setup, or put node in PATH\n"],
    );
  });
});

/** A PATH with what the script itself calls, and surely no node. */
function onlyTools(base: string): string {
  const directory = join(base, "tools");
  mkdirSync(directory);
  for (const tool of ["bash", "env", "readlink", "uname", "mkdir"]) {
    const { stdout } = spawnSync("sh", ["-c", `command -v ${tool}`], { encoding: "utf8" });
    symlinkSync(stdout.trim(), join(directory, tool));
  }
  return directory;
}
