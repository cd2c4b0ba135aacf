import type { OciSeccomp, OciSyscall } from "../spec/types.ts";
import type { ArgumentRule } from "./argument.ts";
import { ALLOWED, CONDITIONAL, DENIED, type SyscallGroup } from "./table.ts";

export type SeccompArch = "x64" | "arm64";

const EPERM = 1;
const ENOSYS = 38;

/** The machine's own ABI first, then those that its kernel runs beside it. */
export const ARCHITECTURES: Readonly<Record<SeccompArch, readonly string[]>> = {
  x64: ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
  arm64: ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"],
};

/**
 * The profile of containers that ask for the runtime's default, made from the table for the capabilities that the container
 * really gets. What is not in the table answers ENOSYS, as an older kernel would, so that libraries fall back;
 * what is known and refused answers EPERM.
 */
export function defaultSeccompProfile(arch: SeccompArch, capabilities: ReadonlySet<string>): OciSeccomp {
  const here = (group: SyscallGroup) => group.arch === undefined || group.arch === arch;
  const holds = (group: SyscallGroup) => group.needs?.some((name) => capabilities.has(name)) ?? false;
  const conditional = CONDITIONAL.filter(here);
  const allowed = [...ALLOWED.filter(here), ...conditional.filter(holds)].flatMap((group) => group.names);
  const refused = conditional.filter((group) => !holds(group));
  const denied = [...DENIED, ...refused.filter(isPlain)].flatMap((group) => group.names);
  return {
    defaultAction: "SCMP_ACT_ERRNO",
    defaultErrnoRet: ENOSYS,
    architectures: ARCHITECTURES[arch],
    syscalls: [
      { names: allowed, action: "SCMP_ACT_ALLOW" },
      { names: denied, action: "SCMP_ACT_ERRNO", errnoRet: EPERM },
      ...refused.filter((group) => !isPlain(group)).flatMap(special),
    ],
  };
}

/** A group that one list of names can say. ENOSYS is the default already; runtimes refuse a rule that repeats it. */
function isPlain(group: SyscallGroup): boolean {
  return group.when === undefined && group.errno === undefined;
}

function special(group: SyscallGroup): readonly OciSyscall[] {
  const errnoRet = group.errno ?? EPERM;
  if (group.when !== undefined) return group.when.map((rule) => byArgument(group.names, rule, errnoRet));
  return errnoRet === ENOSYS ? [] : [{ names: group.names, action: "SCMP_ACT_ERRNO", errnoRet }];
}

function byArgument(names: readonly string[], { verdict, arg }: ArgumentRule, errnoRet: number): OciSyscall {
  if (verdict === "allow") return { names, action: "SCMP_ACT_ALLOW", args: [arg] };
  return { names, action: "SCMP_ACT_ERRNO", errnoRet, args: [arg] };
}
