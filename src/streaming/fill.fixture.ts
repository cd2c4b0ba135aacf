import type { Transport } from "./transport.ts";

/** One turn of the event loop. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));

/** Writes until the kernel takes no more; answers how much that was. */
export async function fill(transport: Transport): Promise<number> {
  let bytes = 0;
  for (const piece = Buffer.alloc(64 << 10); transport.backlogBytes === 0; bytes += piece.length) {
    transport.write([piece]);
    await turn();
  }
  return bytes;
}
