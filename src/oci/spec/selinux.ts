import { invalidArgument } from "../../lib/errors.ts";
import type { SelinuxOptions } from "../config.ts";
import type { HostFacts, Section } from "./input.ts";

/** Of a container's processes, and of the file systems that its runtime makes for it. */
export interface SelinuxLabels {
  readonly process: string;
  readonly mount: string;
}

/**
 * The labels that are asked for, what is not said filled in as policies for containers name it. Where nothing is asked, for
 * the container or its sandbox, or the kernel has no SELinux, there are none. Throws `invalidArgument` naming the field.
 */
export function buildSelinux(
  asked: SelinuxOptions | undefined,
  privileged: boolean,
  host: Pick<HostFacts, "selinux">,
): Section<SelinuxLabels | undefined> {
  if (asked === undefined) return { value: undefined, notices: [] };
  if (!host.selinux) {
    const notice = "selinux_options are ignored: this kernel runs without SELinux";
    return { value: undefined, notices: [notice] };
  }
  const user = part(asked.user, "user", "system_u");
  const role = part(asked.role, "role", "system_r");
  const type = part(asked.type, "type", privileged ? "spc_t" : "container_t");
  const level = checkedLevel(asked.level);
  const mount = `${user}:object_r:container_file_t:${level}`;
  return { value: { process: `${user}:${role}:${type}:${level}`, mount }, notices: [] };
}

function part(value: string, name: string, otherwise: string): string {
  if (value === "") return otherwise;
  if (/^[A-Za-z][A-Za-z0-9_.-]*$/.test(value)) return value;
  throw invalidArgument(`selinux_options.${name} ${quote(value)} is not a name`);
}

/** "s0", "s0:c4,c5", "s0-s15:c0.c1023": one or two sensitivities, then categories and ranges of them. */
function checkedLevel(level: string): string {
  if (level === "") return "s0";
  const categories = /^s(\d+)(?:-s(\d+))?(?::(c\d+(?:[.,]c\d+)*))?$/.exec(level);
  const [, low = "0", high = low, list = ""] = categories ?? [];
  const numbers = [...list.matchAll(/\d+/g)].map(Number);
  const fits = Number(low) <= Number(high) && Number(high) < 16 && numbers.every((number) => number < 1024);
  if (categories !== null && fits) return level;
  throw invalidArgument(`selinux_options.level ${quote(level)} is not a level like "s0:c4,c5"`);
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}
