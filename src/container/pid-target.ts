import type { Operations } from "../launcher/operations.ts";
import { failedPrecondition, hasCode } from "../lib/errors.ts";
import type { ContainerConfig } from "../oci/config.ts";
import type { Process } from "../sandbox/process.ts";
import type { Container } from "./container.ts";

/**
 * A container whose PID namespace is joined must be one of the same sandbox's that runs: with that of any other a pod could
 * look at another pod's processes. Throws `failedPrecondition` otherwise.
 */
export function requireTarget(
  containers: { get(id: string): Container | undefined },
  sandboxId: string,
  { security }: Pick<ContainerConfig, "security">,
): void {
  const { pid, targetId } = security.namespaces;
  if (pid !== "target") return;
  const target = containers.get(targetId);
  const where = `config.linux.security_context.namespace_options.target_id ${JSON.stringify(targetId)}`;
  if (target?.sandboxId !== sandboxId) throw failedPrecondition(`${where} is no container of this sandbox`);
  if (target.state.phase === "running") return;
  throw failedPrecondition(`${where} is ${target.state.phase}: only a running container has processes to see`);
}

const LOOK_MS = 10_000;
const MAX_STAT = 4_096;

/**
 * A runtime joins the PID namespace of a process by its number. Throws `failedPrecondition` unless that number still is the
 * process's: then it was all the time, since nobody else gets it before the process is gone.
 */
export async function requireSameProcess(
  operations: Operations,
  owner: string,
  { pid, startTime }: Process,
): Promise<void> {
  const options = { owner, what: `looking at process ${pid}`, deadlineMs: LOOK_MS };
  const [stat] = await operations
    .perform([{ op: "readInRoot", root: "/proc", path: `${pid}/stat`, max: MAX_STAT }], options)
    .catch((error: unknown) => {
      if (hasCode(error, "ENOENT") || hasCode(error, "ESRCH")) return [];
      throw error;
    });
  if (startTimeOf(stat?.toString() ?? "") === startTime) return;
  throw failedPrecondition(`process ${pid}, whose PID namespace the container was to join, has ended`);
}

/** Field 22, counted behind the command's name, which may hold anything. */
function startTimeOf(stat: string): string | undefined {
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19];
}
