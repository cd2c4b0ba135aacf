import type { Operations } from "../launcher/operations.ts";
import type { Monitors } from "./monitors.ts";
import type { Paths } from "./paths.ts";
import type { Pause } from "./pause.ts";
import type { Sandbox } from "./sandbox.ts";
import type { SandboxNetwork } from "./sandbox-network.ts";

export interface ReleasePorts {
  readonly operations: Operations;
  readonly monitors: Pick<Monitors, "end" | "unwatch">;
  readonly network: Pick<SandboxNetwork, "detach">;
  readonly pause: Pick<Pause, "stop">;
  readonly paths: Paths;
}

const DEADLINE_MS = 60_000;

/**
 * Frees everything that a sandbox holds in the kernel and in files, whatever of it was ever made: each part follows
 * from the id or the ledger, and freeing what is absent succeeds. A part that fails does not keep the others; the
 * errors are thrown together at the end, and the next call tries again what is left. Its containers must be gone.
 */
export async function releaseSandbox(ports: ReleasePorts, sandbox: Sandbox): Promise<void> {
  const { operations, monitors, network, pause, paths } = ports;
  const { id } = sandbox;
  const owner = { owner: id, deadlineMs: DEADLINE_MS };
  const errors: unknown[] = [];
  const attempt = (part: () => Promise<unknown>) => part().catch((error: unknown) => errors.push(error));

  await attempt(() => pause.stop(sandbox));
  // The namespace stays until its address is given back: most plugins take the interface from inside it.
  let isDetached = false;
  await attempt(async () => {
    isDetached = await network.detach(id);
  });
  if (isDetached) {
    await attempt(() =>
      operations.perform([{ op: "unpin", path: paths.netns(id) }], { ...owner, what: "freeing the network namespace" }),
    );
  }
  await attempt(() =>
    operations.perform(
      [
        { op: "unpin", path: paths.inSandbox(id, "ipc") },
        { op: "unpin", path: paths.inSandbox(id, "uts") },
        { op: "unpin", path: paths.inSandbox(id, "user") },
        { op: "unmount", target: paths.inSandbox(id, "shm") },
        { op: "unmount", target: paths.inSandbox(id, "pause-root") },
        { op: "rmtree", path: paths.sandbox(id) },
      ],
      { ...owner, what: "freeing the sandbox's files" },
    ),
  );
  monitors.unwatch(id);
  await attempt(() => monitors.end(id));
  throwTogether(errors);
}

function throwTogether(errors: readonly unknown[]): void {
  if (errors.length === 0) return;
  if (errors.length === 1) throw errors[0];
  const texts = errors.map((error) => (error instanceof Error ? error.message : String(error)));
  throw new AggregateError(errors, texts.join("; "));
}
