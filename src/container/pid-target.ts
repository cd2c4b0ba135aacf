import { failedPrecondition } from "../lib/errors.ts";
import type { ContainerConfig } from "../oci/config.ts";
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
