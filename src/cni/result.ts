import { isIP, isIPv4 } from "node:net";
import { invalidArgument } from "../lib/errors.ts";
import { isJsonObject, type JsonObject, parseJsonObject } from "./json-object.ts";
import { type CniVersion, isAtLeast, isCniVersion } from "./network-config.ts";

/** More characters than the launcher hands over; a result is a few hundred. */
const MAX_RESULT_LENGTH = 128 * 1024;
const MAX_ENTRIES = 256;

/** An interface that a plugin made or found. */
export interface ResultInterface {
  readonly name: string;
  readonly mac: string;
  /** The network namespace it is in; empty for an interface of the host. */
  readonly sandbox: string;
}

/** DNS settings that a network recommends; all may be empty. */
export interface ResultDns {
  readonly nameservers: readonly string[];
  readonly domain: string;
  readonly search: readonly string[];
  readonly options: readonly string[];
}

/** What a network gave to a sandbox. */
export interface NetworkResult {
  /** The sandbox's addresses without prefix length, each once; the preferred family first. */
  readonly ips: readonly string[];
  readonly interfaces: readonly ResultInterface[];
  readonly dns: ResultDns;
  /** As the last plugin said it, in the version of the list: what CHECK and DEL are given as `prevResult`. */
  readonly raw: JsonObject;
}

/** Parses what a plugin printed for ADD; the result is put into `version`. Throws `invalidArgument`. */
export function parseResultText(text: string, version: CniVersion): JsonObject {
  const raw = parseJsonObject(text, MAX_RESULT_LENGTH, "the result");
  const said = raw.cniVersion ?? "";
  // A result without a version is in the version that was asked for.
  if (said !== "" && !isCniVersion(said)) throw invalidArgument(`cniVersion ${quote(said)} of the result is unknown`);
  const converted = said === "" || said === version ? { ...raw, cniVersion: version } : convertResult(raw, version);
  parseResult(converted, "eth0", "ipv4");
  return converted;
}

/** Reads a result of any supported version. Throws `invalidArgument` naming the field at fault. */
export function parseResult(raw: JsonObject, ifName: string, preferred: "ipv4" | "ipv6"): NetworkResult {
  const interfaces = objects(raw, "interfaces").map(parseInterface);
  const addresses = objects(raw, "ips").map((ip, index) => parseAddress(ip, `ips[${index}]`, interfaces));
  const wanted = (["named", "sandbox"] as const)
    .map((scope) => addresses.filter((address) => isIn(address.interface, scope, ifName)))
    .find((found) => found.length > 0);
  const unique = [...new Set((wanted ?? []).map(({ ip }) => ip))];
  const isPreferred = (ip: string) => isIPv4(ip) === (preferred === "ipv4");
  const ips = [...unique.filter(isPreferred), ...unique.filter((ip) => !isPreferred(ip))];
  return { ips, interfaces, dns: parseDns(raw.dns ?? {}), raw };
}

/** The same result in another version: 1.0.0 dropped the address family that earlier ones require. */
export function convertResult(raw: JsonObject, version: CniVersion): JsonObject {
  const ips = objects(raw, "ips").map((ip) => {
    const { version: _family, ...rest } = ip;
    if (isAtLeast(version, "1.0.0")) return rest;
    return { version: isIPv4(hostPart(ip.address)) ? "4" : "6", ...rest };
  });
  return { ...raw, cniVersion: version, ...("ips" in raw ? { ips } : {}) };
}

/** An address without an interface comes from a plugin that knows of one only: the sandbox's. */
function isIn(target: ResultInterface | undefined, scope: "named" | "sandbox", ifName: string): boolean {
  if (target === undefined) return true;
  return target.sandbox !== "" && (scope === "sandbox" || target.name === ifName);
}

function parseAddress(ip: JsonObject, where: string, interfaces: readonly ResultInterface[]) {
  const address = hostPart(ip.address);
  const prefix = typeof ip.address === "string" ? ip.address.slice(address.length) : "";
  const family = isIP(address);
  if (family === 0 || !/^\/\d{1,3}$/.test(prefix) || Number(prefix.slice(1)) > (family === 4 ? 32 : 128)) {
    throw invalidArgument(`${where}.address ${quote(ip.address)} of the result is not an address with a prefix length`);
  }
  const { interface: index } = ip;
  if (index === undefined || index === null || index === -1) return { ip: address.toLowerCase(), interface: undefined };
  const target = typeof index === "number" ? interfaces[index] : undefined;
  if (target === undefined)
    throw invalidArgument(`${where}.interface ${quote(index)} of the result names no interface`);
  return { ip: address.toLowerCase(), interface: target };
}

function parseInterface(value: JsonObject, index: number): ResultInterface {
  const where = `interfaces[${index}]`;
  return {
    name: text(value.name, `${where}.name`),
    mac: text(value.mac, `${where}.mac`),
    sandbox: text(value.sandbox, `${where}.sandbox`),
  };
}

function parseDns(dns: unknown): ResultDns {
  if (!isJsonObject(dns)) throw invalidArgument("dns of the result is not an object");
  return {
    nameservers: texts(dns.nameservers, "dns.nameservers"),
    domain: text(dns.domain, "dns.domain"),
    search: texts(dns.search, "dns.search"),
    options: texts(dns.options, "dns.options"),
  };
}

function objects(raw: JsonObject, key: string): readonly JsonObject[] {
  const value = raw[key] ?? [];
  if (!Array.isArray(value) || !value.every(isJsonObject)) {
    throw invalidArgument(`${key} of the result is not a list of objects`);
  }
  if (value.length > MAX_ENTRIES) throw invalidArgument(`${key} of the result has more than ${MAX_ENTRIES} entries`);
  return value;
}

function text(value: unknown, where: string): string {
  if (value === undefined || value === null) return "";
  if (typeof value === "string" && value.length <= 4096) return value;
  throw invalidArgument(`${where} of the result is not a string of at most 4096 characters`);
}

function texts(value: unknown, where: string): readonly string[] {
  if (value === undefined || value === null) return [];
  if (Array.isArray(value) && value.length <= MAX_ENTRIES) return value.map((entry: unknown) => text(entry, where));
  throw invalidArgument(`${where} of the result is not a list of at most ${MAX_ENTRIES} strings`);
}

function hostPart(address: unknown): string {
  return typeof address === "string" ? (address.split("/", 1)[0] ?? "") : "";
}

function quote(value: unknown): string {
  return JSON.stringify(value ?? null).slice(0, 80);
}
