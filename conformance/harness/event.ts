import { access, readFile, watch } from "node:fs/promises";
import { createServer } from "node:net";
import { dirname } from "node:path";

/** Resolves once `path` exists; its folder must. Rejects with the signal's reason. */
export async function appeared(path: string, signal: AbortSignal): Promise<void> {
  await changedUntil(dirname(path), () => exists(path), signal);
}

/** Resolves once the file, which must exist, contains the text. Rejects with the signal's reason. */
export async function written(path: string, text: string, signal: AbortSignal): Promise<void> {
  await changedUntil(path, async () => (await readFile(path, "utf8")).includes(text), signal);
}

/** Resolves once `isTrue`, which is asked again after each change of the file or folder. Rejects with the signal's reason. */
export async function changedUntil(
  watched: string,
  isTrue: () => Promise<boolean>,
  signal: AbortSignal,
): Promise<void> {
  const enough = new AbortController();
  const either = AbortSignal.any([signal, enough.signal]);
  const changes = watch(watched, { signal: either })[Symbol.asyncIterator]();
  // Watched, by the first next(), before it is looked at: a change between the two is not missed.
  let change = changes.next();
  try {
    while (!(await isTrue())) {
      await change;
      change = changes.next();
    }
  } catch (error) {
    throw signal.aborted ? signal.reason : error;
  } finally {
    enough.abort();
    await change.catch(() => {}); // ends the watch; nobody waits for this change any more
  }
}

/** Whether the path exists, a dangling symbolic link counting as absent. */
export async function exists(path: string): Promise<boolean> {
  return await access(path).then(
    () => true,
    () => false,
  );
}

/** A TCP port of 127.0.0.1 that nothing listens on. */
export async function freePort(): Promise<number> {
  const server = createServer();
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.once("error", reject).listen(0, "127.0.0.1", resolve);
  await promise;
  const address = server.address();
  const closed = Promise.withResolvers<void>();
  server.close(() => closed.resolve());
  await closed.promise;
  if (address === null || typeof address === "string") throw new Error("a listening TCP socket has no address");
  return address.port;
}
