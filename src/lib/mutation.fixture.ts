/** Numbers that look random and are the same for the same seed: mulberry32. */
export class Dice {
  #state: number;

  constructor(seed: number) {
    this.#state = seed >>> 0;
  }

  /** From 0 to `below`, which it never is. */
  roll(below: number): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  }

  pick<T>(items: readonly [T, ...T[]]): T {
    return items[this.roll(items.length)] ?? items[0];
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.roll(256)));
  }
}

/** A valid conversation with some of its frames lost, doubled, moved, cut or changed; or none of that. */
export function mutated(frames: readonly Buffer[], dice: Dice): Buffer {
  const parts = frames.map((frame) => Buffer.from(frame));
  for (let count = dice.roll(4); count > 0; count -= 1) mutate(parts, dice);
  return Buffer.concat(parts);
}

function mutate(parts: Buffer[], dice: Dice): void {
  const at = dice.roll(Math.max(1, parts.length));
  const part = parts[at];
  if (part === undefined || part.length === 0) return;
  const place = dice.roll(part.length);
  switch (dice.roll(8)) {
    case 0:
      part[place] = dice.roll(256);
      break;
    case 1:
      part[place] = (part[place] ?? 0) ^ (1 << dice.roll(8));
      break;
    case 2: // a length or a number of eight bytes at the front of every frame
      part[dice.roll(Math.min(8, part.length))] = dice.pick([0, 1, 0x7f, 0x80, 0xff]);
      break;
    case 3:
      parts[at] = part.subarray(0, place);
      break;
    case 4:
      parts.splice(at, 1);
      break;
    case 5:
      parts.splice(dice.roll(parts.length), 0, Buffer.from(part));
      break;
    case 6:
      parts.splice(at, 0, dice.bytes(dice.roll(40)));
      break;
    default:
      parts.push(...parts.splice(at, 1));
  }
}

/** The same bytes in chunks of any length. */
export function* cut(bytes: Buffer, dice: Dice): Generator<Buffer> {
  const isWhole = dice.roll(4) === 0;
  for (let at = 0; at < bytes.length; ) {
    const length = isWhole ? bytes.length : 1 + dice.roll(dice.pick([2, 16, 200]));
    yield bytes.subarray(at, at + length);
    at += length;
  }
}
