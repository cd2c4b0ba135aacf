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
 * Gives what the files hold, now and after each change, which is looked for every ten seconds: what replaces certificates
 * moves links that a watch does not see. Throws when they cannot be used now; later `problem` is told, once for each
 * change, and they are tried again.
 */
export async function watchTlsFiles(
  files: TlsFiles,
  use: (material: TlsMaterial) => void,
  problem: (message: string) => void,
): Promise<Disposable> {
  let [used, told] = ["", ""];
  let isLooking = false;
  const look = async (now: string) => {
    use(await readTlsFiles(files));
    used = now;
  };
  const tick = async () => {
    if (isLooking) return;
    isLooking = true;
    const now = await identities(files);
    if (now !== used) {
      await look(now).catch((error: unknown) => {
        if (told !== now) problem(messageOf(error));
        told = now;
      });
    }
    isLooking = false;
  };
  await look(await identities(files));
  const timer = setInterval(() => void tick(), LOOK_MS).unref();
  return { [Symbol.dispose]: () => clearInterval(timer) };
}

async function identities({ cert, key }: TlsFiles): Promise<string> {
  return `${await identity(cert)} ${await identity(key)}`;
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
