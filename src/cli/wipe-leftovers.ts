import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { intended } from "../cni/attachment.ts";
import { deleteNetwork } from "../cni/network.ts";
import type { Operation } from "../launcher/operations.ts";
import { Monitors } from "../sandbox/monitors.ts";
import { deleteProcess } from "../sandbox/runtime-calls.ts";
import type { OpenNode } from "./open-node.ts";
import type { WipeTally } from "./wipe-tally.ts";

const DEADLINE_MS = 60_000;
/** Monitors refuse a daemon of an older epoch than they have seen, and a state that was lost has forgotten which. */
const NEWEST = 2n ** 63n - 1n;
const CONTAINER_ID = /^[0-9a-f]{64}$/;
const PIN = /^nacelle-[0-9a-f]{64}$/;

/**
 * Frees what rows do not tell of, because the state was lost or belongs to another time: containers that runtimes know,
 * monitors, pins, mounts, files. To be called when everything that has a row is gone; what still has one stays.
 */
export async function freeLeftovers(node: OpenNode, tally: WipeTally): Promise<void> {
  const known = knownIds(node);
  await endContainers(node, known, tally);
  await endMonitors(node, known, tally);
  await unpin(node, known, tally);
  await unmount(node, known, tally);
  await removeFiles(node, known, tally);
}

/** Ids of what could not be removed: a next attempt needs all that belongs to them. */
function knownIds({ parts: { store } }: OpenNode): ReadonlySet<string> {
  const names = ["sandboxes", "containers"] as const;
  return new Set(names.flatMap((name) => store.table(name).list()).map(({ id }) => id));
}

async function endContainers({ parts }: OpenNode, known: ReadonlySet<string>, tally: WipeTally): Promise<void> {
  for (const { handler } of parts.handlers.list()) {
    // A root that the configuration names may hold another program's containers.
    if (handler.root !== parts.paths.runtimeRoot(handler.name)) continue;
    for (const id of await names(handler.root)) {
      if (!CONTAINER_ID.test(id) || known.has(id)) continue;
      const what = `container ${id} of ${handler.name}`;
      await tally.attempt("stray containers", what, () => deleteProcess(parts.launcher, handler, id));
    }
  }
}

/** Their sockets bear the beginnings of ids; by the whole id one that does not answer is known by its process, and killed. */
async function endMonitors({ parts }: OpenNode, known: ReadonlySet<string>, tally: WipeTally): Promise<void> {
  const { paths, monitorLauncher: launcher } = parts;
  const ignore = () => undefined;
  const monitors = new Monitors({ launcher, paths, epoch: NEWEST, onExit: ignore, onLost: ignore, log: ignore });
  const kept = new Set([...known].map((id) => paths.monitorSocket(id)));
  const recorded = await names(join(paths.runDir, "p"));
  for (const name of await names(join(paths.runDir, "m"))) {
    if (kept.has(join(paths.runDir, "m", name))) continue;
    await tally.attempt("stray monitors", `monitor ${name}`, async () => {
      const sandboxId = recorded.find((id) => id.startsWith(name)) ?? name;
      const monitor = await monitors.adopt(sandboxId);
      for (const { id } of (await monitor?.snapshot()) ?? []) await monitors.forget(sandboxId, id);
      await monitors.end(sandboxId);
    });
  }
}

async function unpin(node: OpenNode, known: ReadonlySet<string>, tally: WipeTally): Promise<void> {
  const { netnsDir } = node.parts.paths;
  for (const name of await names(netnsDir)) {
    const id = name.slice("nacelle-".length);
    if (!PIN.test(name) || known.has(id)) continue;
    const path = join(netnsDir, name);
    await detach(node, id, path).catch((error: unknown) => tally.lost(`${name}: an address may stay taken`, error));
    await tally.attempt("stray network namespaces", name, () =>
      perform(node.parts, [{ op: "unpin", path }], `freeing ${name}`),
    );
  }
}

/** DEL by the network of now, without the result of ADD: an address is given back, a rule of a firewall may stay. */
async function detach({ parts, daemon }: OpenNode, id: string, netnsPath: string): Promise<void> {
  const network = daemon.network.current();
  const identity = { id, name: "", namespace: "", uid: "" };
  await deleteNetwork(parts.launcher, intended(network, identity, netnsPath, {}), parts.config.cni.timeout);
}

async function unmount({ parts }: OpenNode, known: ReadonlySet<string>, tally: WipeTally): Promise<void> {
  const { mounts, root } = parts.paths;
  const mountinfo = await readFile("/proc/self/mountinfo", "utf8");
  const points = mountPoints(mountinfo).filter((path) => path.startsWith(`${mounts}/`) || path.startsWith(`${root}/`));
  // The last one mounted may lie on an earlier one.
  for (const target of points.toReversed()) {
    if (target.split("/").some((part) => known.has(part))) continue;
    await tally.attempt("stray mounts", target, () =>
      perform(parts, [{ op: "unmount", target }], `unmounting ${target}`),
    );
  }
}

async function removeFiles({ parts }: OpenNode, known: ReadonlySet<string>, tally: WipeTally): Promise<void> {
  const { mounts, runDir, root } = parts.paths;
  const folders = [
    join(mounts, "s"),
    join(mounts, "c"),
    join(runDir, "p"),
    join(runDir, "u"),
    join(root, "containers"),
  ];
  for (const folder of folders) {
    for (const name of await names(folder)) {
      if (known.has(name)) continue;
      const path = join(folder, name);
      await tally.attempt("stray files", path, () => perform(parts, [{ op: "rmtree", path }], `removing ${path}`));
    }
  }
}

/** Mount points in the order of mounting, from the text of a mountinfo. */
export function mountPoints(mountinfo: string): readonly string[] {
  return mountinfo
    .split("\n")
    .map((line) => line.split(" ")[4] ?? "")
    .filter((path) => path !== "")
    .map((path) =>
      path.replace(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 8))),
    );
}

async function perform({ launcher }: OpenNode["parts"], operations: readonly Operation[], what: string): Promise<void> {
  await launcher.perform(operations, { owner: "nacelle", what, deadlineMs: DEADLINE_MS });
}

async function names(directory: string): Promise<readonly string[]> {
  return readdir(directory).catch(() => []);
}
