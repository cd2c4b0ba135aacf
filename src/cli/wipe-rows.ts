import { setTimeout as delay } from "node:timers/promises";
import type { Retries } from "../lib/retries.ts";
import type { OpenNode } from "./open-node.ts";
import type { WipeTally } from "./wipe-tally.ts";

/** So many sandboxes at a time: each holds some operations of the launcher. */
const AT_ONCE = 8;
const DISCARDS_MS = 120_000;
const POLL_MS = 50;

/**
 * Removes whatever has a row: sandboxes with their containers, creations that were cut short, network debts. A DEL that
 * fails is a problem and keeps its row for the next time; with `all` it is forgotten, for the row goes anyway.
 */
export async function freeRows(node: OpenNode, all: boolean, tally: WipeTally): Promise<void> {
  const { daemon, parts } = node;
  const containers = daemon.containers.list().length;
  const sandboxes = [...daemon.sandboxes.list()];
  const worker = async () => {
    for (let next = sandboxes.pop(); next !== undefined; next = sandboxes.pop()) {
      await removeSandbox(node, next.id, all, tally);
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, worker));
  await discarded(daemon.discards, tally);
  await payDebts(node, all, tally);
  await parts.store.durable();
  tally.add("containers", containers - daemon.containers.list().length);
}

async function removeSandbox(node: OpenNode, id: string, all: boolean, tally: WipeTally): Promise<void> {
  const { containers, sandboxes } = node.daemon;
  // First: a sandbox whose network cannot be detached keeps its containers otherwise.
  const own = containers.list().filter(({ sandboxId }) => sandboxId === id);
  await Promise.allSettled(own.map((container) => containers.remove(container.id)));
  const remove = () => sandboxes.remove(id);
  const again = async (error: unknown) => {
    if (!all || !hasAttachment(node, id)) throw error;
    tally.lost(`sandbox ${id}: its network is forgotten, an address may stay taken`, error);
    forget(node, id);
    await remove();
  };
  await tally.attempt("sandboxes", `sandbox ${id}`, () => remove().catch(again));
}

/** What the start found half made is being freed in the background: waits for that. */
async function discarded(discards: Retries, tally: WipeTally): Promise<void> {
  const found = discards.snapshot().length;
  const deadline = performance.now() + DISCARDS_MS;
  // Each is tried again with pauses; one that fails for the first time may succeed when others are gone.
  while (discards.snapshot().some(({ attempts }) => attempts < 3) && performance.now() < deadline) await delay(POLL_MS);
  for (const { key, lastError } of discards.snapshot()) tally.failed(key, lastError);
  tally.add("unfinished creations", found - discards.snapshot().length);
}

async function payDebts(node: OpenNode, all: boolean, tally: WipeTally): Promise<void> {
  const { debts } = node.daemon;
  for (const { sandboxId, networkName } of debts.snapshot()) {
    try {
      await debts.pay(sandboxId);
      tally.add("network debts");
    } catch (error) {
      const debt = `the debt of ${sandboxId} to network ${networkName}`;
      if (!all) {
        tally.failed(`${debt} stays (--all forgets it)`, error);
        continue;
      }
      tally.lost(`${debt} is forgotten, an address may stay taken`, error);
      forget(node, sandboxId);
    }
  }
}

function hasAttachment({ parts: { store } }: OpenNode, id: string): boolean {
  return store.table("attachments").get(id) !== undefined;
}

function forget({ parts: { store } }: OpenNode, id: string): void {
  store.commit([store.table("attachments").delete(id)], { essential: true });
}
