const scales: Readonly<Record<string, number>> = {
  "": 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  P: 1e15,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
  Pi: 2 ** 50,
};

/** A quantity as Kubernetes writes them, like "10M", "1.5Gi" or "500", rounded up; undefined for anything else. */
export function parseQuantity(value: string): number | undefined {
  const [, digits, suffix = ""] = /^(\d{1,16}(?:\.\d{1,9})?)([kMGTP]|[KMGTP]i)?$/.exec(value) ?? [];
  const scale = scales[suffix];
  return digits === undefined || scale === undefined ? undefined : Math.ceil(Number(digits) * scale);
}
