/** Where the launcher lives when a service manager has given it a cgroup to divide. Needs root and cgroups of its own. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { until } from "../../conformance/harness/until.ts";
import { mounts, options, Site } from "./launcher-fixture.ts";
import { processesWith } from "./processes.ts";

const env = { PATH: "/bin:/usr/bin" };
const nap = `${300_000 + process.pid}.25`;
const [unified = ""] = mounts(/^cgroup2$/);

/** A unit's cgroup with this process in it, as systemd makes them. */
class Unit implements Disposable {
  readonly path: string;
  readonly #before = cgroupOf(process.pid);

  constructor(site: Site, isDelegated: boolean) {
    const slice = join(unified, `${site.cgroup}.slice`);
    this.path = join(slice, "nacelle.service");
    mkdirSync(this.path, { recursive: true });
    if (isDelegated) execFileSync("setfattr", ["-n", "trusted.delegate", "-v", "1", this.path]);
    writeFileSync(join(this.path, "cgroup.procs"), String(process.pid));
  }

  get name(): string {
    return this.path.slice(unified.length);
  }

  [Symbol.dispose](): void {
    writeFileSync(join(unified, this.#before, "cgroup.procs"), String(process.pid));
    const names = readdirSync(this.path, { recursive: true, withFileTypes: true });
    const below = names.filter((entry) => entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
    for (const path of below.toSorted().toReversed()) rmdirSync(path);
    rmdirSync(this.path);
    rmdirSync(join(this.path, ".."));
  }
}

function cgroupOf(pid: number): string {
  return /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, "utf8"))?.[1] ?? "";
}

describe("a launcher in the cgroup of a service", {
  skip: unified === "" && "no cgroup v2 hierarchy is mounted",
}, () => {
  it("divides it when it was delegated, and its operations are born there", async () => {
    await using site = new Site();
    using unit = new Unit(site, true);
    await using launcher = await site.start();
    assert.equal(cgroupOf(launcher.pid), `${unit.name}/${site.cgroup}/monitors`);
    const argv = ["/bin/cat", "/proc/self/cgroup"];
    const { stdout } = await launcher.run({ ...options, argv, env: {} });
    assert.match(stdout.toString(), new RegExp(`^0::${unit.name}/${site.cgroup}/ops$`, "m"));
    assert.deepEqual(readFileSync(join(unit.path, "cgroup.subtree_control"), "utf8").trim(), "");
    assert.equal(cgroupOf(process.pid), unit.name);
  });

  it("shares it with another server's, and leaves that one's operations alone", async () => {
    await using site = new Site();
    await using other = new Site();
    using _unit = new Unit(site, true);
    await using launcher = await site.start();
    const run = launcher.run({ ...options, argv: ["/bin/sh", "-c", `sleep ${nap}; true`], env });
    const ended = assert.rejects(run, { kind: "unavailable" });
    await until("it runs", () => processesWith(nap).length === 2);
    const second = await other.start();
    await second[Symbol.asyncDispose]();
    assert.equal(processesWith(nap).length, 2);
    await launcher[Symbol.asyncDispose]();
    await ended;
  });

  it("ends what is left in the cgroup that it had before there was a service", async () => {
    await using site = new Site();
    const launcher = await site.start();
    const run = launcher.run({ ...options, argv: ["/bin/sh", "-c", `setsid sleep ${nap} & wait`], env });
    const failed = assert.rejects(run, { kind: "unavailable" });
    await until("it runs", () => processesWith(nap).length === 2);
    process.kill(launcher.pid, "SIGKILL");
    await launcher.lost;
    await failed;
    for (const name of site.records()) rmSync(join(site.runDir, "ops", name));
    using _unit = new Unit(site, true);
    await using next = await site.start();
    assert.deepEqual(processesWith(nap), []);
    assert.equal(existsSync(join(unified, site.cgroup, "ops")), false);
    await next.run({ ...options, argv: ["/bin/true"], env });
  });

  it("leaves it alone when it was not", async () => {
    await using site = new Site();
    using unit = new Unit(site, false);
    await using launcher = await site.start();
    assert.equal(cgroupOf(launcher.pid), `/${site.cgroup}/monitors`);
    assert.equal(existsSync(join(unit.path, "monitors")), false);
  });
});
