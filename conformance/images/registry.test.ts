import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import test from "node:test";
import { builtLayout, layoutEntries } from "./layout.ts";
import type { Descriptor } from "./oci.ts";
import { pushLayout, repositoryAndTag } from "./push.ts";
import { Registry } from "./registry.ts";

async function fetched(
  address: string,
  repository: string,
  kind: "blobs" | "manifests",
  name: string,
): Promise<Buffer> {
  const headers = {
    accept:
      "*/*, application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json",
  };
  const response = await fetch(`http://${address}/v2/${repository}/${kind}/${name}`, { headers });
  assert.equal(response.status, 200, `${kind} ${repository} ${name}`);
  return Buffer.from(await response.arrayBuffer());
}

function digestOf(data: Buffer): string {
  return `sha256:${createHash("sha256").update(data).digest("hex")}`;
}

test("every image comes back from the registry byte for byte, down to its layers", async () => {
  const layout = await builtLayout();
  await using registry = await Registry.start();
  await pushLayout(layout, registry.address);
  const forms = new Set<string>();
  for (const { reference, root } of await layoutEntries(layout)) {
    const { repository, tag } = repositoryAndTag(reference);
    const queue: { kind: "blobs" | "manifests"; name: string; descriptor: Descriptor }[] = [
      { kind: "manifests", name: tag, descriptor: root },
    ];
    for (const { kind, name, descriptor } of queue) {
      const data = await fetched(registry.address, repository, kind, name);
      assert.equal(digestOf(data), descriptor.digest);
      assert.equal(data.length, descriptor.size);
      forms.add(descriptor.mediaType);
      if (kind === "blobs") continue;
      const manifest: { manifests?: Descriptor[]; config?: Descriptor; layers?: Descriptor[] } = JSON.parse(`${data}`);
      for (const child of manifest.manifests ?? []) queue.push({ kind, name: child.digest, descriptor: child });
      for (const part of [...(manifest.config ? [manifest.config] : []), ...(manifest.layers ?? [])]) {
        queue.push({ kind: "blobs", name: part.digest, descriptor: part });
      }
    }
  }
  // Both formats, both compressions, lists and single manifests: a runtime under test meets them all.
  assert.equal(forms.size, 9, [...forms].join(", "));
});
