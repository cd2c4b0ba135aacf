/**
 * One entry of a tar archive. Names and targets are byte strings: each character is one byte (latin1), because a
 * tar archive says nothing about their encoding and a file system does not ask.
 */
export interface TarEntry {
  readonly kind: "file" | "directory" | "symlink" | "hardlink" | "character" | "block" | "fifo";
  /** As the archive has it: may be absolute, hold `..`, end with a slash. */
  readonly path: string;
  /** Of a symlink or hardlink; else empty. */
  readonly target: string;
  /** Permission and set-id bits, at most 0o7777. */
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
  readonly mtimeSeconds: number;
  readonly mtimeNanoseconds: number;
  /** Of a file, holes included; else 0. */
  readonly size: number;
  readonly deviceMajor: number;
  readonly deviceMinor: number;
  /** Extended attributes by name (a byte string). */
  readonly xattrs: ReadonlyMap<string, Buffer>;
}

/** What a `TarParser` finds: an entry, then the bytes of it if it is a file. `bytes` is valid until the next `push`. */
export type TarEvent =
  | { readonly type: "entry"; readonly entry: TarEntry }
  | { readonly type: "data"; readonly offset: number; readonly bytes: Buffer };

/** The archive is damaged, or holds what this program does not read. */
export class TarError extends Error {
  override readonly name = "TarError";
}
