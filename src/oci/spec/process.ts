import { failedPrecondition, invalidArgument } from "../../lib/errors.ts";
import { buildCapabilities } from "./capabilities.ts";
import type { Section, SpecInput } from "./input.ts";
import { cleanPath } from "./path.ts";
import type { OciProcess, OciRlimit } from "./types.ts";

const DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** The process section: what runs, as whom, and with what it may do. */
export function buildProcess(input: SpecInput): Section<OciProcess> {
  const { config, user, host } = input;
  const capabilities = buildCapabilities(
    {
      add: config.security.addCapabilities,
      drop: config.security.dropCapabilities,
      ambient: config.security.ambientCapabilities ?? [],
      privileged: config.security.privileged,
    },
    host.capabilities,
  );
  const rlimits = buildRlimits(input);
  const oom = clampOomScoreAdj(config.resources?.oomScoreAdj ?? 0, host.minOomScoreAdj);
  const value: OciProcess = {
    terminal: config.tty,
    user: {
      uid: user.uid,
      gid: user.gid,
      ...(user.umask === undefined ? {} : { umask: user.umask }),
      additionalGids: user.supplementalGroups,
    },
    args: buildArgs(input),
    env: buildEnv(input),
    cwd: buildCwd(input),
    capabilities: capabilities.value,
    rlimits: rlimits.value,
    noNewPrivileges: config.security.noNewPrivs,
    oomScoreAdj: oom.value,
  };
  return { value, notices: [...capabilities.notices, ...rlimits.notices, ...oom.notices] };
}

/**
 * The CRI's rule, which is Docker's: a command replaces the image's entrypoint and with it the image's arguments;
 * arguments alone replace the image's arguments.
 */
function buildArgs({ config, image }: SpecInput): readonly string[] {
  const { command, args } = config;
  const full =
    command.length > 0 ? [...command, ...args] : [...image.entrypoint, ...(args.length > 0 ? args : image.cmd)];
  if (full.length === 0 || full[0] === "") {
    const where = `container ${quote(config.metadata.name)}: image ${quote(config.image.image)}`;
    throw invalidArgument(`${where} has no entrypoint or command, and the request gives none: set command or args`);
  }
  for (const [index, arg] of full.entries()) {
    refuseNul(arg, `argument ${index} of container ${quote(config.metadata.name)}`);
  }
  return full;
}

/** Image, then what every container is given, then the request: of one name the last value stands, in the first one's place. */
function buildEnv({ config, image, hostname }: SpecInput): readonly string[] {
  const entries = new Map<string, string>();
  const put = (entry: string) => entries.set(entry.split("=", 1)[0] ?? "", entry);
  for (const entry of image.env) if (!entry.startsWith("=") && !entry.includes("\0")) put(entry);
  if (hostname !== "") put(`HOSTNAME=${hostname}`);
  if (config.tty) put("TERM=xterm");
  config.envs.forEach(({ key, value }, index) => {
    const field = `envs[${index}]`;
    if (key === "" || key.includes("=")) throw invalidArgument(`${field}.key ${quote(key)} is empty or holds "="`);
    refuseNul(key, `${field}.key`);
    refuseNul(value, `${field}.value (${quote(key)})`);
    put(`${key}=${value}`);
  });
  return entries.has("PATH") ? [...entries.values()] : [DEFAULT_PATH, ...entries.values()];
}

/** Runtimes chdir before they have closed all of their own: through /proc/…/fd a working directory has led out to the host. */
function buildCwd({ config, image }: SpecInput): string {
  const asked = config.workingDir === "" ? image.workingDir : config.workingDir;
  refuseNul(asked, "working_dir");
  const cwd = cleanPath(asked);
  if (/^\/(proc|dev)(\/.*)?\/fd(\/|$)/.test(cwd)) {
    throw invalidArgument(`working_dir ${quote(asked)} lies in a process's open files: use a directory of the image`);
  }
  return cwd;
}

function buildRlimits({ policy, host }: SpecInput): Section<readonly OciRlimit[]> {
  const notices: string[] = [];
  const value = policy.ulimits.map(({ type, soft, hard }) => {
    const ceiling = host.rlimitCeilings[type] ?? hard;
    if (hard <= ceiling) return { type, soft, hard };
    notices.push(`${type} of ${hard} is lowered to ${ceiling}: raising it needs CAP_SYS_RESOURCE`);
    return { type, soft: Math.min(soft, ceiling), hard: ceiling };
  });
  return { value, notices };
}

/** What can be set of an oom_score_adj. Throws `invalidArgument` beyond the kernel's range. */
export function clampOomScoreAdj(asked: number, lowest: number): Section<number> {
  if (!Number.isInteger(asked) || asked < -1000 || asked > 1000) {
    throw invalidArgument(`resources.oom_score_adj ${asked} is out of range: -1000 to 1000`);
  }
  if (asked >= lowest) return { value: asked, notices: [] };
  return { value: lowest, notices: [`oom_score_adj below ${lowest} cannot be set here: it needs CAP_SYS_RESOURCE`] };
}

/** A privileged container needs a sandbox that was announced as privileged: what guards the sandbox has judged that. */
export function checkPrivileged({ config, sandbox }: SpecInput): void {
  if (!config.security.privileged || sandbox.privileged) return;
  const name = quote(config.metadata.name);
  throw failedPrecondition(`container ${name} is privileged, its sandbox is not: set privileged on the sandbox too`);
}

function refuseNul(text: string, field: string): void {
  if (text.includes("\0")) throw invalidArgument(`${field} holds a NUL character`);
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}
