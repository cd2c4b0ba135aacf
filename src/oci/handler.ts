import { DomainError, messageOf } from "../lib/errors.ts";

/** One entry of `runtimes` in the configuration: an OCI runtime and how it is spoken to. */
export interface RuntimeHandler {
  readonly name: string;
  /** Absolute path of the executable. */
  readonly path: string;
  /** The runtime's own state directory. */
  readonly root: string;
  /** Further global arguments, before the verb. */
  readonly args: readonly string[];
  readonly pauseContainer: "auto" | "always";
  /** Names of annotations passed into the spec; a trailing "*" matches any ending. */
  readonly allowedAnnotations: readonly string[];
  readonly exit: "pid" | "wait";
  readonly signal: "pidfd" | "runtime";
  readonly stats: "cgroup" | "events";
  /** systemd makes the cgroups of what it is called for. */
  readonly systemdCgroup: boolean;
}

/** What a runtime said of itself, or what a trial showed; `undefined` is "not known". */
export interface HandlerFeatures {
  readonly ociVersionMin: string | undefined;
  readonly ociVersionMax: string | undefined;
  readonly recursiveReadOnlyMounts: boolean;
  readonly idmappedMounts: boolean;
  readonly userNamespaces: boolean;
  /** In a pod with a user namespace bind mounts keep their options, and the mounts below them are there (not so in crun 1.8). */
  readonly wholeBindsWithUsers: boolean;
  readonly seccomp: boolean;
  /** The runtime's version, for messages; empty when not given. */
  readonly version: string;
}

/** What to assume of a runtime without a `features` command until a trial shows more. */
export const UNKNOWN_FEATURES: HandlerFeatures = {
  ociVersionMin: undefined,
  ociVersionMax: undefined,
  recursiveReadOnlyMounts: false,
  idmappedMounts: false,
  userNamespaces: false,
  wholeBindsWithUsers: false,
  seccomp: true,
  version: "",
};

interface Logged {
  /** Absolute path of the runtime's JSON log. */
  readonly log: string;
}

function global(handler: RuntimeHandler, { log }: Logged): string[] {
  const cgroup = handler.systemdCgroup ? ["--systemd-cgroup"] : [];
  return [handler.path, "--root", handler.root, "--log", log, "--log-format", "json", ...cgroup, ...handler.args];
}

function optional(flag: string, value: string | undefined): readonly string[] {
  return value === undefined ? [] : [flag, value];
}

export interface CreateOptions extends Logged {
  readonly id: string;
  readonly bundle: string;
  readonly pidFile: string;
  /** Socket that receives the terminal; only with `process.terminal`. */
  readonly consoleSocket?: string;
}

/** The whole argv that creates a container. */
export function createArgs(handler: RuntimeHandler, options: CreateOptions): readonly string[] {
  const files = ["--bundle", options.bundle, "--pid-file", options.pidFile];
  const console = optional("--console-socket", options.consoleSocket);
  return [...global(handler, options), "create", ...files, ...console, options.id];
}

export interface VerbOptions extends Logged {
  readonly id: string;
}

/** The whole argv that runs a container and waits for its end, with its exit code for its own. */
export function runArgs(
  handler: RuntimeHandler,
  options: VerbOptions & { readonly bundle: string },
): readonly string[] {
  return [...global(handler, options), "run", "--bundle", options.bundle, options.id];
}

/** The whole argv that starts a created container. */
export function startArgs(handler: RuntimeHandler, options: VerbOptions): readonly string[] {
  return [...global(handler, options), "start", options.id];
}

export interface ExecOptions extends VerbOptions {
  /** File holding the OCI process object as JSON. */
  readonly processFile: string;
  readonly pidFile: string;
  /** Leave the process to the caller (a subreaper) instead of waiting for it. */
  readonly detach: boolean;
  readonly consoleSocket?: string;
  /** The monitor is to give it a cgroup of its own, if it can. */
  readonly ownCgroup?: boolean;
}

/** The whole argv that runs another process in a container. */
export function execArgs(handler: RuntimeHandler, options: ExecOptions): readonly string[] {
  const detach = options.detach ? ["--detach"] : [];
  const files = ["--process", options.processFile, "--pid-file", options.pidFile];
  const console = optional("--console-socket", options.consoleSocket);
  const cgroup = options.ownCgroup === true ? ["@cgroup"] : [];
  return [...global(handler, options), "exec", ...detach, ...files, ...console, ...cgroup, options.id];
}

/** The argv whose output `takesExecCgroup` reads. */
export function execHelpArgs(handler: RuntimeHandler): readonly string[] {
  return [handler.path, "exec", "--help"];
}

/** Whether a process can be run in a cgroup below the container's (runc since 1.1, crun since 1.8). */
export function takesExecCgroup(help: string): boolean {
  return /\s--cgroup[ =]/.test(help);
}

/** The whole argv that deletes a container, killing it when `force` is set. Deleting with force what is absent succeeds. */
export function deleteArgs(
  handler: RuntimeHandler,
  options: VerbOptions & { readonly force: boolean },
): readonly string[] {
  return [...global(handler, options), "delete", ...(options.force ? ["--force"] : []), options.id];
}

/** The whole argv that sends a signal (a number) to a container's first process, or to all of its processes. */
export function killArgs(
  handler: RuntimeHandler,
  options: VerbOptions & { readonly signal: number; readonly all?: boolean },
): readonly string[] {
  return [...global(handler, options), "kill", ...(options.all ? ["--all"] : []), options.id, String(options.signal)];
}

/** The whole argv that changes a container's limits; the OCI resources are read from standard input. */
export function updateArgs(handler: RuntimeHandler, options: VerbOptions): readonly string[] {
  return [...global(handler, options), "update", "--resources", "-", options.id];
}

export interface CheckpointOptions extends VerbOptions {
  /** Directory that receives criu's images; exists. */
  readonly images: string;
  /** Directory that receives criu's log; exists. */
  readonly work: string;
}

/** The whole argv that writes a running container's processes to a directory, and lets them run on. */
export function checkpointArgs(handler: RuntimeHandler, options: CheckpointOptions): readonly string[] {
  const places = ["--image-path", options.images, "--work-path", options.work];
  const flags = ["--leave-running", "--tcp-established", "--file-locks"];
  return [...global(handler, options), "checkpoint", ...places, ...flags, options.id];
}

/** The argv that fails when the runtime was built without checkpoints. */
export function checkpointHelpArgs(handler: RuntimeHandler): readonly string[] {
  return [handler.path, "checkpoint", "--help"];
}

/** The whole argv that prints a container's state. */
export function stateArgs(handler: RuntimeHandler, options: VerbOptions): readonly string[] {
  return [...global(handler, options), "state", options.id];
}

/** The argv whose output `parseFeatures` reads. */
export function featuresArgs(handler: RuntimeHandler): readonly string[] {
  return [handler.path, "features"];
}

type Json = Readonly<Record<string, unknown>>;

/** Reads the output of `features` (runc 1.1, crun 1.9 and later). Throws `failedPrecondition` for anything else. */
export function parseFeatures(handlerName: string, text: string): HandlerFeatures {
  const root = object(parseJson(handlerName, text));
  const linux = object(root.linux);
  const annotations = object(root.annotations);
  return {
    ociVersionMin: string(root.ociVersionMin),
    ociVersionMax: string(root.ociVersionMax),
    recursiveReadOnlyMounts: list(root.mountOptions).includes("rro"),
    idmappedMounts: object(object(linux.mountExtensions).idmap).enabled === true,
    userNamespaces: list(linux.namespaces).includes("user"),
    // None tells; a trial shows it.
    wholeBindsWithUsers: false,
    seccomp: object(linux.seccomp).enabled === true,
    version:
      string(annotations["org.opencontainers.runc.version"]) ?? string(annotations["run.oci.crun.version"]) ?? "",
  };
}

function parseJson(handlerName: string, text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const message = `runtime handler ${handlerName}: its features are not JSON: ${messageOf(error)}`;
    throw new DomainError("failedPrecondition", message, { cause: error });
  }
}

function object(value: unknown): Json {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : {};
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

function string(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}

/** All that we write into a spec exists since this version, and older runtimes refuse newer numbers ("unknown version specified"). */
const PREFERRED_VERSION = "1.0.2";

/** The `ociVersion` to write into specs for this handler: the oldest that says what we say, unless the handler wants newer. */
export function pickOciVersion(features: HandlerFeatures): string {
  const { ociVersionMin: min, ociVersionMax: max } = features;
  if (min !== undefined && compareVersions(min, PREFERRED_VERSION) > 0) return min;
  if (max !== undefined && compareVersions(max, PREFERRED_VERSION) < 0) return max;
  return PREFERRED_VERSION;
}

/** By the three numbers alone: "1.0.2-dev" takes what 1.0.2 takes. */
function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((text) =>
    text
      .replace(/[-+].*$/, "")
      .split(".")
      .map(Number),
  );
  for (let index = 0; index < 3; index++) {
    const difference = (left?.[index] ?? 0) - (right?.[index] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/**
 * What a runtime said went wrong, from its JSON log (at most the last 64 KiB of it are looked at): the last line of level
 * error or fatal, else the last that is not JSON at all, else the standard error given; never empty.
 */
export function runtimeError(log: string, stderr = ""): string {
  const lines = log
    .slice(-65_536)
    .split("\n")
    .map((line) => line.trim())
    .filter((line) => line !== "");
  const text = lines.findLast((line) => errorMessage(line) !== undefined);
  const plain = lines.findLast((line) => !line.startsWith("{")) ?? stderr.trim().split("\n").at(-1);
  const message = (text === undefined ? plain : errorMessage(text)) ?? "";
  return message === "" ? "the runtime gave no reason" : message.slice(0, 4096);
}

function errorMessage(line: string): string | undefined {
  try {
    const entry = object(JSON.parse(line));
    if (entry.level !== "error" && entry.level !== "fatal") return undefined;
    return string(entry.msg)?.trim();
  } catch {
    // A line cut short or not JSON: the caller looks further.
    return undefined;
  }
}
