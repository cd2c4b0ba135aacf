import { TarError } from "./tar-entry.ts";

/** Records in their order; GNU sparse 0.0 repeats keys. Keys and values are byte strings. */
export type PaxRecords = readonly (readonly [key: string, value: string])[];

/** Parses the payload of an extended header: lines of "LENGTH KEY=VALUE\n". Throws `TarError`. */
export function parsePax(payload: Buffer): PaxRecords {
  const records: [string, string][] = [];
  for (let at = 0; at < payload.length; ) {
    const blank = payload.indexOf(0x20, at);
    const digits = payload.toString("latin1", at, blank < 0 || blank > at + 8 ? at : blank);
    const length = /^[0-9]+$/.test(digits) ? Number(digits) : 0;
    const end = at + length;
    if (length <= digits.length + 2 || end > payload.length || payload[end - 1] !== 0x0a) {
      throw new TarError("extended header record has a wrong length");
    }
    const equals = payload.indexOf(0x3d, blank);
    if (equals < 0 || equals >= end || equals === blank + 1) throw new TarError("extended header record has no key");
    records.push([payload.toString("latin1", blank + 1, equals), payload.toString("latin1", equals + 1, end - 1)]);
    at = end;
  }
  return records;
}

/** Later records win, the entry's own over the global ones; an empty value takes the key away. */
export function mergePax(global: PaxRecords, own: PaxRecords): ReadonlyMap<string, string> {
  const merged = new Map<string, string>();
  for (const [key, value] of [...global, ...own]) {
    if (value === "" && !key.startsWith("SCHILY.xattr.")) merged.delete(key);
    else merged.set(key, value);
  }
  return merged;
}

/** A decimal number of an extended header; `undefined` when the key is absent. */
export function paxNumber(pax: ReadonlyMap<string, string>, key: string): number | undefined {
  const value = pax.get(key);
  if (value === undefined) return undefined;
  const parsed = Number(value);
  if (!/^[0-9]{1,16}$/.test(value) || !Number.isSafeInteger(parsed)) {
    throw new TarError(`${key} ${JSON.stringify(value.slice(0, 40))} is not a number`);
  }
  return parsed;
}

/** Seconds and nanoseconds of a decimal time, which may be negative and have a fraction. */
export function paxTime(value: string): { readonly seconds: number; readonly nanoseconds: number } {
  const [, sign, whole, fraction = ""] = /^(-?)([0-9]{1,15})(?:\.([0-9]*))?$/.exec(value) ?? [];
  if (whole === undefined) throw new TarError(`mtime ${JSON.stringify(value.slice(0, 40))} is not a time`);
  const nanoseconds = Number(fraction.slice(0, 9).padEnd(9, "0"));
  if (sign !== "-") return { seconds: Number(whole), nanoseconds };
  if (nanoseconds === 0) return { seconds: 0 - Number(whole), nanoseconds };
  return { seconds: 0 - Number(whole) - 1, nanoseconds: 1_000_000_000 - nanoseconds };
}
