import { closeSync, openSync, rmSync, statSync, writeSync } from "node:fs";
import { join } from "node:path";
import { hasCode } from "../lib/errors.ts";

const reserveBytes = 1 << 20;

/** Blocks kept aside in the state root, given up when the disk is full so that what frees space can still be recorded. */
export class Reserve {
  readonly #path: string;
  #held: boolean;

  constructor(root: string) {
    this.#path = join(root, "reserve");
    this.#held = statSync(this.#path, { throwIfNoEntry: false })?.size === reserveBytes;
  }

  /** False after `release`, until `fill` finds room again. */
  get held(): boolean {
    return this.#held;
  }

  /** Makes the file if it is not whole. Returns false, leaving nothing behind, when there is no room. */
  fill(): boolean {
    if (this.#held) return true;
    try {
      this.#write();
      this.#held = true;
    } catch (error) {
      rmSync(this.#path, { force: true });
      if (!hasCode(error, "ENOSPC") && !hasCode(error, "EDQUOT")) throw error;
    }
    return this.#held;
  }

  release(): void {
    this.#held = false;
    rmSync(this.#path, { force: true });
  }

  #write(): void {
    // Written, not fallocated (Node cannot): and not zeros, which some file systems would not store.
    const block = Buffer.alloc(reserveBytes, "nacelle reserve ");
    const fd = openSync(this.#path, "w", 0o600);
    try {
      for (let at = 0; at < block.length; ) at += writeSync(fd, block, at);
    } finally {
      closeSync(fd);
    }
  }
}
