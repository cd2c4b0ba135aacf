import { layoutBlob, layoutEntries } from "./layout.ts";
import type { Descriptor } from "./oci.ts";

interface Manifest {
  readonly config?: Descriptor;
  readonly layers?: readonly Descriptor[];
  readonly manifests?: readonly Descriptor[];
}

/** `registry.k8s.io/pause:3.9` as a mirror of that registry serves it: without the registry's name. */
export function repositoryAndTag(reference: string): { readonly repository: string; readonly tag: string } {
  const path = reference.slice(reference.indexOf("/") + 1);
  const colon = path.lastIndexOf(":");
  return { repository: path.slice(0, colon), tag: path.slice(colon + 1) };
}

/** Pushes every image of a layout, or those named, to the registry at `http://address`, where all names lose their host part. */
export async function pushLayout(layout: string, address: string, only?: readonly string[]): Promise<void> {
  for (const { reference, root } of await layoutEntries(layout)) {
    if (only !== undefined && !only.includes(reference)) continue;
    const { repository, tag } = repositoryAndTag(reference);
    const to: Target = { layout, base: `http://${address}/v2/${repository}` };
    await pushManifest(to, root, tag);
  }
}

interface Target {
  readonly layout: string;
  readonly base: string;
}

/** What a manifest names goes first: a registry refuses a manifest whose parts it does not have. */
async function pushManifest(to: Target, manifest: Descriptor, name: string): Promise<void> {
  const bytes = await layoutBlob(to.layout, manifest.digest);
  const { config, layers = [], manifests = [] }: Manifest = JSON.parse(bytes.toString());
  for (const part of config === undefined ? layers : [config, ...layers]) await pushBlob(to, part);
  for (const child of manifests) await pushManifest(to, child, child.digest);
  await expectStatus(201, `${to.base}/manifests/${name}`, {
    method: "PUT",
    headers: { "content-type": manifest.mediaType },
    body: new Uint8Array(bytes),
  });
}

async function pushBlob(to: Target, { digest }: Descriptor): Promise<void> {
  const known = await fetch(`${to.base}/blobs/${digest}`, { method: "HEAD", signal: AbortSignal.timeout(10_000) });
  if (known.ok) return;
  const upload = await expectStatus(202, `${to.base}/blobs/uploads/`, { method: "POST" });
  const location = new URL(upload.headers.get("location") ?? "", to.base);
  location.searchParams.set("digest", digest);
  await expectStatus(201, location.href, {
    method: "PUT",
    headers: { "content-type": "application/octet-stream" },
    body: new Uint8Array(await layoutBlob(to.layout, digest)),
  });
}

async function expectStatus(status: number, url: string, request: RequestInit): Promise<Response> {
  const response = await fetch(url, { ...request, signal: AbortSignal.timeout(30_000) });
  const body = await response.text();
  if (response.status !== status) throw new Error(`${request.method} ${url} answered ${response.status}: ${body}`);
  return response;
}
