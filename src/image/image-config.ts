import { invalidArgument } from "../lib/errors.ts";
import { isDigest } from "./reference.ts";
import { isObject, type Platform, parseDocument } from "./registry/manifest.ts";

/** The fields of an image's configuration that a container is made from. Absent ones are empty. */
export interface ImageConfig {
  readonly env: readonly string[];
  readonly entrypoint: readonly string[];
  readonly cmd: readonly string[];
  readonly workingDir: string;
  readonly user: string;
  readonly stopSignal: string;
  readonly labels: Readonly<Record<string, string>>;
  /** Container paths. */
  readonly volumes: readonly string[];
}

export interface ParsedConfig {
  readonly config: ImageConfig;
  readonly platform: Platform;
  /** Bottom first: digests of the inflated layers. */
  readonly diffIds: readonly string[];
}

const maxItems = 10_000;

/** Reads an image configuration (image-spec: config.md). Throws `invalidArgument` naming the field. */
export function parseImageConfig(bytes: Buffer): ParsedConfig {
  const document = parseDocument(bytes, "image configuration");
  const { config = {}, rootfs, os = "linux", architecture = "", variant = "" } = document;
  const section = config === null ? {} : config;
  if (!isObject(section)) throw invalidArgument("image configuration: config is not an object");
  if (!isObject(rootfs)) throw invalidArgument("image configuration: rootfs is missing");
  const diffIds = texts(rootfs["diff_ids"], "rootfs.diff_ids");
  if (!diffIds.every(isDigest)) throw invalidArgument("image configuration: rootfs.diff_ids holds an invalid digest");
  return {
    config: {
      env: texts(section["Env"], "Env"),
      entrypoint: texts(section["Entrypoint"], "Entrypoint"),
      cmd: texts(section["Cmd"], "Cmd"),
      workingDir: text(section["WorkingDir"], "WorkingDir"),
      user: text(section["User"], "User"),
      stopSignal: text(section["StopSignal"], "StopSignal"),
      labels: labels(section["Labels"]),
      volumes: Object.keys(object(section["Volumes"], "Volumes")).sort((a, b) => (a < b ? -1 : 1)),
    },
    platform: {
      os: text(os, "os"),
      architecture: text(architecture, "architecture"),
      variant: text(variant, "variant"),
    },
    diffIds,
  };
}

/**
 * Who runs in the image: a number when the user is one, a name otherwise. A number that is none of the kernel's is
 * refused by whoever resolves the user, never read as a name here, nor as 0.
 */
export function userOf(user: string): { readonly uid: number | undefined; readonly username: string } {
  const [name = ""] = user.split(":", 1);
  if (!/^[0-9]+$/.test(name)) return { uid: undefined, username: name };
  const uid = Number(name);
  return uid <= 0x7fffffff ? { uid, username: "" } : { uid: undefined, username: name };
}

function text(value: unknown, field: string): string {
  if (value === undefined || value === null) return "";
  if (typeof value !== "string" || value.includes("\0"))
    throw invalidArgument(`image configuration: ${field} is not a text`);
  return value;
}

function texts(value: unknown, field: string): readonly string[] {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value) || value.length > maxItems)
    throw invalidArgument(`image configuration: ${field} is not a list`);
  return value.map((item) => text(item, field));
}

function object(value: unknown, field: string): Readonly<Record<string, unknown>> {
  if (value === undefined || value === null) return {};
  if (!isObject(value)) throw invalidArgument(`image configuration: ${field} is not an object`);
  return value;
}

function labels(value: unknown): Readonly<Record<string, string>> {
  return Object.fromEntries(
    Object.entries(object(value, "Labels")).map(([key, label]) => [key, text(label, "Labels")]),
  );
}
