import { execFile } from "node:child_process";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
/** The first folder in which nacelle looks for programs. */
const programs = "/usr/local/sbin";

/** What a checkpoint comes to: `fail` and `hang` leave the container frozen, as a criu that was killed does. */
export type Mode = "work" | "fail" | "hang";

/**
 * Stands in for criu, which works on few kernels, and for a runtime that knows it: crun, with a checkpoint that writes one
 * file. Only inside `harness/isolate`. Disposing it deletes it.
 */
export class FakeCriu implements AsyncDisposable {
  /** Of the runtime. */
  readonly path: string;
  readonly #folder: string;

  private constructor(folder: string) {
    this.#folder = folder;
    this.path = join(folder, "runtime");
  }

  static async make(): Promise<FakeCriu> {
    const fake = new FakeCriu(await mkdtemp(join(tmpdir(), "criu-")));
    await run("mount", ["-t", "tmpfs", "-o", "mode=755", "programs", programs]);
    await script(fake.path, runtime(fake.#folder));
    await fake.does("work");
    await fake.checks(0, "Looks good.");
    return fake;
  }

  /** What the next checkpoints come to. */
  async does(mode: Mode): Promise<void> {
    await rm(this.begun, { force: true });
    await writeFile(join(this.#folder, "mode"), mode);
  }

  /** How `criu check` ends from now on. */
  async checks(code: number, says: string): Promise<void> {
    await script(join(programs, "criu"), `#!/bin/sh\necho "${says}"\nexit ${code}\n`);
  }

  /** What tar comes to from now on, as a shell command. */
  async archives(command: string): Promise<void> {
    await script(join(programs, "tar"), `#!/bin/sh\n${command}\n`);
  }

  /** Is there once a checkpoint that hangs has begun. */
  get begun(): string {
    return join(this.#folder, "begun");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await run("umount", ["--lazy", programs]);
    await rm(this.#folder, { recursive: true, force: true });
  }
}

async function script(path: string, text: string): Promise<void> {
  await writeFile(path, text);
  await chmod(path, 0o755);
}

function runtime(folder: string): string {
  return `#!/bin/sh
for word; do
  case $previous in --image-path) images=$word ;; esac
  case $word in checkpoint) verb=checkpoint ;; --help) exit 0 ;; esac
  previous=$word
done
[ "$verb" = checkpoint ] || exec /usr/bin/crun "$@"
case $(cat ${folder}/mode) in
  work) echo pages >"$images/pages-1.img"; exit 0 ;;
esac
echo FROZEN >/sys/fs/cgroup/freezer/nacelle-conformance/$previous/freezer.state
echo half >"$images/pages-1.img"
case $(cat ${folder}/mode) in
  hang) : >${folder}/begun; exec sleep 1000 ;;
esac
echo '{"level":"error","msg":"criu failed: type DUMP errno 1"}' >&2
exit 1
`;
}
