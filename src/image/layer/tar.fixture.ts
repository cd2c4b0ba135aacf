/** For tests: makes tar archives, also wrong ones. Names are byte strings. */

export interface TarSpec {
  readonly name: string;
  readonly type?: string;
  readonly data?: string | Buffer;
  readonly mode?: number;
  readonly uid?: number;
  readonly gid?: number;
  readonly mtime?: number;
  readonly linkName?: string;
  readonly major?: number;
  readonly minor?: number;
  readonly pax?: Readonly<Record<string, string>>;
  /** Instead of the length of the data. */
  readonly size?: number;
  readonly magic?: string;
}

function octal(value: number, length: number): string {
  return `${value.toString(8).padStart(length - 1, "0")}\0`;
}

export function seal(block: Buffer): Buffer {
  block.fill(0x20, 148, 156);
  const sum = block.subarray(0, 512).reduce((total, byte) => total + byte, 0);
  block.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return block;
}

export function tarHeader(spec: TarSpec, size: number): Buffer {
  const block = Buffer.alloc(512);
  block.write(spec.name, 0, 100, "latin1");
  block.write(octal(spec.mode ?? (spec.type === "5" ? 0o755 : 0o644), 8), 100, "latin1");
  block.write(octal(spec.uid ?? 0, 8), 108, "latin1");
  block.write(octal(spec.gid ?? 0, 8), 116, "latin1");
  block.write(octal(spec.size ?? size, 12), 124, "latin1");
  block.write(octal(spec.mtime ?? 1_000_000_000, 12), 136, "latin1");
  block.write(spec.type ?? "0", 156, "latin1");
  block.write(spec.linkName ?? "", 157, 100, "latin1");
  block.write(spec.magic ?? "ustar\x0000", 257, "latin1");
  block.write(octal(spec.major ?? 0, 8), 329, "latin1");
  block.write(octal(spec.minor ?? 0, 8), 337, "latin1");
  return seal(block);
}

export function paxRecord(key: string, value: string): string {
  const body = ` ${key}=${value}\n`;
  let length = body.length + 1;
  while (String(length).length + body.length !== length) length = String(length).length + body.length;
  return length + body;
}

export function padded(data: Buffer): Buffer {
  return Buffer.concat([data, Buffer.alloc((512 - (data.length % 512)) % 512)]);
}

export function tarEntry(spec: TarSpec): Buffer {
  const { data: given = "" } = spec;
  const data = typeof given === "string" ? Buffer.from(given, "latin1") : given;
  const parts: Buffer[] = [];
  if (spec.pax !== undefined) {
    const records = Object.entries(spec.pax).map(([key, value]) => paxRecord(key, value));
    const payload = Buffer.from(records.join(""), "latin1");
    parts.push(tarHeader({ name: "pax", type: "x" }, payload.length), padded(payload));
  }
  parts.push(tarHeader(spec, data.length), padded(data));
  return Buffer.concat(parts);
}

export function tar(...specs: readonly TarSpec[]): Buffer {
  return Buffer.concat([...specs.map(tarEntry), Buffer.alloc(1024)]);
}
