/** Numbers in [0, 1), the same for the same seed (xorshift32). */
export type Random = () => number;

export function seeded(seed: number): Random {
  let state = seed | 1;
  return () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) / 2 ** 32;
  };
}

export function pick<T>(random: Random, items: readonly T[]): T {
  const item = items[Math.floor(random() * items.length)];
  if (item === undefined) throw new Error("nothing to pick from");
  return item;
}

const some = (random: Random) => Math.floor(random() * 1e9).toString(36);
const far = ["4611686018427387904", "9223372036854775807"];

/** What no field of a kind may hold. */
export const poisons = {
  name: (random: Random) => pick(random, ["", `a\n${some(random)}`, `a\0${some(random)}`, `\x1b[31m${some(random)}`]),
  text: (random: Random) => pick(random, [`${some(random)}\0`, `\0${some(random)}`]),
  id: (random: Random) =>
    pick(random, ["../../etc", "F".repeat(64), `${"f".repeat(64)}0`, "a/b", `x\0${some(random)}`]),
  path: (random: Random) =>
    pick(random, [some(random), `./${some(random)}`, `/a\0${some(random)}`, `/${"x".repeat(5_000)}`]),
  below: (random: Random) =>
    pick(random, ["..", "../x", `a/../../${some(random)}`, "/etc/passwd", `a\0${some(random)}`]),
  climbing: (random: Random) => pick(random, ["/..", "/../..", `/a/../../${some(random)}`, `/${some(random)}/..`]),
  amount: (random: Random) => pick(random, [String(-2 - Math.floor(random() * 1e12)), ...far]),
  user: (random: Random) => pick(random, ["-1", "4294967295", "4294967296", ...far]),
  port: (random: Random) => pick(random, [-1, 65_536, 2_147_483_647, -2_147_483_648]),
  choice: (random: Random) => 50 + Math.floor(random() * 1e6),
  address: (random: Random) => pick(random, ["1.2.3", "localhost", "1.2.3.4/24", "::g", "1.2.3.4\nx"]),
  host: (random: Random) => pick(random, ["-x", "a b", "x\ny", "h".repeat(65), "é"]),
  /** 10 MB now and then, for it takes its time. */
  labels: (random: Random) => ({ [some(random)]: "x".repeat(random() < 0.1 ? 10_000_000 : 4_400_000) }),
} satisfies Readonly<Record<string, (random: Random) => unknown>>;

export type Poison = keyof typeof poisons;
