import type { Operation, Operations } from "../launcher/operations.ts";
import { DomainError, hasCode, messageOf } from "../lib/errors.ts";
import type { Resources } from "../oci/config.ts";
import type { HostFacts, Section } from "../oci/spec/input.ts";
import { clampOomScoreAdj } from "../oci/spec/process.ts";
import { buildResources } from "../oci/spec/resources.ts";
import type { OciResources } from "../oci/spec/types.ts";
import type { Handlers } from "../sandbox/handlers.ts";
import { runtimeEnvironment, updateProcess } from "../sandbox/runtime-calls.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";

/** Limits that are written to files of the container's cgroup, because its runtime does not do it, or not right. */
export interface CgroupFiles {
  /** True where the runtime is not to be told of the CPU bandwidth: it is written by `before`. */
  writesBandwidth(sandbox: Sandbox): boolean;
  /** Before the runtime's own update. */
  before(sandbox: Sandbox, id: string, from: Resources, to: Resources): readonly Operation[];
  /** What tells systemd of the limits, after the runtime's own update; empty where it need not know. */
  tellCommand(sandbox: Sandbox, id: string, to: OciResources): readonly string[];
  /** After both. */
  after(sandbox: Sandbox, id: string, to: OciResources): readonly Operation[];
  /** A directory of the cgroup that lists all of its processes. */
  directory(sandbox: Sandbox, id: string): string;
}

export interface ApplyPorts {
  readonly operations: Operations;
  readonly handlers: Handlers;
  readonly host: HostFacts;
  readonly cgroupFiles: CgroupFiles;
  /** Tells each notice once. */
  readonly notice: (text: string) => void;
}

const WRITE_MS = 10_000;

/** The limits as this host can apply them. Throws `invalidArgument` for what it cannot, naming the field. */
export function checkedResources(resources: Resources, host: HostFacts): Section<OciResources> {
  const { value, notices } = buildResources(resources, [], 0, host);
  const oom = clampOomScoreAdj(resources.oomScoreAdj, host.minOomScoreAdj);
  return { value, notices: [...notices, ...oom.notices] };
}

export interface Change {
  readonly from: Resources;
  readonly to: Resources;
  /** False when a change was cut short or not taken back: some of what is in force may be neither `from` nor `to`. */
  readonly isFromInForce: boolean;
}

/**
 * Changes the limits of a created or running container, all of them again: doing it twice is the same as doing it once.
 * Some are changed when this throws.
 */
export async function applyResources(
  { operations, handlers, cgroupFiles, host, notice }: ApplyPorts,
  sandbox: Sandbox,
  id: string,
  change: Change,
): Promise<void> {
  const { from, to } = change;
  const { value, notices } = checkedResources(to, host);
  for (const text of notices) notice(text);
  await write(operations, id, cgroupFiles.before(sandbox, id, from, to));
  const { handler } = handlers.requireOf(sandbox);
  await updateProcess(operations, handler, id, forRuntime(value, cgroupFiles.writesBandwidth(sandbox)));
  await tellSystemd(operations, id, cgroupFiles.tellCommand(sandbox, id, value));
  const score = scoreChange(change, cgroupFiles.directory(sandbox, id), host.minOomScoreAdj);
  await write(operations, id, [...cgroupFiles.after(sandbox, id, value), ...score]);
}

/** Not told, it would take the limits back when it is reloaded. */
async function tellSystemd(operations: Operations, id: string, argv: readonly string[]): Promise<void> {
  if (argv.length === 0) return;
  const what = "systemctl set-property";
  const request = { owner: id, what, deadlineMs: WRITE_MS, argv, env: runtimeEnvironment };
  const { outcome, status, stderr } = await operations.run(request);
  if (outcome === "exited" && status === 0) return;
  const how = outcome === "exited" ? stderr.toString().trim().slice(0, 400) : outcome;
  throw new DomainError("internal", `${what} of ${id} failed: ${how}`);
}

/** What the kernel refuses is mostly more than the sandbox's own cgroup has. */
async function write(operations: Operations, id: string, writes: readonly Operation[]): Promise<void> {
  if (writes.length === 0) return;
  try {
    await operations.perform(writes, { owner: id, what: "limiting the container's cgroup", deadlineMs: WRITE_MS });
  } catch (error) {
    if (!["EINVAL", "ERANGE", "EBUSY", "ENOENT", "EACCES"].some((code) => hasCode(error, code))) throw error;
    const message = `${messageOf(error)}: the kernel refuses it; look at the limits of the sandbox's cgroup`;
    throw new DomainError("failedPrecondition", message, { cause: error, fields: { id } });
  }
}

function forRuntime({ cpu, memory, hugepageLimits, unified }: OciResources, withoutBandwidth: boolean) {
  const { quota: _quota, period: _period, ...others } = cpu ?? {};
  return {
    cpu: withoutBandwidth ? others : (cpu ?? {}),
    memory: memory ?? {},
    ...(hugepageLimits === undefined ? {} : { hugepageLimits }),
    ...(unified === undefined ? {} : { unified }),
  };
}

/** Only when it changes: processes may have raised their own. */
function scoreChange({ from, to, isFromInForce }: Change, path: string, lowest: number): readonly Operation[] {
  const isAsked = isFromInForce ? from.oomScoreAdj !== to.oomScoreAdj : to.oomScoreAdj !== 0;
  return isAsked ? [{ op: "setOomScoreAdj", path, value: clampOomScoreAdj(to.oomScoreAdj, lowest).value }] : [];
}
