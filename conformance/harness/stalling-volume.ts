import { spawn } from "node:child_process";
import { once } from "node:events";
import { type FileHandle, mkdir, open } from "node:fs/promises";

/** Of linux/fuse.h. */
const OPCODE = { lookup: 1, getattr: 3, init: 26 } as const;
const IN_HEADER = 40;
const OUT_HEADER = 16;
const ENOSYS = 38;

/**
 * A mounted file system whose folder can be looked at, and whose server never answers who asks for a file in it: that
 * process waits where SIGKILL does not reach it, as on a dead NFS mount. Disposing it lets all of them fail.
 */
export class StallingVolume implements AsyncDisposable {
  readonly path: string;
  /** Resolves when somebody waits. */
  readonly stalled: Promise<void>;
  readonly #device: FileHandle;
  readonly #stall: () => void;
  readonly #served: Promise<void>;
  #isGone = false;

  private constructor(path: string, device: FileHandle) {
    this.path = path;
    this.#device = device;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.stalled = promise;
    this.#stall = resolve;
    this.#served = this.#serve();
  }

  /** Mounts it at a new folder. It is FUSE's, and this process is its server. */
  static async mount(path: string): Promise<StallingVolume> {
    await mkdir(path);
    const device = await open("/dev/fuse", "r+");
    const options = "fd=3,rootmode=40000,user_id=0,group_id=0,allow_other";
    const stdio = ["ignore", "inherit", "inherit", device.fd] as const;
    const [code] = await once(
      spawn("mount", ["-i", "-t", "fuse", "-o", options, "stalling", path], { stdio: [...stdio] }),
      "exit",
    );
    if (code === 0) return new StallingVolume(path, device);
    await device.close();
    throw new Error(`a FUSE file system could not be mounted at ${path}: mount ended with ${code}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#isGone) return;
    this.#isGone = true;
    // By force, which fails all requests, also those that were read and not answered.
    await once(spawn("umount", ["--force", this.path], { stdio: "ignore" }), "exit");
    await this.#served;
    await this.#device.close();
    await once(spawn("umount", ["--lazy", this.path], { stdio: "ignore" }), "exit");
  }

  async #serve(): Promise<void> {
    const request = Buffer.alloc(1 << 18);
    try {
      for (;;) {
        await this.#device.read(request, 0, request.length, null);
        const answer = this.#answer(request);
        if (answer !== undefined) await this.#device.write(answer, 0, answer.length, null);
      }
    } catch {
      // It is no longer mounted.
    }
  }

  #answer(request: Buffer): Buffer | undefined {
    const opcode = request.readUInt32LE(4);
    const unique = request.readBigUInt64LE(8);
    if (opcode === OPCODE.init) return reply(unique, initialised(request));
    if (opcode === OPCODE.getattr) return reply(unique, rootAttributes());
    if (opcode !== OPCODE.lookup) return reply(unique, Buffer.alloc(0), ENOSYS);
    this.#stall();
    return undefined;
  }
}

function reply(unique: bigint, body: Buffer, errno = 0): Buffer {
  const header = Buffer.alloc(OUT_HEADER);
  header.writeUInt32LE(OUT_HEADER + body.length, 0);
  header.writeInt32LE(-errno, 4);
  header.writeBigUInt64LE(unique, 8);
  return Buffer.concat([header, body]);
}

/** Version 7.31 at most, with no feature of any. */
function initialised(request: Buffer): Buffer {
  const body = Buffer.alloc(64);
  body.writeUInt32LE(7, 0);
  body.writeUInt32LE(Math.min(31, request.readUInt32LE(IN_HEADER + 4)), 4);
  body.writeUInt32LE(4096, 8);
  body.writeUInt16LE(12, 16);
  body.writeUInt16LE(9, 18);
  body.writeUInt32LE(4096, 20);
  body.writeUInt32LE(1, 24);
  return body;
}

/** A directory of root's that everybody may look into. */
function rootAttributes(): Buffer {
  const body = Buffer.alloc(16 + 88);
  const attributes = body.subarray(16);
  attributes.writeBigUInt64LE(1n, 0);
  attributes.writeUInt32LE(0o40755, 60);
  attributes.writeUInt32LE(2, 64);
  attributes.writeUInt32LE(4096, 80);
  return body;
}
