/** Far below the 16 MiB that clients take, and large enough that the number of messages does not matter. */
const CHUNK_BYTES = 1024 * 1024;

/** Cuts a list into runs whose messages have about a mebibyte; an item that is larger by itself travels alone. */
export function* chunks<T>(items: Iterable<T>, sizeOf: (item: T) => number, limit = CHUNK_BYTES): Generator<T[]> {
  let chunk: T[] = [];
  let bytes = 0;
  for (const item of items) {
    const size = sizeOf(item);
    if (chunk.length > 0 && bytes + size > limit) {
      yield chunk;
      chunk = [];
      bytes = 0;
    }
    chunk.push(item);
    bytes += size;
  }
  if (chunk.length > 0) yield chunk;
}
