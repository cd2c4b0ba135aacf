import type { OciSyscallArg } from "../spec/types.ts";

/** A condition on one argument of a call, and what matching it means. Rules of one call are alternatives. */
export interface ArgumentRule {
  readonly verdict: "allow" | "deny";
  readonly arg: OciSyscallArg;
}

/** The kernel takes these arguments as 32 bits; a comparison of all 64 would let a value with junk above pass. */
const INT_MASK = 0xffff_ffff;

function masked(verdict: ArgumentRule["verdict"], index: number, mask: number, value: number): ArgumentRule {
  return { verdict, arg: { index, value: mask, valueTwo: value, op: "SCMP_CMP_MASKED_EQ" } };
}

/** Allows exactly these 32-bit values. */
export function oneOf(index: number, values: readonly number[]): readonly ArgumentRule[] {
  return values.map((value) => masked("allow", index, INT_MASK, value));
}

/** Allows the argument while none of the bits is set, and denies it, by name, with any one of them. */
export function flagsClear(index: number, bits: readonly number[]): readonly ArgumentRule[] {
  const all = bits.reduce((sum, bit) => sum + bit, 0);
  return [masked("allow", index, all, 0), ...bits.map((bit) => masked("deny", index, bit, bit))];
}

/** Families of sockets that Linux knows, rounded up to a whole number of bits. */
const FAMILIES = 64;

/**
 * Allows all families of sockets but these, which are denied by name. A filter can compare an argument only once per rule,
 * so what is allowed is cut into aligned blocks, each one masked comparison.
 */
export function families(denied: readonly number[]): readonly ArgumentRule[] {
  const allow = blocks(0, FAMILIES, denied).map(([start, size]) => masked("allow", 0, INT_MASK - (size - 1), start));
  return [...allow, ...denied.map((family) => masked("deny", 0, INT_MASK, family))];
}

function blocks(start: number, size: number, without: readonly number[]): readonly (readonly [number, number])[] {
  if (!without.some((value) => value >= start && value < start + size)) return [[start, size]];
  if (size === 1) return [];
  const half = size / 2;
  return [...blocks(start, half, without), ...blocks(start + half, half, without)];
}
