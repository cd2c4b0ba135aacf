import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Store, type StoreOptions } from "./store.ts";

export interface Fixed {
  readonly name: string;
  readonly createdAt: Temporal.Instant;
  readonly dns: { readonly servers: readonly string[] } | undefined;
}

export interface State {
  readonly phase: string;
  readonly count: number;
}

/** A directory that is removed at the end of the scope. */
export function scratch(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), "nacelle-state-"));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

export function open(root: string, options: Partial<StoreOptions> = {}): Store {
  const owner = { pid: process.pid, startTime: "7", listen: "/run/test.sock" };
  return Store.open({ root, bootId: "boot-1", owner, ...options });
}

export function fixed(name: string): Fixed {
  return { name, createdAt: Temporal.Instant.from("2026-01-02T03:04:05.123456789Z"), dns: undefined };
}

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
export function random(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
