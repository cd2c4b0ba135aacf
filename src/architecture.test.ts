import assert from "node:assert/strict";
import { globSync, readFileSync } from "node:fs";
import { dirname, join } from "node:path/posix";
import { describe, it } from "node:test";

/** Source text by path, relative to src. */
type Files = ReadonlyMap<string, string>;

const everything = ["*"];
const ground = ["lib", "sys", "state", "launcher"];
const parts = [...ground, "oci", "cni", "cgroup", "image", "monitor", "config"];

/** Who may import whom. A folder may always import itself; nothing else is allowed. "" stands for files in src itself. */
const layers: Readonly<Record<string, readonly string[]>> = {
  lib: [],
  sys: ["lib"],
  config: ["lib"],
  state: ["lib", "sys"],
  launcher: ["lib", "sys"],
  oci: ground,
  cni: ground,
  cgroup: ground,
  image: ground,
  monitor: ground,
  sandbox: parts,
  container: [...parts, "sandbox"],
  stats: [...parts, "sandbox", "container"],
  streaming: ["lib"],
  // oci: the values that a message is turned into are declared in oci/config.ts, and copies of them would drift.
  server: ["sandbox", "container", "stats", "image", "streaming", "lib", "oci"],
  cli: everything,
  "": everything,
};

/** Packages and modules that only some folders may use. */
const fenced: readonly { readonly module: RegExp; readonly folders: readonly string[]; readonly why: string }[] = [
  { module: /^@grpc\//, folders: ["server"], why: "gRPC ends at its edge" },
  { module: /^(node:)?child_process$/, folders: ["launcher", "cli"], why: "a fork blocks the event loop" },
  { module: /^prom-client$/, folders: ["cli"], why: "what is measured does not know who counts" },
  { module: /^node:sqlite$/, folders: ["state"], why: "one class owns the state" },
];

const maxFileLines = 300;
const maxTestLines = 500;
const maxFunctionLines = 60;
const maxDocumentedFunctionLines = 40;

function isSupport(file: string): boolean {
  return /\.(test|test-support|fixture|sim)\.ts$|-child\.ts$/.test(file);
}

function readSources(): Files {
  const root = import.meta.dirname;
  const paths = globSync("**/*.ts", { cwd: root }).filter((path) => !path.startsWith("server/generated/"));
  return new Map(paths.sort().map((path) => [path, readFileSync(join(root, path), "utf8")]));
}

function folderOf(file: string): string {
  return file.includes("/") ? file.slice(0, file.indexOf("/")) : "";
}

/** Comment lines and whole-line block comments are dropped; strings stay. */
function withoutComments(source: string): string {
  return source.replaceAll(/^[ \t]*\/\*[\s\S]*?\*\//gm, "").replaceAll(/(^|[ \t])\/\/.*$/gm, "");
}

/** Every module that a file names: static, type-only, re-exported, for its effects, dynamic, or as import("x").T. */
function importsOf(source: string): string[] {
  const text = withoutComments(source);
  const patterns = [
    /^(?:import|export|\})[^\n;"']*?\bfrom\s*["']([^"'\n]+)["']/gm,
    /^import\s*["']([^"'\n]+)["']/gm,
    /\b(?:import|require)\(\s*["'`]([^"'`\n]+)["'`]/g,
  ];
  return patterns.flatMap((pattern) => [...text.matchAll(pattern)].map(([, name = ""]) => name));
}

function resolveImport(from: string, name: string): string {
  return join(dirname(from), name);
}

function layerViolations(files: Files): string[] {
  return [...files]
    .filter(([file]) => !isSupport(file))
    .flatMap(([file, source]) => importsOf(source).flatMap((name) => violation(file, name) ?? []));
}

function violation(file: string, name: string): string | undefined {
  const folder = folderOf(file);
  if (name.startsWith(".")) {
    const target = resolveImport(file, name);
    const allowed = layers[folder];
    if (allowed === undefined) return `${file}: folder ${folder} is not in the table`;
    if (target === "../package.json" && folder === "cli") return undefined; // where the version is written
    if (target.startsWith("..")) return `${file} imports ${name}, outside src`;
    if (folder === folderOf(target) || allowed.includes("*") || allowed.includes(folderOf(target))) return undefined;
    return `${file} must not import ${target}`;
  }
  const fence = fenced.find(({ module, folders }) => module.test(name) && !folders.includes(folder));
  return fence === undefined ? undefined : `${file} must not import ${name}: ${fence.why}`;
}

/** Import cycles of any length, each once, as "a → b → a". */
function cycles(files: Files): string[] {
  const done = new Set<string>();
  const path: string[] = [];
  const found: string[] = [];
  const visit = (file: string): void => {
    const at = path.indexOf(file);
    if (at >= 0) found.push([...path.slice(at), file].join(" → "));
    if (at >= 0 || done.has(file)) return;
    path.push(file);
    for (const name of importsOf(files.get(file) ?? "")) if (name.startsWith(".")) visit(resolveImport(file, name));
    path.pop();
    done.add(file);
  };
  for (const file of files.keys()) visit(file);
  return found;
}

/**
 * Functions by their closing brace: Biome formats every file, so a body ends at the first line that starts with a
 * brace at the indentation of the line that opened it.
 */
function functionsOf(source: string): { readonly line: number; readonly length: number }[] {
  const lines = source.split("\n");
  const header = /(\)(: [^=]*)?|=>) \{$/;
  const statement = /^\s*(\} )?(if|for|while|switch|catch|else|try|do|class|interface)\b/;
  return lines.flatMap((line, index) => {
    if (!header.test(line) || statement.test(line)) return [];
    const indent = line.length - line.trimStart().length;
    const end = lines.findIndex((other, at) => at > index && other.startsWith(`${" ".repeat(indent)}}`));
    return end < 0 ? [] : [{ line: index + 1, length: end - index - 1 }];
  });
}

function sizeViolations(files: Files): string[] {
  return [...files].flatMap(([file, source]) => {
    const lines = source.trimEnd().split("\n").length;
    const limit = isSupport(file) ? maxTestLines : maxFileLines;
    const tooLong = lines > limit ? [`${file} has ${lines} lines, more than ${limit}`] : [];
    return isSupport(file) ? tooLong : [...tooLong, ...longFunctions(file, source)];
  });
}

function longFunctions(file: string, source: string): string[] {
  return functionsOf(source)
    .filter(({ length }) => length > maxFunctionLines)
    .map(({ line, length }) => `${file}:${line}: a function of ${length} lines, more than ${maxFunctionLines}`);
}

function anyViolations(files: Files): string[] {
  return [...files].flatMap(([file, source]) => {
    const code = withoutComments(source).replaceAll(/"(?:\\.|[^"\\\n])*"/g, '""');
    return /(?:[:<|&,(]|\bas|=>)\s*any\b(?!\s*[:(])/.test(code) ? [`${file} uses any`] : [];
  });
}

describe("the sources", () => {
  const files = readSources();

  it("are found at all", () => {
    assert.ok(
      files.has("lib/errors.ts") && files.has("state/store.ts"),
      "no sources: every other test here would pass",
    );
    const imports = [...files.values()].flatMap(importsOf);
    assert.ok(imports.length > files.size / 2, `only ${imports.length} imports in ${files.size} files`);
  });

  it("import downwards only", () => assert.deepEqual(layerViolations(files), []));

  it("import in no circle, type imports included", () => assert.deepEqual(cycles(files), []));

  it("keep their files and functions short", () => assert.deepEqual(sizeViolations(files), []));

  it("keep nine functions of ten within forty lines", () => {
    const production = [...files].filter(([file]) => !isSupport(file));
    const lengths = production.flatMap(([, source]) => functionsOf(source).map(({ length }) => length));
    assert.ok(lengths.length > 50, "too few functions were found");
    const long = lengths.filter((length) => length > maxDocumentedFunctionLines).length;
    assert.ok(long <= lengths.length / 10, `${long} of ${lengths.length} functions have more than forty lines`);
  });

  it("never use any", () => assert.deepEqual(anyViolations(files), []));
});

describe("these rules", () => {
  const planted = (text: string, file = "lib/planted.ts") => layerViolations(new Map([[file, text]]));

  it("see every way to import", () => {
    const ways = [
      'import { Store } from "../state/store.ts";',
      'import type { Store } from "../state/store.ts";',
      'import {\n  type Store,\n  other,\n} from "../state/store.ts";',
      'export { Store } from "../state/store.ts";',
      'export type * from "../state/store.ts";',
      'import "../state/store.ts";',
      'const late = await import("../state/store.ts");',
      'type Late = import("../state/store.ts").Store;',
      "const quoted = await import(`../state/store.ts`);",
    ];
    for (const way of ways) assert.deepEqual(planted(way), ["lib/planted.ts must not import state/store.ts"], way);
  });

  it("refuse sideways and upward imports, fenced modules, unknown folders and what lies outside", () => {
    assert.equal(planted('import "../cni/a.ts";', "oci/a.ts").length, 1);
    assert.equal(planted('import "../container/a.ts";', "sandbox/a.ts").length, 1);
    assert.equal(planted('import "../../state/a.ts";', "server/runtime/a.ts").length, 1);
    assert.equal(planted('import "./b.ts";', "utils/a.ts").length, 1);
    assert.equal(planted('import "../../conformance/a.ts";', "lib/a.ts").length, 1);
    assert.equal(planted('import { spawn } from "node:child_process";', "image/a.ts").length, 1);
    assert.equal(planted('import { status } from "@grpc/grpc-js";', "sandbox/a.ts").length, 1);
  });

  it("allow what the table allows, and tests more", () => {
    assert.deepEqual(planted('import "../oci/config.ts";', "server/a.ts"), []);
    assert.deepEqual(planted('import "./state/store.ts";', "main.ts"), []);
    assert.deepEqual(planted('import "../container/a.ts";', "lib/a.test.ts"), []);
    assert.deepEqual(planted('// import "../state/store.ts";\n/**\n * import("../state/a.ts")\n */'), []);
  });

  it("see cycles, also of types", () => {
    const a = 'import type { B } from "./b.ts";';
    const b = 'export { c } from "./c.ts";';
    const c = 'import { a } from "../lib/a.ts";';
    const files = new Map([
      ["lib/a.ts", a],
      ["lib/b.ts", b],
      ["lib/c.ts", c],
    ]);
    assert.deepEqual(cycles(files), ["lib/a.ts → lib/b.ts → lib/c.ts → lib/a.ts"]);
  });

  it("see long files and functions, however they are written", () => {
    const body = "  work();\n".repeat(61);
    const headers = [
      "function f() {",
      "async function f(a: A): Promise<B> {",
      "const f = (a: A): B => {",
      "export function f(\n  a: A,\n): B {",
    ];
    for (const header of headers) {
      assert.equal(sizeViolations(new Map([["lib/a.ts", `${header}\n${body}}\n`]])).length, 1, header);
    }
    assert.equal(
      sizeViolations(new Map([["lib/a.ts", `class A {\n  f(): void {\n${"    x();\n".repeat(61)}  }\n}\n`]])).length,
      1,
    );
    assert.equal(sizeViolations(new Map([["lib/a.ts", "x;\n".repeat(301)]])).length, 1);
    assert.equal(sizeViolations(new Map([["lib/a.test.ts", "x;\n".repeat(499)]])).length, 0);
  });

  it("see any, and only where it is a type", () => {
    const isAny = (text: string) => anyViolations(new Map([["lib/a.ts", text]])).length > 0;
    for (const text of ["let a: any;", "x as any", "Map<string, any>", "let a: any[] = []", "(a: string | any) => 1"]) {
      assert.ok(isAny(text), text);
    }
    for (const text of ['"a: any"', "// as any", "Promise.any(x)", "let any = 1;", "{ any: 1 }"])
      assert.ok(!isAny(text), text);
  });
});
