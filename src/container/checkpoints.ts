import { readdir, readFile } from "node:fs/promises";
import { posix } from "node:path";
import type { Operation, Operations } from "../launcher/operations.ts";
import { DomainError, hasCode, messageOf } from "../lib/errors.ts";
import { orAborted } from "../lib/or-aborted.ts";
import { Turns } from "../lib/turns.ts";
import { checkpointArgs, type RuntimeHandler, runtimeError } from "../oci/handler.ts";
import type { Handlers } from "../sandbox/handlers.ts";
import type { Paths } from "../sandbox/paths.ts";
import { runtimeEnvironment } from "../sandbox/runtime-calls.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { archiveArgs, configDump, diffArgs, dumps, workFolder } from "./checkpoint-archive.ts";
import { requireCheckpoints, requireLocation } from "./checkpoint-host.ts";
import { type Container, requirePhase } from "./container.ts";

export interface CheckpointPorts {
  readonly operations: Operations;
  readonly handlers: Handlers;
  readonly paths: Paths;
  /** By id or unique prefix; throw `notFound`. */
  readonly find: (idOrPrefix: string) => Container;
  readonly findSandbox: (idOrPrefix: string) => Sandbox;
  /** Lets the processes of a container run again, whoever froze them. */
  readonly thaw: (sandbox: Sandbox, id: string) => readonly Operation[];
  readonly now: () => Temporal.Instant;
  readonly log: (message: string, fields: Readonly<Record<string, string>>) => void;
}

const TURNS = { atOnce: 2, perOwner: 1, waiting: 64, what: "checkpoints" };
const DUMP_MS = 60_000;
const ARCHIVE_MS = 600_000;
const FILES_MS = 30_000;

/**
 * Checkpoints of running containers, for those who examine them elsewhere: nothing here ever reads one. A container runs
 * on afterwards, also when its checkpoint failed or was killed with the daemon.
 */
export class Checkpoints {
  readonly #ports: CheckpointPorts;
  readonly #turns = new Turns(TURNS);

  constructor(ports: CheckpointPorts) {
    this.#ports = ports;
  }

  /**
   * Resolves when the archive is at `location`, an absolute path; a file that was there is replaced, a symbolic link not
   * followed. `timeoutMs` is for criu and the archive together (0: a minute for criu); nothing of a failed one stays.
   * Aborting ends the waiting, not the work.
   */
  async checkpoint(idOrPrefix: string, location: string, timeoutMs: number, signal: AbortSignal): Promise<void> {
    const { id } = requirePhase(this.#ports.find(idOrPrefix), "running");
    const turn = await this.#turns.take(id, signal);
    const work = this.#checkpoint(id, location, timeoutMs).finally(() => turn[Symbol.dispose]());
    await orAborted(work, signal);
  }

  /** Removes what checkpoints of a daemon that was killed have left, and lets their containers run again. */
  async cleanUp(): Promise<void> {
    const ids = await readdir(this.#ports.paths.checkpoints).catch(() => []);
    // Side by side: a location that does not answer must not leave another container frozen.
    await Promise.all(ids.map((id) => this.#cleanUp(id)));
  }

  async #cleanUp(id: string): Promise<void> {
    const work = posix.join(this.#ports.paths.checkpoints, id);
    try {
      // A new checkpoint of it may have been asked for already.
      using _turn = await this.#turns.take(id, new AbortController().signal);
      const partial = await readFile(posix.join(work, "partial"), "utf8").catch(() => "");
      const unlink: readonly Operation[] = partial === "" ? [] : [{ op: "unlink", path: partial }];
      const operation = { owner: id, what: "removing an unfinished checkpoint", deadlineMs: FILES_MS };
      await this.#thaw(id);
      await this.#ports.operations.perform([...unlink, { op: "rmtree", path: work }], operation);
    } catch (error) {
      this.#ports.log("an unfinished checkpoint may be left", { container: id, error: messageOf(error) });
    }
  }

  async #checkpoint(id: string, location: string, timeoutMs: number): Promise<void> {
    const { operations, handlers, paths } = this.#ports;
    const container = requirePhase(this.#ports.find(id), "running");
    const { handler } = handlers.requireOf(this.#ports.findSandbox(container.sandboxId));
    await requireLocation(operations, location, id);
    const tar = await requireCheckpoints(operations, handler, id);
    const work = posix.join(paths.checkpoints, id);
    const patience = new Patience(timeoutMs);
    try {
      await this.#files(id, workFolder(work));
      await this.#dump(handler, id, work, patience.of(DUMP_MS));
      const spec = await readFile(posix.join(paths.bundle(id), "config.json"));
      await this.#files(id, dumps(work, configDump(container, handler.name, this.#ports.now()), spec));
      await this.#tar(id, diffArgs(tar, work, posix.join(paths.writable(id), "upper")), patience);
      await this.#tar(id, archiveArgs(tar, work), patience);
      await this.#deliver(id, work, location, patience);
    } finally {
      await this.#files(id, [{ op: "rmtree", path: work }]).catch((error: unknown) =>
        this.#ports.log("an unfinished checkpoint may be left", { container: id, error: messageOf(error) }),
      );
    }
  }

  /** criu freezes the container while it works; one that was killed in the middle leaves it so. */
  async #dump(handler: RuntimeHandler, id: string, work: string, deadlineMs: number): Promise<void> {
    const places = { images: posix.join(work, "checkpoint"), work: posix.join(work, "criu") };
    const argv = checkpointArgs(handler, { id, log: "/dev/stderr", ...places });
    const what = `${handler.name} checkpoint`;
    try {
      const request = { owner: id, what, deadlineMs, argv, env: runtimeEnvironment };
      const { outcome, status, stderr } = await this.#ports.operations.run(request);
      if (outcome === "exited" && status === 0) return;
      if (outcome === "timedOut")
        throw new DomainError("deadlineExceeded", `${what} of ${id} did not finish within ${deadlineMs / 1000} s`);
      throw new DomainError("internal", `${what} of ${id} failed: ${runtimeError(stderr.toString())}`);
    } catch (error) {
      await this.#thaw(id);
      throw error;
    }
  }

  async #thaw(id: string): Promise<void> {
    const { findSandbox, find, thaw, operations, log } = this.#ports;
    try {
      const operation = { owner: id, what: "letting the container run on", deadlineMs: FILES_MS };
      await operations.perform(thaw(findSandbox(find(id).sandboxId), id), operation);
    } catch (error) {
      // Gone with its container, if there is no such thing.
      if (hasCode(error, "ENOENT") || (error instanceof DomainError && error.kind === "notFound")) return;
      log("a container may be frozen", { container: id, error: messageOf(error) });
    }
  }

  async #tar(id: string, argv: readonly string[], patience: Patience): Promise<void> {
    const what = "archiving a checkpoint";
    const deadlineMs = patience.of(ARCHIVE_MS);
    const request = { owner: id, what, deadlineMs, argv, env: runtimeEnvironment };
    const { outcome, status, stderr } = await this.#ports.operations.run(request);
    if (outcome === "timedOut")
      throw new DomainError(
        "deadlineExceeded",
        `archiving the checkpoint of ${id} took longer than allowed: allow more`,
      );
    // 1: a file changed while it was read, as it does in a container that runs.
    if (outcome === "exited" && status <= 1) return;
    const said = stderr.toString().trim().split("\n").at(-1) ?? "";
    throw new DomainError("internal", `archiving the checkpoint of ${id} failed: ${outcome} ${status}: ${said}`);
  }

  /** By one rename: whoever sees the file sees all of it. Elsewhere it is copied first, under a name that a later daemon finds. */
  async #deliver(id: string, work: string, location: string, patience: Patience): Promise<void> {
    const archive = posix.join(work, "archive.tar");
    try {
      await this.#files(id, [{ op: "rename", from: archive, to: location }]);
      return;
    } catch (error) {
      if (!hasCode(error, "EXDEV")) throw error;
    }
    const partial = posix.join(posix.dirname(location), `.nacelle-${id}.partial`);
    const data = Buffer.from(partial);
    await this.#files(id, [{ op: "writeFile", path: posix.join(work, "partial"), mode: 0o600, data }]);
    try {
      // Removed first and made anew, so that a link of that name is not followed.
      const cp = ["/bin/cp", "--remove-destination", "--no-target-directory", archive, partial];
      await this.#tar(id, cp, patience);
      await this.#files(id, [{ op: "rename", from: partial, to: location }]);
    } catch (error) {
      await this.#files(id, [{ op: "unlink", path: partial }]);
      throw error;
    }
  }

  async #files(id: string, operations: readonly Operation[]): Promise<void> {
    const options = { owner: id, what: "writing a checkpoint", deadlineMs: FILES_MS };
    await this.#ports.operations.perform(operations, options);
  }
}

/** What a client allows for all steps together, or each step's own limit when it says nothing. */
class Patience {
  readonly #endMs: number;

  constructor(timeoutMs: number) {
    this.#endMs = timeoutMs === 0 ? Number.POSITIVE_INFINITY : performance.now() + timeoutMs;
  }

  /** Of the next step: at least a millisecond, which nothing is done in. */
  of(ownMs: number): number {
    const leftMs = this.#endMs - performance.now();
    return leftMs === Number.POSITIVE_INFINITY ? ownMs : Math.max(1, Math.round(leftMs));
  }
}
