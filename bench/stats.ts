import { mkdir, mkdtemp } from "node:fs/promises";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { CriClient } from "../conformance/harness/cri-client.ts";
import { Server } from "../conformance/harness/server.ts";
import { builtLayout } from "../conformance/images/layout.ts";
import { pushLayout } from "../conformance/images/push.ts";
import { Registry } from "../conformance/images/registry.ts";
import { Containerd } from "./containerd.ts";
import { alternating } from "./measure.ts";
import { startPods } from "./pods.ts";

/** `script/bench stats`: what a kubelet's questions after all pods' statistics take, here and at containerd's. */
const { values } = parseArgs({
  options: {
    pods: { type: "string", default: "100" },
    rounds: { type: "string", default: "60" },
    alone: { type: "boolean", default: false },
  },
});
const [pods, rounds] = [Number(values.pods), Number(values.rounds)];
const say = (line: string) => process.stdout.write(`${line}\n`);

await using owned = new AsyncDisposableStack();
const registry = owned.use(await Registry.start());
await pushLayout(await builtLayout(), registry.address);
const server = owned.use(await Server.start({ mirror: registry.address }));
const nacelle = owned.use(CriClient.connect(server.paths.socket));
say(`starting ${pods} pods with nacelle`);
await startPods(nacelle, "n", pods, "crun");
const peer = values.alone ? undefined : await startPeer();

for (const call of ["ListContainerStats", "ListPodSandboxStats"]) {
  for (const cri of peer === undefined ? [nacelle] : [nacelle, peer]) {
    const { stats } = (await cri.call(call, {})) as { readonly stats: readonly unknown[] };
    if (stats.length !== pods) throw new Error(`${call} told of ${stats.length} of ${pods}`);
  }
  // The answer's bytes, unread: what a client does with them is not the server's doing.
  const ask = (cri: CriClient) => async () => void (await cri.answerBytes(call, {}));
  const competitors: Record<string, () => Promise<void>> = { nacelle: ask(nacelle) };
  if (peer !== undefined) competitors["containerd"] = ask(peer);
  await alternating(competitors, 5); // what is done once is not measured
  const figures = await alternating(competitors, rounds);
  for (const [name, { p50, p99 }] of Object.entries(figures)) {
    say(`${call.padEnd(20)} ${name.padEnd(11)} p50 ${p50.toFixed(1)} ms   p99 ${p99.toFixed(1)} ms`);
  }
  const [ours, theirs] = [figures["nacelle"]?.p50 ?? 0, figures["containerd"]?.p50];
  if (theirs !== undefined) say(`${call.padEnd(20)} ratio of medians ${(ours / theirs).toFixed(3)}`);
}
say(`${pods} pods each, ${rounds} rounds in turns; load ${loadavg()[0]?.toFixed(1)}`);

async function startPeer(): Promise<CriClient> {
  const folder = await mkdtemp(join(tmpdir(), "containerd-"));
  await mkdir(join(folder, "state"));
  const cniConfDir = server.paths.cni.confDir;
  const containerd = owned.use(await Containerd.start({ folder, cniConfDir, mirror: registry.address }));
  const cri = owned.use(CriClient.connect(containerd.socket));
  say(`starting ${pods} pods with containerd`);
  try {
    await startPods(cri, "c", pods, "");
  } catch (error) {
    throw new Error(`containerd: ${String(error)}\n${await containerd.tail()}`);
  }
  return cri;
}
