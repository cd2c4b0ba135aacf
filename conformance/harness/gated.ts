import { execFile } from "node:child_process";
import { type FileHandle, mkdir, mkdtemp, open, readFile, rename, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { promisify } from "node:util";
import { changedUntil } from "./event.ts";

const run = promisify(execFile);

/**
 * What a gated program does with a command: run the real one; wait for `release` before or after that, without having
 * printed anything; or fail or print garbage instead.
 */
export type GateMode = "pass" | "hold" | "late" | "fail" | "garbage";

/** One execution of a gated program. */
export interface GatedCall {
  readonly command: string;
  readonly pid: number;
  /** The network namespace, of a CNI plugin; the last argument, of a runtime: the container's id. */
  readonly subject: string;
}

/** What a failing plugin prints. */
export const pluginFailure = { code: 113, msg: "the pool is drained", details: "no address of 10.88.0.0/16 is free" };

const patienceMs = 60_000;
/** More than ever wait at one gate. */
const everybody = 1_000;

/** A shell script that stands before a CNI plugin or an OCI runtime and does with each command what the test says. Disposing it releases and deletes it. */
export class Gated implements AsyncDisposable {
  /** The folder that holds the script: a CNI `binDirs` entry. */
  readonly binDir: string;
  readonly path: string;
  readonly #folder: string;
  readonly #gate: FileHandle;

  private constructor(folder: string, path: string, gate: FileHandle) {
    this.#folder = folder;
    this.binDir = join(folder, "bin");
    this.path = path;
    this.#gate = gate;
  }

  /** A CNI plugin of that name, in front of the machine's own; its commands are ADD, DEL, …. */
  static async plugin(name: string): Promise<Gated> {
    return await Gated.#make(name, `/usr/lib/cni/${name}`, `command=$CNI_COMMAND subject=$CNI_NETNS`);
  }

  /** An OCI runtime; its commands are create, start, delete, …, each as its first argument that is no option. */
  static async runtime(real: string): Promise<Gated> {
    return await Gated.#make(basename(real), real, runtimeCommand);
  }

  static async #make(name: string, real: string, recognise: string): Promise<Gated> {
    const folder = await mkdtemp(join(tmpdir(), "gated-"));
    await mkdir(join(folder, "bin"));
    await run("mkfifo", [join(folder, "gate")]);
    await writeFile(join(folder, "calls"), "");
    await writeFile(join(folder, "held"), "");
    const path = join(folder, "bin", name);
    await writeFile(path, script(folder, real, recognise), { mode: 0o755 });
    return new Gated(folder, path, await open(join(folder, "gate"), "r+"));
  }

  /** From now on the command does this; forgets who was held before. */
  async set(command: string, mode: GateMode): Promise<void> {
    await writeFile(join(this.#folder, "held"), "");
    const path = join(this.#folder, `mode.${command}`);
    await writeFile(`${path}.new`, `${mode}\n`);
    await rename(`${path}.new`, path);
  }

  /** Resolves with the calls that wait at the gate once there are this many since the last `set`. */
  async held(count = 1): Promise<readonly GatedCall[]> {
    const path = join(this.#folder, "held");
    let calls: readonly GatedCall[] = [];
    const enough = async () => {
      calls = parse(await readFile(path, "utf8"));
      return calls.length >= count;
    };
    await changedUntil(path, enough, AbortSignal.timeout(patienceMs));
    return calls;
  }

  /** Lets as many go on as are named, those that come first; they may still be on their way to the gate. */
  async release(count = 1): Promise<void> {
    await this.#gate.write("\n".repeat(count));
  }

  /** All executions so far, in order. */
  async calls(command?: string): Promise<readonly GatedCall[]> {
    const all = parse(await readFile(join(this.#folder, "calls"), "utf8"));
    return command === undefined ? all : all.filter((call) => call.command === command);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release(everybody);
    await this.#gate.close();
    await rm(this.#folder, { recursive: true, force: true });
  }
}

function parse(text: string): GatedCall[] {
  const lines = text.split("\n").filter((line) => line !== "");
  return lines.map((line) => {
    const [command = "", pid = "", ...subject] = line.split(" ");
    return { command, pid: Number(pid), subject: subject.join(" ") };
  });
}

const runtimeCommand = `command=
for argument in "$@"; do
  case $argument in create|run|start|delete|kill|exec|state|features) command=$argument; break ;; esac
done
for subject in "$@"; do :; done`;

function script(folder: string, real: string, recognise: string): string {
  return `#!/bin/sh
${recognise}
echo "$command $$ $subject" >>${folder}/calls
mode=pass
if [ -e ${folder}/mode.$command ]; then read -r mode <${folder}/mode.$command; fi
wait_at_gate() {
  echo "$command $$ $subject" >>${folder}/held
  read -r _ <${folder}/gate
}
case $mode in
  hold) wait_at_gate ;;
  late)
    ${real} "$@" >${folder}/printed.$$ || exit
    wait_at_gate
    exec cat ${folder}/printed.$$ ;;
  fail)
    echo '${JSON.stringify({ cniVersion: "1.0.0", ...pluginFailure })}'
    exit 1 ;;
  garbage)
    echo 'This is {no JSON'
    exit 0 ;;
esac
exec ${real} "$@"
`;
}
