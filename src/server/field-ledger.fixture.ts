import { type ServiceDefinition, status } from "@grpc/grpc-js";
import type { MethodDefinition } from "@grpc/proto-loader";
import { ignoredFields, keptFields } from "./convert/ignored-fields.ts";
import { loadServices } from "./descriptor.ts";
import { imageService } from "./image-service.ts";
import type { Service } from "./listen.ts";
import { type Field, type MessageTypes, messageTypes } from "./message-types.fixture.ts";
import { runtimeService } from "./runtime-service.ts";
import { FakeNode } from "./server.fixture.ts";

/** A request in which every field is asked for in the way that is served. A call that is not here must not be served. */
const requests: Readonly<Record<string, () => object>> = {
  Version: () => ({ version: "v1" }),
  Status: () => ({}),
  RuntimeConfig: () => ({}),
  UpdateRuntimeConfig: () => ({ runtimeConfig: { networkConfig: { podCidr: "10.0.0.0/8" } } }),
  RunPodSandbox: () => ({ config: sandboxConfig(), runtimeHandler: "crun" }),
  StopPodSandbox: () => ({ podSandboxId: "0001" }),
  RemovePodSandbox: () => ({ podSandboxId: "ffff" }),
  PodSandboxStatus: () => ({ podSandboxId: "0001" }),
  ListPodSandbox: () => ({ filter: { state: {}, labelSelector: {} } }),
  StreamPodSandboxes: () => ({ filter: { state: {} } }),
  CreateContainer: () => ({ podSandboxId: "0001", config: containerConfig(), sandboxConfig: sandboxConfig() }),
  StartContainer: () => ({ containerId: "0002" }),
  StopContainer: () => ({ containerId: "0002" }),
  RemoveContainer: () => ({ containerId: "ffff" }),
  ListContainers: () => ({ filter: { state: { state: "CONTAINER_RUNNING" } } }),
  StreamContainers: () => ({ filter: { state: { state: "CONTAINER_RUNNING" } } }),
  ContainerStatus: () => ({ containerId: "0002" }),
  ExecSync: () => ({ containerId: "0002", cmd: ["true"] }),
  Exec: () => ({ containerId: "0002", cmd: ["true"], stdout: true }),
  Attach: () => ({ containerId: "0002", stdout: true }),
  PortForward: () => ({ podSandboxId: "0001", port: [80] }),
  UpdateContainerResources: () => ({ containerId: "0002", linux: { hugepageLimits: [{ pageSize: "2MB", limit: 1 }] } }),
  CheckpointContainer: () => ({ containerId: "0002", location: "/a/b.tar" }),
  UpdatePodSandboxResources: () => ({ podSandboxId: "0001", overhead: {}, resources: {} }),
  ReopenContainerLog: () => ({ containerId: "0002" }),
  ContainerStats: () => ({ containerId: "0002" }),
  ListContainerStats: () => ({ filter: { labelSelector: { a: "b" } } }),
  StreamContainerStats: () => ({ filter: { id: "0002" } }),
  PodSandboxStats: () => ({ podSandboxId: "0001" }),
  ListPodSandboxStats: () => ({ filter: { labelSelector: { a: "b" } } }),
  StreamPodSandboxStats: () => ({ filter: { id: "0001" } }),
  ListMetricDescriptors: () => ({}),
  ListPodSandboxMetrics: () => ({}),
  StreamPodSandboxMetrics: () => ({}),
  ListImages: () => ({ filter: { image: { image: "busybox" } } }),
  StreamImages: () => ({ filter: { image: { image: "busybox" } } }),
  ImageStatus: () => ({ image: { image: "busybox" } }),
  PullImage: () => ({ image: { image: "busybox" }, auth: { username: "u" }, sandboxConfig: {} }),
  RemoveImage: () => ({ image: { image: "absent" } }),
  ImageFsInfo: () => ({}),
  GetContainerEvents: () => ({}),
};

export interface FieldEntry {
  /** The message's type. */
  readonly type: string;
  /** As in api.proto. */
  readonly field: string;
  readonly verdict: "honoured" | "refused" | "kept" | "ignored" | "unread";
  /** Why, or what of it is refused. */
  readonly note: string;
  /** Refused with what it is part of: another request may reach it. */
  readonly isInherited: boolean;
}

export interface CallEntry {
  readonly call: string;
  readonly request: string;
  /** Empty when it is served. */
  readonly refusal: string;
}

export interface FieldLedger {
  /** In the order of api.proto. */
  readonly calls: readonly CallEntry[];
  /** Every field of every request, in the order in which they are found. */
  readonly fields: readonly FieldEntry[];
  /** Entries of the tables that are wrong: read though ignored, unread though kept, of no field at all. */
  readonly stale: readonly string[];
}

/**
 * Calls every handler with requests that note what is read of them, then again with each field set by itself, to see
 * which are refused by name. So what it says of a field is what the code does with it.
 */
export async function fieldLedger(types: MessageTypes = messageTypes()): Promise<FieldLedger> {
  const node = new FakeNode();
  const { runtime, image } = loadServices();
  const observe = () => {};
  const services = [runtimeService(runtime, node.runtimePorts, observe), imageService(image, node.imagePort, observe)];
  const reads = new Set<string>();
  const calls: CallEntry[] = [];
  for (const name of Object.keys(requests))
    await served(services, name, (type, message) => recorded(types, type, message, reads));
  const fields = new Map<string, FieldEntry>();
  for (const service of services) {
    for (const [name, method] of Object.entries(service[0])) {
      const request = typeName(method as unknown as Method);
      const refusal = name in requests ? "" : await refusalOf(services, name);
      calls.push({ call: name, request, refusal });
      const walk = { types, services, name, reads, fields, refusal };
      await addFields(walk, request, []);
    }
  }
  return { calls, fields: [...fields.values()], stale: staleEntries(types, reads) };
}

interface Walk {
  readonly types: MessageTypes;
  readonly services: readonly Service[];
  readonly name: string;
  readonly reads: ReadonlySet<string>;
  readonly fields: Map<string, FieldEntry>;
  /** Why the whole request, or the field that the walk is in, is refused. */
  readonly refusal: string;
}

async function addFields(walk: Walk, type: string, path: readonly string[]): Promise<void> {
  for (const field of walk.types.get(type) ?? []) {
    const name = `${type}.${field.name}`;
    const known = walk.fields.get(name);
    if (known !== undefined && (!known.isInherited || walk.refusal !== "")) continue;
    const at = [...path, field.name];
    const refused = walk.refusal === "" ? await refusalsOf(walk, field, at) : [];
    const entry = entryOf(walk, type, field, refused);
    walk.fields.set(name, entry);
    if (field.message === "" || entry.verdict === "ignored") continue;
    const refusal = entry.verdict === "refused" ? entry.note : walk.refusal;
    await addFields({ ...walk, refusal }, field.message, at);
  }
}

function entryOf({ reads, refusal }: Walk, type: string, field: Field, refused: readonly Refusal[]): FieldEntry {
  const name = `${type}.${field.name}`;
  const base = { type, field: field.snake, isInherited: refusal !== "" };
  if (refusal !== "") return { ...base, verdict: "refused", note: refusal };
  const ignored = ignoredFields[name];
  if (ignored !== undefined) return { ...base, verdict: "ignored", note: ignored };
  if (!reads.has(name)) return { ...base, verdict: "unread", note: "" };
  const kept = keptFields[name];
  if (kept !== undefined) return { ...base, verdict: "kept", note: kept };
  const [first] = refused;
  if (first?.isWhole) return { ...base, verdict: "refused", note: first.text };
  const note = refused.map(({ value, text }) => `${value} is refused: ${text}`).join("; ");
  return { ...base, verdict: "honoured", note };
}

interface Refusal {
  readonly value: string;
  readonly text: string;
  /** Whatever the value. */
  readonly isWhole: boolean;
}

/** What the handler says to each value that the field can have, where that is that it does not do it. */
async function refusalsOf(walk: Walk, field: Field, path: readonly string[]): Promise<readonly Refusal[]> {
  const refusals: Refusal[] = [];
  for (const value of field.samples) {
    const request = requests[walk.name]?.() ?? {};
    setAt(request, path, value);
    const error = await served(walk.services, walk.name, (_, message) => message, request).catch((thrown) => thrown);
    if (error?.code !== status.UNIMPLEMENTED) continue;
    refusals.push({ value: `\`${String(value)}\``, text: error.details, isWhole: field.samples.length === 1 });
  }
  return refusals;
}

/** Sets a value deep in a message; repeated messages are entered at their first item. */
function setAt(message: object, [name = "", ...rest]: readonly string[], value: unknown): void {
  const fields = message as Record<string, unknown>;
  if (rest.length === 0) {
    fields[name] = value;
    return;
  }
  fields[name] ??= {};
  const inner = fields[name];
  setAt((Array.isArray(inner) ? inner[0] : inner) as object, rest, value);
}

function staleEntries(types: MessageTypes, reads: ReadonlySet<string>): string[] {
  const all = new Set([...types].flatMap(([type, fields]) => fields.map(({ name }) => `${type}.${name}`)));
  const absent = [ignoredFields, keptFields].flatMap(Object.keys).filter((name) => !all.has(name));
  const read = Object.keys(ignoredFields).filter((name) => reads.has(name));
  const unread = Object.keys(keptFields).filter((name) => all.has(name) && !reads.has(name));
  return [
    ...absent.map((name) => `${name}: no such field`),
    ...read.map((name) => `${name}: ignored, but read`),
    ...unread.map((name) => `${name}: kept, but not even read`),
  ];
}

/** The same message, which notes what is read of it. */
function recorded(types: MessageTypes, type: string, message: object, reads: Set<string>): object {
  const fields = new Map((types.get(type) ?? []).map((field) => [field.name, field]));
  return new Proxy(message, {
    get(target, key, receiver) {
      const value: unknown = Reflect.get(target, key, receiver);
      const field = fields.get(String(key));
      if (field === undefined) return value;
      reads.add(`${type}.${field.name}`);
      if (field.message === "" || value === null) return value;
      if (Array.isArray(value)) return value.map((item: object) => recorded(types, field.message, item, reads));
      return recorded(types, field.message, value as object, reads);
    },
  });
}

type Method = MethodDefinition<object, object>;

function typeName(method: Method): string {
  return (method.requestType.type as { readonly name: string }).name;
}

/** Why a call is not served. Throws when it is: then it needs a request above. */
async function refusalOf(services: readonly Service[], name: string): Promise<string> {
  const error = await served(services, name, (_, message) => message, {}).catch((thrown) => thrown);
  if (error?.code === status.UNIMPLEMENTED) return error.details;
  throw new Error(`${name} is served: give it a request in field-ledger.fixture.ts in which every field is asked for`);
}

/** Calls a handler with a request as it arrives; rejects when it answers with an error. */
async function served(
  services: readonly Service[],
  name: string,
  wrap: (type: string, message: object) => object,
  request: object = requests[name]?.() ?? {},
): Promise<void> {
  for (const service of services) {
    const method = (service[0] as ServiceDefinition)[name] as unknown as Method | undefined;
    if (method === undefined) continue;
    const message = method.requestDeserialize(method.requestSerialize(request));
    return await call(service, name, wrap(typeName(method), message));
  }
  throw new Error(`no call ${name}`);
}

/** Calls the handler as grpc-js does; a stream that has begun has answered. */
function call([definition, handlers]: Service, name: string, request: object): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const grpcCall = {
    ...{ request, on: () => {}, getDeadline: () => Number.POSITIVE_INFINITY },
    ...{
      sendMetadata: () => resolve(),
      write: (_message: object, done: () => void) => done(),
      end: resolve,
      emit: (_: string, e: unknown) => reject(e),
    },
  };
  const callback = (error: unknown) => (error === null ? resolve() : reject(error));
  const handler = handlers[name] as unknown as (call: object, done: unknown) => void;
  handler(grpcCall, definition[name]?.responseStream ? undefined : callback);
  return promise;
}

function sandboxConfig() {
  return {
    metadata: { name: "p", uid: "u", namespace: "n" },
    dnsConfig: { servers: ["10.0.0.1"] },
    portMappings: [{ hostPort: 80 }],
    linux: {
      resources: { hugepageLimits: [{ pageSize: "2MB", limit: 1 }] },
      overhead: {},
      securityContext: {
        ...{ namespaceOptions: namespaceOptions(), selinuxOptions: {}, seccomp: {}, apparmor: {} },
        ...{ runAsUser: { value: 1 }, runAsGroup: { value: 1 } },
      },
    },
  };
}

function containerConfig() {
  return {
    ...{ metadata: { name: "c" }, image: { image: "busybox" }, envs: [{ key: "A", value: Buffer.from("b") }] },
    mounts: [
      { containerPath: "/a", hostPath: "/b", uidMappings: idMappings(), gidMappings: idMappings() },
      { containerPath: "/i", image: { image: "busybox" }, readonly: true, mountOptions: ["noexec"] },
    ],
    devices: [{ containerPath: "/dev/a", hostPath: "/dev/b" }],
    linux: {
      resources: {},
      securityContext: {
        ...{ namespaceOptions: namespaceOptions(), selinuxOptions: {}, capabilities: {} },
        ...{ runAsUser: { value: 1 }, runAsGroup: { value: 1 } },
      },
    },
  };
}

function namespaceOptions() {
  return { pid: "CONTAINER", usernsOptions: { mode: "POD", uids: idMappings(), gids: idMappings() } };
}

function idMappings() {
  return [{ containerId: 0, hostId: 100_000, length: 65_536 }];
}
