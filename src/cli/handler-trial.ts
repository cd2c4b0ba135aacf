import { join } from "node:path";
import { OverlaySnapshotter } from "../image/snapshot.ts";
import type { Operation, Operations } from "../launcher/operations.ts";
import { messageOf } from "../lib/errors.ts";
import { type RuntimeHandler, runArgs, runtimeError } from "../oci/handler.ts";
import { readonlyTrial, TRIAL_NO, usersTrial, wholeBindTrial } from "../oci/spec/trial.ts";
import type { OciSpec } from "../oci/spec/types.ts";
import type { Paths } from "../sandbox/paths.ts";
import { deleteProcess, runtimeEnvironment } from "../sandbox/runtime-calls.ts";
import { MS_NODEV, MS_NOSUID } from "../sys/mount-flags.ts";
import type { Cgroups } from "./cgroups.ts";

/** What a trial showed. */
export interface TrialResult {
  readonly recursiveReadOnlyMounts: boolean;
  /** With id-mapped volumes. */
  readonly userNamespaces: boolean;
  readonly wholeBindsWithUsers: boolean;
}

export interface TrialPorts {
  readonly operations: Operations;
  readonly paths: Paths;
  readonly cgroups: Cgroups;
}

/** Whose ids do not matter, so long as nobody has them. */
const ids = { containerId: 0, hostId: 2_000_000_000, length: 65_536 };
const TRIAL_MS = 10_000;
const STAGE_MS = 20_000;

/** A runtime that hangs is not tried any further: the server would start late. */
class NoEnd extends Error {}

/** A place to try things in. Everything follows from its name, so that what a killed trial left is cleared by the next. */
class Stage implements AsyncDisposable {
  readonly bundle: string;
  readonly rootfs: string;
  readonly volume: string;
  readonly pin: string;
  readonly id: string;
  readonly #ports: TrialPorts;
  readonly #snapshots: OverlaySnapshotter;

  constructor(ports: TrialPorts, name: string) {
    const { paths } = ports;
    this.id = `trial-${name}`.slice(0, 64);
    this.#ports = ports;
    this.bundle = paths.bundle(this.id);
    this.rootfs = paths.rootfs(this.id);
    this.volume = join(this.bundle, "volume");
    this.pin = join(this.bundle, "user");
    this.#snapshots = new OverlaySnapshotter(join(paths.root, "layers"), join(paths.root, "containers"));
  }

  /** A volume with a mount in it. */
  async makeVolume(): Promise<void> {
    const sub = join(this.volume, "sub");
    await this.clear();
    await this.#perform([
      { op: "mkdir", path: this.volume, mode: 0o755, parents: true },
      { op: "mkdir", path: sub, mode: 0o755 },
      { op: "mount", source: "trial", target: sub, type: "tmpfs", flags: MS_NOSUID | MS_NODEV, data: "size=4k" },
    ]);
  }

  /** A user namespace and a root file system of its ids. */
  async makeUsers(): Promise<void> {
    const { root, pauseRootfs } = this.#ports.paths;
    const map = `${ids.containerId} ${ids.hostId} ${ids.length}`;
    const users = { pin: this.pin, uid: ids.hostId, gid: ids.hostId };
    await this.#perform([
      { op: "mkdir", path: this.bundle, mode: 0o710, parents: true },
      { op: "chown", path: this.bundle, uid: 0, gid: ids.hostId },
      { op: "mkdir", path: this.rootfs, mode: 0o755 },
      { op: "mkdir", path: join(root, "layers"), mode: 0o700 },
      { op: "userNamespace", path: this.pin, uidMap: map, gidMap: map },
      ...this.#snapshots.prepare(this.id, [pauseRootfs], this.rootfs, users),
    ]);
  }

  async clear(): Promise<void> {
    const { directories } = this.#ports.cgroups.ofTrial(this.id);
    await this.#perform([
      { op: "killCgroup", paths: directories },
      { op: "removeCgroup", paths: directories },
      { op: "unmount", target: this.rootfs },
      { op: "unmount", target: join(this.volume, "sub") },
      { op: "unpin", path: this.pin },
      { op: "rmtree", path: this.bundle },
      ...this.#snapshots.remove(this.id),
    ]);
  }

  /** Whether the container said yes. Throws what the runtime said when it could not be run. */
  async run(handler: RuntimeHandler, spec: OciSpec): Promise<boolean> {
    const { operations, cgroups } = this.#ports;
    const called = { ...handler, systemdCgroup: cgroups.driver === "systemd" };
    const data = Buffer.from(JSON.stringify(spec));
    const config: Operation = { op: "writeFile", path: join(this.bundle, "config.json"), mode: 0o600, data };
    await this.#perform([config, ...cgroups.ofTrial(this.id).ensure]);
    const result = await operations.run({
      ...{ owner: this.id, what: `trial of ${handler.name}`, deadlineMs: TRIAL_MS, env: runtimeEnvironment },
      argv: runArgs(called, { id: this.id, bundle: this.bundle, log: "/dev/stderr" }),
    });
    if (result.outcome === "timedOut") {
      // It is not asked to delete either: that would hang as well. What it has made is cleared with the stage.
      await this.#perform([{ op: "rmtree", path: join(handler.root, this.id) }]);
      throw new NoEnd(`no end within ${TRIAL_MS / 1000} s`);
    }
    await deleteProcess(operations, called, this.id);
    if (result.outcome === "exited" && result.status === 0) return true;
    if (result.outcome === "exited" && result.status === TRIAL_NO) return false;
    throw new Error(runtimeError(result.stderr.toString()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.clear();
  }

  async #perform(operations: readonly Operation[]): Promise<void> {
    const what = "trying what this host can do";
    await this.#ports.operations.perform(operations, { owner: this.id, what, deadlineMs: STAGE_MS });
  }
}

/** Why root file systems of user namespaces cannot be had here; empty when they can. */
export async function kernelProblem(ports: TrialPorts): Promise<string> {
  try {
    await using stage = new Stage(ports, "kernel");
    await stage.clear();
    await stage.makeUsers();
    return "";
  } catch (error) {
    const need = `they need Linux 5.19 and a file system at ${ports.paths.root} that can be id-mapped`;
    return `user namespaces cannot be had here: ${messageOf(error)}; ${need}`;
  }
}

/** Runs a small container for each feature. What fails is not there, and `report` is told why. */
export async function tryHandler(
  ports: TrialPorts,
  handler: RuntimeHandler,
  report: (feature: string, reason: string) => void,
): Promise<TrialResult> {
  await using stage = new Stage(ports, handler.name);
  await stage.makeVolume();
  const { volume, pin, rootfs } = stage;
  const input = { volume, cgroupsPath: ports.cgroups.ofTrial(stage.id).specPath };
  const attempt = (feature: string, run: () => Promise<boolean>) =>
    run().catch((error: unknown) => {
      if (error instanceof NoEnd) throw error;
      report(feature, messageOf(error));
      return false;
    });
  const recursiveReadOnlyMounts = await attempt("recursive read-only mounts", () =>
    stage.run(handler, readonlyTrial({ ...input, rootfs: ports.paths.pauseRootfs })),
  );
  const ofUsers = { ...input, rootfs, users: { uids: ids, gids: ids, pin } };
  const userNamespaces = await attempt("user namespaces", async () => {
    await stage.makeUsers();
    return stage.run(handler, usersTrial(ofUsers));
  });
  const wholeBindsWithUsers =
    userNamespaces && (await attempt("whole volumes", () => stage.run(handler, wholeBindTrial(ofUsers))));
  return { recursiveReadOnlyMounts, userNamespaces, wholeBindsWithUsers };
}
