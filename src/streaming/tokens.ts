import { randomBytes } from "node:crypto";
import { DomainError } from "../lib/errors.ts";

const TOKEN_BYTES = 16;
const LIFE_MS = 60_000;
const MAX_TOKENS = 1_000;

/** What a URL's token looks like: 128 bits in base64url. */
export const tokenPattern = "[A-Za-z0-9_-]{22}";

/** Secrets that each stand for something, once and for a minute. */
export class Tokens<T> {
  readonly #nowMs: () => number;
  /** In the order of their expiry. */
  readonly #tokens = new Map<string, { readonly value: T; readonly expiresMs: number }>();

  /** @param nowMs a clock that never goes back */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** A new token. Throws `resourceExhausted` when too many wait to be used. */
  issue(value: T): string {
    const nowMs = this.#nowMs();
    for (const [token, { expiresMs }] of this.#tokens) {
      if (expiresMs > nowMs) break;
      this.#tokens.delete(token);
    }
    if (this.#tokens.size >= MAX_TOKENS) {
      throw new DomainError(
        "resourceExhausted",
        `${MAX_TOKENS} streaming URLs wait to be used: each can be used for ${LIFE_MS / 1000} s, try again then`,
      );
    }
    const token = randomBytes(TOKEN_BYTES).toString("base64url");
    this.#tokens.set(token, { value, expiresMs: nowMs + LIFE_MS });
    return token;
  }

  /** What it stood for; after that it stands for nothing. Undefined when it is unknown, used or too old. */
  take(token: string): T | undefined {
    const found = this.#tokens.get(token);
    this.#tokens.delete(token);
    return found !== undefined && found.expiresMs > this.#nowMs() ? found.value : undefined;
  }
}
