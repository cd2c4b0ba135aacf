import assert from "node:assert/strict";
import { it } from "node:test";
import type { ServiceDefinition } from "@grpc/grpc-js";
import { fromJSON, type MethodDefinition } from "@grpc/proto-loader";
import { ignoredFields, keptFields } from "./convert/ignored-fields.ts";
import { loadOptions, loadServices, readDescriptor } from "./descriptor.ts";
import { imageService } from "./image-service.ts";
import type { Service } from "./listen.ts";
import { runtimeService } from "./runtime-service.ts";
import { FakeNode } from "./server.fixture.ts";

/** A request in which every field is asked for in the way that is served. */
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
};

/** Checked for emptiness and refused otherwise, so that their insides are never reached. */
const refusedWhole = [
  "PodSandboxConfig.windows",
  "ContainerConfig.windows",
  "UpdateContainerResourcesRequest.windows",
  "ContainerConfig.CDIDevices",
];

it("every request field of every served call is read, or ignored for a stated reason", async () => {
  const node = new FakeNode();
  const { runtime, image } = loadServices();
  const reads = new Set<string>();
  const expected = new Set<string>();
  const services = [
    runtimeService(runtime, node.runtimePorts, () => {}),
    imageService(image, node.imagePort, () => {}),
  ];
  for (const [name, request] of Object.entries(requests)) {
    const [service, method] = find(services, name);
    const type = (method.requestType.type as TypeDescriptor).name;
    addFields(type, expected);
    await call(service, name, recorded(type, method.requestDeserialize(method.requestSerialize(request())), reads));
  }
  assert.deepEqual(expected.difference(reads), new Set(Object.keys(ignoredFields)));
  const kept = new Set(Object.keys(keptFields));
  assert.deepEqual(kept.difference(reads), new Set(), "kept, but not even read");
  assert.ok(expected.size > 100, `${expected.size} fields`);
  assert.equal(Object.keys(requests).length, 37);
});

interface TypeDescriptor {
  readonly name: string;
  readonly field?: readonly { readonly name: string; readonly type: string; readonly typeName: string }[];
}

const types = new Map(
  Object.entries(fromJSON(readDescriptor(), loadOptions)).flatMap(([name, entry]) =>
    "format" in entry ? [[name.replace("runtime.v1.", ""), entry.type as TypeDescriptor] as const] : [],
  ),
);

/** The message type of each field, "" for the rest; maps count as plain values. */
function fieldsOf(type: string): Map<string, string> {
  const fields = types.get(type)?.field ?? [];
  return new Map(
    fields.map(({ name, type: kind, typeName }) => {
      const target = typeName.split(".").pop() ?? "";
      return [name, kind === "TYPE_MESSAGE" && types.has(target) && !target.endsWith("Entry") ? target : ""];
    }),
  );
}

function addFields(type: string, into: Set<string>): void {
  for (const [field, target] of fieldsOf(type)) {
    const name = `${type}.${field}`;
    if (into.has(name)) continue;
    into.add(name);
    if (target !== "" && !(name in ignoredFields) && !refusedWhole.includes(name)) addFields(target, into);
  }
}

/** The same message, which notes what is read of it. */
function recorded(type: string, message: object, reads: Set<string>): object {
  const fields = fieldsOf(type);
  return new Proxy(message, {
    get(target, key, receiver) {
      const value: unknown = Reflect.get(target, key, receiver);
      const inner = fields.get(String(key));
      if (inner === undefined) return value;
      reads.add(`${type}.${String(key)}`);
      if (inner === "" || value === null) return value;
      if (Array.isArray(value)) return value.map((item: object) => recorded(inner, item, reads));
      return recorded(inner, value as object, reads);
    },
  });
}

type Method = MethodDefinition<object, object>;

function find(services: readonly Service[], name: string): [Service, Method] {
  for (const service of services) {
    const method = (service[0] as ServiceDefinition)[name];
    if (method !== undefined) return [service, method as unknown as Method];
  }
  throw new Error(`no call ${name}`);
}

/** Calls the handler as grpc-js does; rejects when it answers with an error. */
function call([definition, handlers]: Service, name: string, request: object): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const grpcCall = {
    ...{ request, on: () => {}, getDeadline: () => Number.POSITIVE_INFINITY },
    ...{
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
