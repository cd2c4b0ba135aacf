/** What compiled C takes from elsewhere. */
import { execFileSync } from "node:child_process";
import { basename } from "node:path";

/** What an object takes from elsewhere, and what it gives. */
export interface Symbols {
  readonly object: string;
  readonly wants: ReadonlySet<string>;
  readonly gives: ReadonlySet<string>;
}

/** What a command says. */
export function run(file: string, ...args: string[]): string {
  return execFileSync(file, args, { encoding: "utf8", maxBuffer: 64 << 20 });
}

export function readSymbols(file: string): Symbols {
  const lines = run("nm", "-P", "-g", file).trimEnd().split("\n");
  const named = (kind: (letter: string) => boolean) =>
    new Set(lines.flatMap((line) => (kind(line.split(" ")[1] ?? "") ? [line.split(" ")[0] ?? ""] : [])));
  return { object: basename(file, ".o"), wants: named((k) => k === "U"), gives: named((k) => k !== "U") };
}

/** The objects that an entry point needs. */
export function closure(symbols: readonly Symbols[], entry: string): readonly Symbols[] {
  const found = new Set<Symbols>();
  const wanted = [entry];
  for (let name = wanted.pop(); name !== undefined; name = wanted.pop()) {
    const giver = symbols.find((one) => one.gives.has(name));
    if (giver === undefined || found.has(giver)) continue;
    found.add(giver);
    wanted.push(...giver.wants);
  }
  return [...found];
}

/** A fortified function by the name that the source gives it. */
function plain(name: string): string {
  return name.replace(/^__isoc\d+_/, "").replace(/^__(\w+)_chk$/, "$1");
}

/** "object: function" for each of these functions that one of the objects uses. */
export function uses(of: readonly Symbols[], functions: RegExp): string[] {
  return of
    .flatMap(({ object, wants }) =>
      [...wants].map(plain).flatMap((name) => (functions.test(name) ? [`${object}: ${name}`] : [])),
    )
    .sort();
}
