import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFileSync } from "node:fs";
import { mkdtempDisposable } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { promisify } from "node:util";
import { fromJSON, loadSync, type PackageDefinition } from "@grpc/proto-loader";
import { loadOptions, loadServices, protoFolder, readDescriptor } from "./descriptor.ts";

const run = promisify(execFile);
const wireFile = join(protoFolder, "wire.json");
const protoFile = join(protoFolder, "api.proto");
const [module = "", version = ""] = readFileSync(join(protoFolder, "VERSION"), "utf8").trim().split(" ");

describe("api.proto", () => {
  const ours = facts(loadSync(protoFile, { keepCase: true }));

  it("has the names, numbers, types and labels of wire.json", () => {
    assert.deepEqual(ours, facts(fromJSON(JSON.parse(readFileSync(wireFile, "utf8")), { keepCase: true })));
  });

  it("has 43 calls in two services, and every message they need", () => {
    const calls = Object.keys(ours).filter((name) => name.startsWith("/runtime.v1."));
    assert.equal(calls.length, 43);
    assert.equal(calls.filter((name) => name.startsWith("/runtime.v1.ImageService/")).length, 6);
    assert.ok(Object.keys(ours).length > 200);
  });

  it("differs when a single field's number, type or label does", () => {
    for (const [from, to] of [
      ['"id": 11', '"id": 12'],
      ['"type": "bool"', '"type": "int32"'],
      ['"rule": "repeated",', ""],
    ] as const) {
      const planted = readFileSync(wireFile, "utf8").replace(from, to);
      assert.notDeepEqual(ours, facts(fromJSON(JSON.parse(planted), { keepCase: true })), from);
    }
  });

  it("reads the same in camel case from the descriptor that the server loads", () => {
    assert.deepEqual(facts(fromJSON(readDescriptor(), loadOptions)), facts(loadSync(protoFile, loadOptions)));
    const { runtime, image } = loadServices();
    assert.deepEqual([Object.keys(runtime).length, Object.keys(image).length], [37, 6]);
  });

  it("has the facts of the published Go module", async (t) => {
    const published = await download();
    if (typeof published === "string") return t.skip(published);
    const theirs = facts(loadSync(published.file, { keepCase: true }));
    assert.deepEqual(ours, theirs);
  });
});

it("the generated types are those that script/generate makes", async () => {
  const { stdout } = await run(join(protoFolder, "../../script/generate"), ["--check"], { timeout: 60_000 });
  assert.match(stdout, /are fresh/);
});

/** The published api.proto, or what is missing to get it. */
async function download(): Promise<{ file: string } | string> {
  await using dir = await mkdtempDisposable(join(tmpdir(), "cri-api-"));
  const options = { cwd: dir.path, timeout: 60_000, env: { ...process.env, GOTOOLCHAIN: "local" } };
  try {
    const { stdout } = await run("go", ["mod", "download", "-json", `${module}@${version}`], options);
    return { file: join(JSON.parse(stdout).Dir, "pkg/apis/runtime/v1/api.proto") };
  } catch (error) {
    const { code, stdout = "", message } = error as { code?: unknown; stdout?: string; message: string };
    if (code === "ENOENT") return "go is not installed: the published API was not compared";
    return `go could not download ${module}@${version}: ${stdout.slice(0, 500) || message}`;
  }
}

type Descriptor = { name: string; field?: Field[]; value?: { name: string; number: number }[] };
type Field = { name: string; number: number; label: string; type: string; typeName: string; options?: unknown };

/** All that is on the wire, by name: "/service/method", "message.field", "enum.value". */
function facts(definition: PackageDefinition): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  for (const [name, entry] of Object.entries(definition)) {
    if (!name.startsWith("runtime.v1.")) continue;
    if ("format" in entry) describeType(name, entry.type as Descriptor, found);
    else for (const method of Object.values(entry)) found[method.path] = signature(method);
  }
  return found;
}

function describeType(name: string, type: Descriptor, found: Record<string, unknown>): void {
  found[name] = type.name;
  for (const { name: field, number, label, type: kind, typeName } of type.field ?? []) {
    found[`${name}.${field}`] = [number, label, kind, typeName];
  }
  for (const value of type.value ?? []) found[`${name}.${value.name}`] = value.number;
}

type Method = Extract<PackageDefinition[string], { [name: string]: { path: string } }>[string];

function signature({ requestStream, responseStream, requestType, responseType }: Method): unknown[] {
  return [requestStream, responseStream, nameOf(requestType), nameOf(responseType)];
}

function nameOf(message: Method["requestType"]): string {
  return "type" in message ? (message.type as Descriptor).name : "";
}
