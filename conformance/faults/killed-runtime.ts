import { mkdtemp, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";

/** The commands of an OCI runtime that are killed. */
export const VERBS = ["create", "start", "exec", "delete"] as const;

/**
 * When the runtime is killed: before it has done anything; once it runs; once its folder of the container has come
 * (delete: gone); once it has written its pid file; when all is done, before it has returned.
 */
export const MOMENTS = ["first", "running", "folder", "pidFile", "done"] as const;

export type Verb = (typeof VERBS)[number];
export type Moment = (typeof MOMENTS)[number];

/** Stands before an OCI runtime and kills it, once, when the test says. Disposing it deletes it. */
export class KilledRuntime implements AsyncDisposable {
  readonly path: string;
  readonly #folder: string;

  private constructor(folder: string, path: string) {
    this.#folder = folder;
    this.path = path;
  }

  static async make(real: string): Promise<KilledRuntime> {
    const folder = await mkdtemp(join(tmpdir(), "killed-"));
    const path = join(folder, basename(real));
    await writeFile(path, script(real, folder), { mode: 0o755 });
    return new KilledRuntime(folder, path);
  }

  /** The next of these commands is killed at that moment. */
  async order(verb: Verb, moment: Moment): Promise<void> {
    await writeFile(join(this.#folder, `order.${verb}`), `${moment}\n`);
  }

  /** Nothing is ordered that was not done. */
  async isDone(verb: Verb): Promise<boolean> {
    return await stat(join(this.#folder, `order.${verb}`)).then(
      () => false,
      () => true,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await rm(this.#folder, { recursive: true, force: true });
  }
}

/** What it started is a child of nobody then, as when a runtime is killed for memory. */
function script(real: string, folder: string): string {
  return `#!/bin/bash
verb= root= file= last=
for argument in "$@"; do
  case $argument in create|start|exec|delete) verb=\${verb:-$argument} ;; esac
  case $last in --root) root=$argument ;; --pid-file) file=$argument ;; esac
  last=$argument
done
order=${folder}/order.$verb
mv "$order" "$order.$$" 2>/dev/null || exec ${real} "$@"
read -r moment <"$order.$$"
rm "$order.$$"
[[ $moment == first ]] && kill -9 $$
${real} "$@" <&0 &
runtime=$!
alive() { [[ -d /proc/$runtime ]] && ! grep -q '^State:.Z' "/proc/$runtime/status" 2>/dev/null; }
case $moment in
  running) ;;
  folder)
    if [[ $verb == delete ]]; then while alive && [[ -e $root/$last ]]; do :; done
    else while alive && [[ ! -e $root/$last ]]; do :; done; fi ;;
  pidFile) while alive && [[ ! -s $file ]]; do :; done ;;
  done) wait $runtime ;;
esac
kill -9 $runtime 2>/dev/null
kill -9 $$
`;
}
