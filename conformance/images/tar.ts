/** One entry of a layer. Paths are relative, without a leading `./` or `/`; owners are 0:0 unless said. */
export type LayerEntry = { readonly path: string; readonly uid?: number; readonly gid?: number } & (
  | { readonly kind: "directory"; readonly mode: number }
  | { readonly kind: "file"; readonly mode: number; readonly data: Buffer }
  | { readonly kind: "hardLink"; readonly target: string }
  | { readonly kind: "symbolicLink"; readonly target: string }
);

const block = 512;
const typeFlags = { file: "0", hardLink: "1", symbolicLink: "2", directory: "5" } as const;
/** One fixed moment for every entry, so that the same inputs always give the same digest. */
const modified = 1_700_000_000;

/** A ustar archive of exactly these entries in this order; the same entries give the same bytes. Throws RangeError on a path over 100 bytes. */
export function tarOf(entries: readonly LayerEntry[]): Buffer {
  const parts: Buffer[] = [];
  for (const entry of entries) {
    const data = entry.kind === "file" ? entry.data : Buffer.alloc(0);
    parts.push(header(entry, data.length), data, Buffer.alloc((block - (data.length % block)) % block));
  }
  parts.push(Buffer.alloc(2 * block));
  return Buffer.concat(parts);
}

function header(entry: LayerEntry, size: number): Buffer {
  const bytes = Buffer.alloc(block);
  text(bytes, 0, 100, entry.kind === "directory" ? `${entry.path}/` : entry.path);
  octal(bytes, 100, 8, "mode" in entry ? entry.mode : 0o777);
  octal(bytes, 108, 8, entry.uid ?? 0);
  octal(bytes, 116, 8, entry.gid ?? 0);
  octal(bytes, 124, 12, size);
  octal(bytes, 136, 12, modified);
  bytes.write(typeFlags[entry.kind], 156, "latin1");
  if ("target" in entry) text(bytes, 157, 100, entry.target);
  bytes.write("ustar\x0000", 257, "latin1");
  bytes.fill(" ", 148, 156);
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148, "latin1");
  return bytes;
}

function text(bytes: Buffer, offset: number, room: number, value: string): void {
  if (Buffer.byteLength(value) > room)
    throw new RangeError(`"${value}" does not fit the ${room} bytes of a tar header`);
  bytes.write(value, offset);
}

function octal(bytes: Buffer, offset: number, room: number, value: number): void {
  bytes.write(`${value.toString(8).padStart(room - 1, "0")}\0`, offset, "latin1");
}
