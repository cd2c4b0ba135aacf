/** Where the launcher lives when a service manager has given it a cgroup to divide. Needs root and cgroups of its own. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { mounts, options, Site } from "./launcher-fixture.ts";

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
    for (const leaf of ["monitors", "ops"]) if (existsSync(join(this.path, leaf))) rmdirSync(join(this.path, leaf));
    rmdirSync(this.path);
    rmdirSync(join(this.path, ".."));
  }
}

function cgroupOf(pid: number): string {
  return /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, "utf8"))?.[1] ?? "";
}

describe("a launcher in the cgroup of a service", () => {
  it("divides it when it was delegated, and its operations are born there", async () => {
    await using site = new Site();
    using unit = new Unit(site, true);
    await using launcher = await site.start();
    assert.equal(cgroupOf(launcher.pid), `${unit.name}/monitors`);
    const argv = ["/bin/cat", "/proc/self/cgroup"];
    const { stdout } = await launcher.run({ ...options, argv, env: {} });
    assert.match(stdout.toString(), new RegExp(`^0::${unit.name}/ops$`, "m"));
    assert.deepEqual(readFileSync(join(unit.path, "cgroup.subtree_control"), "utf8").trim(), "");
    assert.equal(cgroupOf(process.pid), unit.name);
  });

  it("leaves it alone when it was not", async () => {
    await using site = new Site();
    using unit = new Unit(site, false);
    await using launcher = await site.start();
    assert.equal(cgroupOf(launcher.pid), `/${site.cgroup}/monitors`);
    assert.equal(existsSync(join(unit.path, "monitors")), false);
  });
});
