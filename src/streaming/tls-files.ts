import { readFile, stat } from "node:fs/promises";
import { DomainError, messageOf } from "../lib/errors.ts";

const LOOK_MS = 10_000;

/** Paths of a certificate chain and its key, in PEM. */
export interface TlsFiles {
  readonly cert: string;
  readonly key: string;
}

/** What is in them. */
export interface TlsMaterial {
  readonly cert: Buffer;
  readonly key: Buffer;
}

/** Throws `failedPrecondition` naming the file that cannot be read. */
export async function readTlsFiles({ cert, key }: TlsFiles): Promise<TlsMaterial> {
  return { cert: await readNamed("streaming.tlsCert", cert), key: await readNamed("streaming.tlsKey", key) };
}

/**
 * Looks at the files every ten seconds and gives what they hold after a change. Looking, because what replaces
 * certificates moves links that a watch does not see. `problem` is told once for each change that could not be used.
 */
export function watchTlsFiles(
  files: TlsFiles,
  use: (material: TlsMaterial) => void,
  problem: (message: string) => void,
): Disposable {
  let seen: string | undefined;
  let isLooking = false;
  const look = async () => {
    const now = `${await identity(files.cert)} ${await identity(files.key)}`;
    const isNew = seen !== undefined && now !== seen;
    seen = now;
    if (isNew) use(await readTlsFiles(files));
  };
  const tick = () => {
    if (isLooking) return;
    isLooking = true;
    look()
      .catch((error: unknown) => problem(messageOf(error)))
      .finally(() => {
        isLooking = false;
      });
  };
  tick();
  const timer = setInterval(tick, LOOK_MS).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

async function readNamed(setting: string, path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (error) {
    throw new DomainError("failedPrecondition", `${setting}: ${messageOf(error)}`, { cause: error });
  }
}

async function identity(path: string): Promise<string> {
  try {
    const { ino, size, mtimeMs } = await stat(path);
    return `${ino}.${size}.${mtimeMs}`;
  } catch (error) {
    return messageOf(error); // between two versions; the next look sees the new one
  }
}
