/** A client's request for a stream, its headers in a stored block of zlib. `isFirst`: the connection's first. */
export function synStream(id: number, headers: Readonly<Record<string, string>>, isFirst = false, flags = 0): Buffer {
  const texts = Object.entries(headers).flat();
  const text = Buffer.concat([
    words(texts.length / 2),
    ...texts.flatMap((one) => [words(one.length), Buffer.from(one)]),
  ]);
  const stored = Buffer.alloc(5);
  stored.writeUInt16LE(text.length, 1);
  stored.writeUInt16LE(0xffff - text.length, 3);
  const zlib = [Buffer.from(isFirst ? [0x78, 0x01] : []), stored, text, Buffer.from([0, 0, 0, 0xff, 0xff])];
  const payload = Buffer.concat([words(id, 0), Buffer.alloc(2), ...zlib]);
  return Buffer.concat([words(0x8003_0001, flags * 0x100_0000 + payload.length), payload]);
}

/** 32 bits each, as SPDY has them. */
export function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(4 * values.length);
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, 4 * index);
  return bytes;
}
