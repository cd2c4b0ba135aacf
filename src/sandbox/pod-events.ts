import type { Sandbox } from "./sandbox.ts";

/** What can happen to a sandbox or a container, in this order. */
export type PodEventType = "created" | "started" | "stopped" | "deleted";

/** Who is told of it, at the moment when memory shows it. Must not throw. */
export interface PodEvents {
  /** `id` is the sandbox's own or that of a container in it; `sandbox` as it is now, or last was. */
  emit(type: PodEventType, id: string, sandbox: Sandbox): void;
}

/** How far the life of something has come that clients may see. */
export type Life = "created" | "running" | "ended";

/**
 * What was told of each sandbox or container, so that everybody hears of each step once and in order, whichever call
 * or observation comes first.
 */
export class Announcements {
  readonly #told = new Map<string, Life>();

  /** `undefined`: not to be seen yet, or no more. Emits what lies between the last that was told and this. */
  tell(id: string, life: Life | undefined, emit: (type: PodEventType) => void): void {
    const told = this.#told.get(id);
    if (told === life) return;
    if (life === undefined) this.#told.delete(id);
    else this.#told.set(id, life);
    for (const type of between(told, life)) emit(type);
  }

  /** As if it had been told: what an earlier daemon has left. */
  assume(id: string, life: Life | undefined): void {
    if (life !== undefined) this.#told.set(id, life);
  }
}

function between(told: Life | undefined, life: Life | undefined): readonly PodEventType[] {
  if (life === undefined) return ["deleted"];
  const created: readonly PodEventType[] = told === undefined ? ["created"] : [];
  if (life === "created") return created;
  return [...created, life === "running" ? "started" : "stopped"];
}
