/** The devices of a directory that may be a user's. Needs root and a mount namespace of its own. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, it } from "node:test";
import { options, Site } from "./launcher-fixture.ts";

/** A launcher and a directory for devices. */
class Devices extends Site {
  readonly folder = join(this.dir, "devices");
  readonly #launcher = this.start();

  constructor() {
    super();
    mkdirSync(this.folder);
  }

  make(path: string, ...numbers: readonly string[]): void {
    execFileSync("/bin/mknod", ["-m", "640", join(this.folder, path), ...numbers]);
  }

  async list(path = this.folder): Promise<readonly string[]> {
    const [texts] = await (await this.#launcher).perform([{ op: "devices", path }], options);
    return (texts?.toString() ?? "").split("\0").slice(0, -1).sort();
  }
}

describe("the devices in a directory", () => {
  it("are its nodes and those below, and nothing that is linked, mounted or of another kind", async () => {
    await using site = new Devices();
    mkdirSync(join(site.folder, "bus/1"), { recursive: true });
    mkdirSync(join(site.folder, "mounted"));
    site.make("zero", "c", "1", "5");
    site.make("bus/1/a disk", "b", "8", "300");
    site.make("pipe", "p");
    writeFileSync(join(site.folder, "file"), "");
    writeFileSync(join(site.folder, "null"), "");
    symlinkSync("zero", join(site.folder, "link"));
    symlinkSync("bus", join(site.folder, "folder"));
    execFileSync("mount", ["-t", "tmpfs", "none", join(site.folder, "mounted")]);
    site.make("mounted/zero", "c", "1", "5");
    execFileSync("mount", ["--bind", "/dev/null", join(site.folder, "null")]);
    try {
      assert.deepEqual(await site.list(), [
        "b 416 0 0 1050668 bus/1/a disk",
        "c 416 0 0 261 zero",
        "c 438 0 0 259 null",
      ]);
      assert.deepEqual(await site.list(join(site.folder, "mounted")), ["c 416 0 0 261 zero"]);
      assert.deepEqual(await site.list(join(site.folder, "folder")), ["b 416 0 0 1050668 1/a disk"]);
    } finally {
      execFileSync("umount", [join(site.folder, "null"), join(site.folder, "mounted")]);
    }
  });

  it("are refused when they are too many or too deep, and when there is no such directory", async () => {
    await using site = new Devices();
    const deep = join(site.folder, ...Array.from({ length: 17 }, () => "d"));
    mkdirSync(deep, { recursive: true });
    await assert.rejects(site.list(), { code: "ELOOP", syscall: "readdir", path: site.folder });
    await assert.rejects(site.list(join(site.folder, "none")), { code: "ENOENT", syscall: "open" });
    const many = join(site.folder, "many");
    const names = Array.from({ length: 600 }, (_, index) => join(many, `${index}-${"x".repeat(200)}`));
    mkdirSync(many);
    for (const name of names) execFileSync("/bin/mknod", [name, "c", "1", "5"]);
    await assert.rejects(site.list(many), { code: "EFBIG", syscall: "readdir", path: many });
  });
});
