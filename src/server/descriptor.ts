import { readFileSync } from "node:fs";
import { join } from "node:path";
import { loadPackageDefinition } from "@grpc/grpc-js";
import { fromJSON, type Options } from "@grpc/proto-loader";
import type { ProtoGrpcType } from "./generated/api.ts";
import type { ImageServiceDefinition } from "./generated/runtime/v1/ImageService.ts";
import type { RuntimeServiceDefinition } from "./generated/runtime/v1/RuntimeService.ts";

type Json = Parameters<typeof fromJSON>[0];

/** How messages look in JavaScript; `script/generate` makes the types of exactly these choices. */
export const loadOptions = {
  longs: String,
  enums: String,
  defaults: true,
  oneofs: true,
} as const satisfies Options;

export const protoFolder = join(import.meta.dirname, "../../proto/cri-api");

/** The client and service classes of the CRI. Reads one JSON file: parsing api.proto would take longer. */
export function loadCri(): ProtoGrpcType["runtime"]["v1"] {
  const definition = fromJSON(readDescriptor(), loadOptions);
  // The generated types describe what this very file holds; wire.test.ts compares the two.
  return (loadPackageDefinition(definition) as unknown as ProtoGrpcType).runtime.v1;
}

/** Both services, as the server registers them. */
export function loadServices(): {
  readonly runtime: RuntimeServiceDefinition;
  readonly image: ImageServiceDefinition;
} {
  const { RuntimeService, ImageService } = loadCri();
  return { runtime: RuntimeService.service, image: ImageService.service };
}

/** The descriptor with field names in camel case, as the parser of .proto files gives them. */
export function readDescriptor(): Json {
  return camelCased(JSON.parse(readFileSync(join(protoFolder, "wire.json"), "utf8")));
}

function camelCased<T extends { nested?: object; fields?: object }>(node: T): T {
  const copy: Record<string, unknown> = { ...node };
  if (node.fields !== undefined) copy.fields = mapEntries(node.fields, (name, field) => [camelCase(name), field]);
  if (node.nested !== undefined) copy.nested = mapEntries(node.nested, (name, child) => [name, camelCased(child)]);
  return copy as T;
}

function mapEntries(object: object, map: (key: string, value: object) => [string, unknown]): object {
  return Object.fromEntries(Object.entries(object).map(([key, value]) => map(key, value)));
}

function camelCase(name: string): string {
  return name.charAt(0) + name.slice(1).replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase());
}
