import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdir, mkdtempDisposable, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { ConfigWatch, type ConfigWatchOptions } from "./config-watch.ts";

const conflist = (name: string, type = "plain") =>
  JSON.stringify({ cniVersion: "1.0.0", name, plugins: [{ type, ipam: { type: "plain" } }] });

async function setup(options: Partial<ConfigWatchOptions> = {}) {
  const stack = new AsyncDisposableStack();
  const directory = stack.use(await mkdtempDisposable(join(tmpdir(), "cni-watch-")));
  const confDir = join(directory.path, "net.d");
  const binDir = join(directory.path, "bin");
  await mkdir(binDir);
  await writeFile(join(binDir, "plain"), "", { mode: 0o755 });
  await writeFile(join(binDir, "data"), "", { mode: 0o644 });
  let changed = Promise.withResolvers<void>();
  const onChange = () => {
    changed.resolve();
    changed = Promise.withResolvers<void>();
  };
  const open = async () =>
    stack.use(await ConfigWatch.open({ confDir, binDirs: ["/absent", binDir], pollMs: 20, onChange, ...options }));
  /** Resolves when `wanted` holds after a change. */
  const until = async (wanted: () => boolean) => {
    while (!wanted()) await changed.promise;
  };
  const write = async (name: string, text: string) => {
    await writeFile(join(confDir, `.${name}`), text);
    await rename(join(confDir, `.${name}`), join(confDir, name));
  };
  return { confDir, binDir, open, until, write, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

describe("ConfigWatch", () => {
  it("says that the directory is missing, and takes the network that appears in it", async () => {
    await using test = await setup();
    const config = await test.open();
    assert.deepEqual(config.status(), {
      ready: false,
      reason: "NetworkPluginNotReady",
      message: `no valid CNI configuration in ${test.confDir}: it does not exist`,
    });
    assert.throws(() => config.current(), /^DomainError: network is not ready: no valid CNI configuration/);
    await mkdir(test.confDir);
    await test.write("10-a.conflist", conflist("a"));
    await test.until(() => config.status().ready);
    assert.deepEqual(config.status(), { ready: true, reason: "", message: "" });
    const { file, list, pluginPaths } = config.current();
    assert.deepEqual([file, list.name, pluginPaths], ["10-a.conflist", "a", [join(test.binDir, "plain")]]);
  });

  it("is told of changes by the kernel", async () => {
    await using test = await setup({ pollMs: 3_600_000 });
    await mkdir(test.confDir);
    const config = await test.open();
    assert.match(config.status().message, /: it holds no \*\.conflist, \*\.conf or \*\.json file$/);
    await test.write("20-b.conflist", conflist("b"));
    await test.until(() => config.status().ready);
    await test.write("10-a.conflist", conflist("a"));
    await test.until(() => config.current().list.name === "a");
    await rm(join(test.confDir, "10-a.conflist"));
    await test.until(() => config.current().list.name === "b");
  });

  it("polls where the kernel tells nothing", async () => {
    await using test = await setup({ notify: false });
    const config = await test.open();
    await mkdir(test.confDir);
    await test.write("10-a.conflist", conflist("a"));
    await test.until(() => config.status().ready);
    await rm(test.confDir, { recursive: true });
    await test.until(() => !config.status().ready);
  });

  it("names invalid files with reasons and uses the next one", async () => {
    await using test = await setup();
    await mkdir(test.confDir);
    await test.write("00-bad.conflist", "{");
    await test.write("01-big.conflist", " ".repeat((1 << 20) + 1));
    execFileSync("mkfifo", [join(test.confDir, "02-fifo.conf")]);
    await mkdir(join(test.confDir, "03-directory.json"));
    const config = await test.open();
    const reasons = [
      "00-bad.conflist: the file is not JSON",
      "01-big.conflist: the file is larger than 1 MiB",
      "02-fifo.conf: not a regular file",
      "03-directory.json: not a regular file",
    ];
    const { message } = config.status();
    assert.equal(message, `no valid CNI configuration in ${test.confDir}: ${reasons.join("; ")}`);
    await test.write("10-a.conflist", conflist("a"));
    await test.until(() => config.status().ready);
    assert.deepEqual(
      config.skipped().map(({ name, reason }) => `${name}: ${reason}`),
      reasons,
    );
  });

  it("names missing plugins and does not fall back on another network", async () => {
    await using test = await setup();
    await mkdir(test.confDir);
    await test.write("10-a.conflist", conflist("a", "data"));
    await test.write("20-b.conflist", conflist("b"));
    const config = await test.open();
    assert.equal(
      config.status().message,
      `${join(test.confDir, "10-a.conflist")}: CNI network "a" needs "data", not found in /absent, ${test.binDir}: install the plugin or add its directory to cni.binDirs`,
    );
    await rm(join(test.binDir, "data"));
    await writeFile(join(test.binDir, "data"), "", { mode: 0o755 });
    await test.until(() => config.status().ready);
    assert.equal(config.current().list.name, "a");
  });

  it("waits until the network is admitted", async () => {
    let answer = () => Promise.reject(new Error("CNI plugin plain STATUS failed: not yet (code 50)"));
    await using test = await setup({
      admit: async (network) => {
        await answer();
        return network;
      },
    });
    await mkdir(test.confDir);
    await test.write("10-a.conflist", conflist("a"));
    const config = await test.open();
    assert.match(config.status().message, /10-a.conflist: CNI plugin plain STATUS failed: not yet \(code 50\)$/);
    answer = () => Promise.resolve<never>(undefined as never);
    await test.until(() => config.status().ready);
  });
});
