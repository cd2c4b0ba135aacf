import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import test from "node:test";
import { promisify } from "node:util";
import { type Guard, guards } from "./guards.ts";

const run = promisify(execFile);
const root = join(import.meta.dirname, "../..");
const node = join(root, "node_modules/.bin/node");

/** Without what tells a test runner that another one started it. */
const { NODE_TEST_CONTEXT: _, ...plainEnvironment } = process.env;

/** A test of an attack is worth something only if it fails where nothing stands against the attack. */
for (const guard of guards) {
  const { of, layers, test: testFile, name } = guard;
  const places = layers.map(({ file }) => file).join(" and ");
  test(`${of.join(", ")}: without what ${places} does the attack of "${name}" is seen`, async () => {
    await using copy = await copyWithout(guard);
    const args = ["--test", "--test-reporter=tap", "--test-name-pattern", RegExp.escape(name), testFile];
    const result = await run(node, args, { cwd: copy.folder, maxBuffer: 64 << 20, env: plainEnvironment }).then(
      ({ stdout }) => ({ failed: false, stdout }),
      (error: { readonly stdout: string }) => ({ failed: true, stdout: error.stdout }),
    );
    assert.match(result.stdout, new RegExp(`ok \\d+ - ${RegExp.escape(name)}`), "it ran");
    assert.ok(result.failed, `it passed without the guard:\n${result.stdout.slice(-2000)}`);
    assert.doesNotMatch(result.stdout, /hookFailed|SyntaxError/, "what failed is not the attack");
  });
}

/** The checkout in a folder beside it, less one guard, built. */
async function copyWithout({ layers }: Guard): Promise<{ readonly folder: string } & AsyncDisposable> {
  await mkdir(join(root, "build"), { recursive: true });
  const folder = await mkdtemp(join(root, "build/unguarded-"));
  const { stdout } = await run("git", ["ls-files", "-z", "--cached", "--others", "--exclude-standard"], { cwd: root });
  for (const path of stdout.split("\0").filter((name) => name !== "")) {
    await mkdir(dirname(join(folder, path)), { recursive: true });
    await cp(join(root, path), join(folder, path), { verbatimSymlinks: true });
  }
  await mkdir(join(folder, "build"));
  await symlink(join(root, "node_modules"), join(folder, "node_modules"));
  await symlink(join(root, "build/images"), join(folder, "build/images"));
  const isNative = layers.some(({ file }) => file.startsWith("native/"));
  // Not copied where it is to be built: make would find the copy as new as its sources.
  if (!isNative) await cp(join(root, "build/nacelle-native"), join(folder, "build/nacelle-native"));
  for (const { file, text, without } of layers) {
    const guarded = await readFile(join(folder, file), "utf8");
    await writeFile(
      join(folder, file),
      guarded.replace(text, () => without),
    );
  }
  if (isNative) await run("make", ["-C", "native"], { cwd: folder });
  return { folder, [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }) };
}
