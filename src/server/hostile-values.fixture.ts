export type Random = () => number;

/** What an id looks like; nothing has it. */
export const anId = "a".repeat(64);

/** Numbers in [0, 1) that are the same for the same seed (mulberry32). */
export function seeded(seed: number): Random {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

export function pick<T>(random: Random, items: readonly T[]): T {
  const item = items[Math.floor(random() * items.length)];
  if (item === undefined) throw new Error("nothing to pick from");
  return item;
}

export const word = (random: Random) => `w${Math.floor(random() * 1e9).toString(36)}`;
export const negative = (random: Random) => String(-2 - Math.floor(random() * 2 ** 40));
export const huge = (random: Random) =>
  pick(random, ["9223372036854775807", "9007199254740992", "4611686018427387904"]);
export const outOfRange = (random: Random) => pick(random, [negative, huge])(random);
export const withNul = (random: Random) => `${word(random)}\0${word(random)}`;
export const control = (random: Random) => word(random) + pick(random, ["\n", "\r", "\0", "\x1b"]) + word(random);
export const nothing = () => "";
export const relative = (random: Random) => pick(random, ["", word(random), `./${word(random)}`, `../${word(random)}`]);
export const escaping = (random: Random) => `/${word(random)}/../${pick(random, ["..", word(random)])}`;
export const escapingRelative = (random: Random) =>
  pick(random, ["../x", "a/../../x", "..", "/etc/passwd", `${word(random)}/..`]);
export const unknownEnum = (random: Random) => 100 + Math.floor(random() * 1e6);
export const badHostname = (random: Random) => pick(random, ["-x", "a b", "x\ny", "h".repeat(65), "é", "x.", "."]);
export const badPort = (random: Random) => pick(random, [-1, 65_536, 2_147_483_647, -2_147_483_648]);
export const badIp = (random: Random) => pick(random, ["1.2.3", "localhost", "1.2.3.4/24", "::g", "1.2.3.4\nx", "%"]);
export const notHexId = (random: Random) => pick(random, ["../../etc", "A".repeat(64), `${anId}0`, "x", "a/b", "a\0"]);
export const badUtf8 = (random: Random) => [{ key: word(random), value: Buffer.from([0xff, 0xfe, 0xc0]) }];
/** More than a map may hold; now and then the 10 MB of a client that has gone mad. */
export const hugeMap = (random: Random) => ({ [word(random)]: "x".repeat(random() < 0.1 ? 10_000_000 : 4_300_000) });
export const hugeKey = (random: Random) => ({ [`k${"x".repeat(70_000)}`]: word(random) });
export const badCidr = (random: Random) =>
  pick(random, ["10.0.0.0", "10.0.0.0/33", "x/8", "10.0.0.0/8,", "::/129", "10.0.0.0/8/8"]);

/** A user namespace's usual mapping. */
export const mapping = { hostId: 1000, containerId: 0, length: 65_536 };
