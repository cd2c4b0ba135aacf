import { spawn } from "node:child_process";
import { once } from "node:events";
import { type FileHandle, mkdir, open } from "node:fs/promises";

/** A mounted file system that answers nothing, as a dead NFS server's: whoever looks into it waits. Disposing it lets them fail. */
export class HungVolume implements AsyncDisposable {
  readonly path: string;
  readonly #device: FileHandle;

  private constructor(path: string, device: FileHandle) {
    this.path = path;
    this.#device = device;
  }

  /** Mounts it at a new folder. It is FUSE's, whose server is to be this process and never reads a request. */
  static async mount(path: string): Promise<HungVolume> {
    await mkdir(path);
    const device = await open("/dev/fuse", "r+");
    const options = "fd=3,rootmode=40000,user_id=0,group_id=0";
    const mount = spawn("mount", ["-i", "-t", "fuse", "-o", options, "hung", path], {
      stdio: ["ignore", "inherit", "inherit", device.fd],
    });
    const [code] = await once(mount, "exit");
    if (code === 0) return new HungVolume(path, device);
    await device.close();
    throw new Error(`a FUSE file system could not be mounted at ${path}: mount ended with ${code}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#device.close(); // every request fails from now on
    const [code] = await once(spawn("umount", ["--lazy", this.path]), "exit");
    if (code !== 0) throw new Error(`umount ${this.path} ended with ${code}`);
  }
}
