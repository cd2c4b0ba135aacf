/** A JSON text for verbose answers. What JSON has no form for is written as text. */
export function toInfo(value: unknown): { info: string } {
  return { info: JSON.stringify(value, (_key, inner: unknown) => (typeof inner === "bigint" ? String(inner) : inner)) };
}
