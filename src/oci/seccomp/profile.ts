import { invalidArgument, messageOf } from "../../lib/errors.ts";
import type { OciSeccomp, OciSyscall, OciSyscallArg, RawJson, SeccompValue } from "../spec/types.ts";
import { ARCHITECTURES, type SeccompArch } from "./default-profile.ts";

declare global {
  /** In the language since 2025 (source text of numbers), not yet in the compiler's library. */
  interface JSON {
    rawJSON(text: string): RawJson;
    isRawJSON(value: unknown): value is RawJson;
    parse(
      text: string,
      reviver: (key: string, value: unknown, context: { readonly source?: string }) => unknown,
    ): unknown;
  }
}

/** What decides which parts of a profile in Docker's format apply. */
export interface ProfileContext {
  readonly arch: SeccompArch;
  /** What the container gets. */
  readonly capabilities: ReadonlySet<string>;
  /** [major, minor] of the kernel. */
  readonly kernel: readonly [number, number];
}

/** Longest profile that is read, in bytes of UTF-8. */
export const MAX_PROFILE_BYTES = 1 << 20;

const ACTIONS: ReadonlySet<string> = new Set(
  ["KILL", "KILL_PROCESS", "KILL_THREAD", "TRAP", "ERRNO", "TRACE", "ALLOW", "LOG"].map((name) => `SCMP_ACT_${name}`),
);
const OPERATORS: ReadonlySet<string> = new Set(
  ["NE", "LT", "LE", "EQ", "GE", "GT", "MASKED_EQ"].map((name) => `SCMP_CMP_${name}`),
);
const FLAGS: ReadonlySet<string> = new Set(["TSYNC", "LOG", "SPEC_ALLOW"].map((name) => `SECCOMP_FILTER_FLAG_${name}`));
const WITH_ERRNO: ReadonlySet<string> = new Set(["SCMP_ACT_ERRNO", "SCMP_ACT_TRACE"]);
const DOCKER_ARCH: Readonly<Record<SeccompArch, string>> = { x64: "amd64", arm64: "arm64" };
const MAX_ENTRIES = 4096;

type Json = Readonly<Record<string, unknown>>;

/**
 * Reads a seccomp profile in the OCI format or in Docker's (archMap, includes, excludes), as it applies to one container.
 * Throws `invalidArgument` naming `path` and the place in the file for whatever a runtime could not honour.
 */
export function parseSeccompProfile(path: string, text: string, context: ProfileContext): OciSeccomp {
  return new Reader(path, context).read(text);
}

class Reader {
  readonly #path: string;
  readonly #context: ProfileContext;

  constructor(path: string, context: ProfileContext) {
    this.#path = path;
    this.#context = context;
  }

  read(text: string): OciSeccomp {
    const root = this.#object(this.#parse(text), "the profile");
    this.#refuseListener(root);
    const defaultAction = this.#action(root.defaultAction, "defaultAction");
    const errno = this.#errno(root.defaultErrnoRet, defaultAction, "defaultErrnoRet");
    const flags = this.#strings(root.flags, "flags");
    const unknown = flags.find((flag) => !FLAGS.has(flag));
    if (unknown !== undefined) throw this.#bad("flags", `${quote(unknown)} is not a flag that we pass on`);
    const syscalls = this.#list(root.syscalls, "syscalls").flatMap((value, index) =>
      this.#syscall(value, `syscalls[${index}]`),
    );
    return {
      defaultAction,
      ...(errno === undefined ? {} : { defaultErrnoRet: errno }),
      architectures: this.#architectures(root),
      ...(flags.length === 0 ? {} : { flags }),
      syscalls,
    };
  }

  #parse(text: string): unknown {
    if (Buffer.byteLength(text) > MAX_PROFILE_BYTES) {
      throw invalidArgument(`seccomp profile ${quote(this.#path)} is longer than ${MAX_PROFILE_BYTES} bytes`);
    }
    try {
      return JSON.parse(text, keepDigits);
    } catch (error) {
      throw this.#bad("the file", `it is not JSON: ${messageOf(error)}`);
    }
  }

  #refuseListener(root: Json): void {
    if (root.listenerPath === undefined || root.listenerPath === "") return;
    throw this.#bad("listenerPath", "handing system calls to a listener is not supported");
  }

  #architectures(root: Json): readonly string[] {
    const listed = this.#strings(root.architectures, "architectures");
    const map = this.#list(root.archMap, "archMap").map((value, index) => this.#object(value, `archMap[${index}]`));
    if (listed.length > 0 && map.length > 0) throw this.#bad("archMap", "give either archMap or architectures");
    const unknown = listed.find((name) => !/^SCMP_ARCH_[A-Z0-9_]{2,20}$/.test(name));
    if (unknown !== undefined) throw this.#bad("architectures", `${quote(unknown)} is not an architecture`);
    if (listed.length > 0) return listed;
    const [native = ""] = ARCHITECTURES[this.#context.arch];
    const entry = map.find((candidate) => candidate.architecture === native);
    if (entry === undefined) return map.length > 0 ? [native] : [];
    return [native, ...this.#strings(entry.subArchitectures, "archMap.subArchitectures")];
  }

  #syscall(value: unknown, place: string): readonly OciSyscall[] {
    const entry = this.#object(value, place);
    const names = this.#names(entry, place);
    const action = this.#action(entry.action, `${place}.action`);
    const errno = this.#errno(entry.errnoRet, action, `${place}.errnoRet`);
    const args = this.#list(entry.args, `${place}.args`).map((arg, index) => this.#arg(arg, `${place}.args[${index}]`));
    if (!this.#applies(entry, place)) return [];
    return [
      {
        names,
        action,
        ...(errno === undefined ? {} : { errnoRet: errno }),
        ...(args.length === 0 ? {} : { args }),
      },
    ];
  }

  #names(entry: Json, place: string): readonly string[] {
    const single = entry.name;
    const listed = this.#strings(entry.names, `${place}.names`);
    const names = typeof single === "string" && single !== "" ? [single, ...listed] : listed;
    if (names.length === 0) throw this.#bad(`${place}.names`, "no system call is named");
    const bad = names.find((name) => !/^[a-z_][a-z0-9_]{0,63}$/.test(name));
    if (bad !== undefined) throw this.#bad(`${place}.names`, `${quote(bad)} is not the name of a system call`);
    return names;
  }

  /** Docker's conditions: all of what `includes` names must be so, and nothing of what `excludes` names. */
  #applies(entry: Json, place: string): boolean {
    const { arch, capabilities, kernel } = this.#context;
    const includes = this.#filter(entry.includes, `${place}.includes`);
    const excludes = this.#filter(entry.excludes, `${place}.excludes`);
    const archName = DOCKER_ARCH[arch];
    if (includes.arches.length > 0 && !includes.arches.includes(archName)) return false;
    if (excludes.arches.includes(archName)) return false;
    if (!includes.caps.every((name) => capabilities.has(name))) return false;
    if (excludes.caps.some((name) => capabilities.has(name))) return false;
    if (includes.minKernel !== undefined && !atLeast(kernel, includes.minKernel)) return false;
    return excludes.minKernel === undefined || !atLeast(kernel, excludes.minKernel);
  }

  #filter(value: unknown, place: string) {
    const filter = value === undefined || value === null ? {} : this.#object(value, place);
    const minKernel = filter.minKernel;
    const version = typeof minKernel === "string" ? /^(\d{1,3})\.(\d{1,4})$/.exec(minKernel) : null;
    if (minKernel !== undefined && version === null) throw this.#bad(`${place}.minKernel`, 'it must be like "4.8"');
    return {
      arches: this.#strings(filter.arches, `${place}.arches`),
      caps: this.#strings(filter.caps, `${place}.caps`),
      minKernel: version === null ? undefined : ([Number(version[1]), Number(version[2])] as const),
    };
  }

  #arg(value: unknown, place: string): OciSyscallArg {
    const arg = this.#object(value, place);
    const index = arg.index;
    const op = arg.op;
    if (typeof index !== "number" || ![0, 1, 2, 3, 4, 5].includes(index)) throw this.#bad(`${place}.index`, "0 to 5");
    if (typeof op !== "string" || !OPERATORS.has(op)) throw this.#bad(`${place}.op`, "it is not an operator");
    const second = arg.valueTwo;
    return {
      index,
      value: this.#unsigned(arg.value ?? 0, `${place}.value`),
      ...(second === undefined ? {} : { valueTwo: this.#unsigned(second, `${place}.valueTwo`) }),
      op,
    };
  }

  #unsigned(value: unknown, place: string): SeccompValue {
    if (typeof value === "number" && Number.isSafeInteger(value) && value >= 0) return value;
    if (JSON.isRawJSON(value) && BigInt(value.rawJSON) < 1n << 64n) return value;
    throw this.#bad(place, "it must be a whole number of at most 64 bits, without sign");
  }

  #action(value: unknown, place: string): string {
    if (typeof value === "string" && ACTIONS.has(value)) return value;
    if (value === "SCMP_ACT_NOTIFY") throw this.#bad(place, "SCMP_ACT_NOTIFY needs a listener, which is not supported");
    throw this.#bad(place, `${quote(String(value ?? "nothing"))} is not a seccomp action like SCMP_ACT_ERRNO`);
  }

  #errno(value: unknown, action: string, place: string): number | undefined {
    if (value === undefined || value === null) return undefined;
    if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value > 4095) {
      throw this.#bad(place, "it must be an errno from 0 to 4095");
    }
    // Tools write 0 beside every action; runtimes refuse it anywhere but here.
    return WITH_ERRNO.has(action) ? value : undefined;
  }

  #list(value: unknown, place: string): readonly unknown[] {
    if (value === undefined || value === null) return [];
    if (!Array.isArray(value)) throw this.#bad(place, "it must be a list");
    if (value.length > MAX_ENTRIES) throw this.#bad(place, `it has more than ${MAX_ENTRIES} entries`);
    return value;
  }

  #strings(value: unknown, place: string): readonly string[] {
    return this.#list(value, place).map((item) => {
      if (typeof item === "string") return item;
      throw this.#bad(place, "it must hold strings only");
    });
  }

  #object(value: unknown, place: string): Json {
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return { ...value };
    throw this.#bad(place, "it must be an object");
  }

  #bad(place: string, problem: string): Error {
    return invalidArgument(`seccomp profile ${quote(this.#path)}: ${place}: ${problem}`);
  }
}

/** Numbers beyond 2^53 keep their digits: rounding a mask would open or close the wrong bits. */
function keepDigits(_key: string, value: unknown, context: { readonly source?: string }): unknown {
  const { source } = context;
  if (typeof value !== "number" || Number.isSafeInteger(value) || source === undefined) return value;
  return /^\d{1,20}$/.test(source) ? JSON.rawJSON(source) : value;
}

function atLeast(kernel: readonly [number, number], wanted: readonly [number, number]): boolean {
  return kernel[0] > wanted[0] || (kernel[0] === wanted[0] && kernel[1] >= wanted[1]);
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}
