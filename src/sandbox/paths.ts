import { join } from "node:path";

const MAX_EXIT_COPY = 383;
/** Of the ids that are made up here, in hex digits. */
const ID_LENGTH = 64;

/**
 * Where everything of a sandbox or a container lies. Each path follows from the id alone, so that what a killed
 * daemon left behind can be found and freed without any memory of it.
 */
export class Paths {
  readonly root: string;
  readonly runDir: string;
  readonly netnsDir: string;

  constructor(dirs: { readonly root: string; readonly runDir: string; readonly netnsDir: string }) {
    this.root = dirs.root;
    this.runDir = dirs.runDir;
    this.netnsDir = dirs.netnsDir;
  }

  /** A private mount: what is mounted below it reaches no other mount namespace. */
  get mounts(): string {
    return join(this.runDir, "mnt");
  }

  /** The network namespace's pin, where CNI daemons and DRA drivers look for it. */
  netns(sandboxId: string): string {
    return join(this.netnsDir, `nacelle-${sandboxId}`);
  }

  /** Everything else that is mounted or written for a sandbox. */
  sandbox(sandboxId: string): string {
    return join(this.mounts, "s", sandboxId);
  }

  inSandbox(
    sandboxId: string,
    name: "user" | "ipc" | "uts" | "shm" | "hosts" | "hostname" | "resolv.conf" | "pause" | "pause-root",
  ): string {
    return join(this.sandbox(sandboxId), name);
  }

  /** Short, because the address of a unix socket ends at 107 bytes. */
  monitorSocket(sandboxId: string): string {
    return join(this.runDir, "m", sandboxId.slice(0, 20));
  }

  /** Exit records and pid files; the monitor alone writes there. */
  records(sandboxId: string): string {
    return join(this.runDir, "p", sandboxId);
  }

  /** A container's bundle; its root file system is mounted on `rootfs` in it. */
  bundle(containerId: string): string {
    return join(this.mounts, "c", containerId);
  }

  rootfs(containerId: string): string {
    return join(this.bundle(containerId), "rootfs");
  }

  /** Where the image of `config.mounts[index]` is mounted, for the runtime to bind. */
  imageVolume(containerId: string, index: number): string {
    return join(this.bundle(containerId), "images", String(index));
  }

  /** A container's writable layer and anonymous volumes; survives a reboot only as garbage. */
  writable(containerId: string): string {
    return join(this.root, "containers", containerId);
  }

  /** Second exit records, for a reboot before the exits they tell of were stored. */
  get exits(): string {
    return join(this.root, "exits");
  }

  /** Whether the path of a container's second exit record is one that a monitor takes. */
  get hasExitCopies(): boolean {
    return this.exitCopy("0".repeat(ID_LENGTH)) !== "";
  }

  /** Empty where the path would be longer than a monitor takes it: then there is none. */
  exitCopy(containerId: string): string {
    const path = join(this.exits, `${containerId}.exit`);
    return Buffer.byteLength(path) <= MAX_EXIT_COPY ? path : "";
  }

  /** What checkpoints in progress have written so far; nothing in it is worth keeping. */
  get checkpoints(): string {
    return join(this.root, "checkpoints");
  }

  /** An OCI runtime's own state. */
  runtimeRoot(handler: string): string {
    return join(this.runDir, "runtime", handler);
  }

  /** The root file system of a sandbox's pause process. `hasUsers`: it has ids of its own, which may not look into `root`. */
  pauseRootOf(sandboxId: string, hasUsers: boolean): string {
    return hasUsers ? this.inSandbox(sandboxId, "pause-root") : this.pauseRootfs;
  }

  /** A root file system with one file, the pause process. */
  get pauseRootfs(): string {
    return join(this.root, "pause");
  }
}
