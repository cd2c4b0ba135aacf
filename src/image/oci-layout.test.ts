import assert from "node:assert/strict";
import { mkdtemp, rm, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { OciLayout } from "./oci-layout.ts";

describe("an image layout", () => {
  it("with an index larger than its bound is refused, not read", async (t) => {
    const folder = await mkdtemp(join(tmpdir(), "layout-"));
    t.after(() => rm(folder, { recursive: true }));
    await writeFile(join(folder, "index.json"), '{"manifests":[]}');
    assert.deepEqual(await new OciLayout(folder).entries(), []);
    await truncate(join(folder, "index.json"), 64 * 1024 * 1024);
    await assert.rejects(new OciLayout(folder).entries(), /index\.json is larger than 4194304 bytes/);
  });
});
