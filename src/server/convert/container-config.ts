import type { ContainerConfig, ContainerSecurity, DeviceRequest } from "../../oci/config.ts";
import type { Capability__Output } from "../generated/runtime/v1/Capability.ts";
import type { ContainerConfig__Output } from "../generated/runtime/v1/ContainerConfig.ts";
import type { ContainerMetadata__Output } from "../generated/runtime/v1/ContainerMetadata.ts";
import type { Device__Output } from "../generated/runtime/v1/Device.ts";
import type { KeyValue__Output } from "../generated/runtime/v1/KeyValue.ts";
import type { LinuxContainerSecurityContext__Output } from "../generated/runtime/v1/LinuxContainerSecurityContext.ts";
import {
  absolutePath,
  choice,
  integer,
  line,
  list,
  map,
  name,
  notImplemented,
  path,
  quoted,
  refuse,
  required,
  text,
  withoutDotDot,
} from "./field.ts";
import { toImageSpec } from "./image-spec.ts";
import { toMount } from "./mount.ts";
import { toResources } from "./resources.ts";
import { toAppArmor, toGroups, toNamespaces, toSeccomp, toSelinux, toUserOrGroupId } from "./security.ts";
import { toSignalName } from "./signal.ts";

const UINT32_MAX = 0xffff_ffff;
const policies = { Merge: "merge", Strict: "strict" } as const;

/**
 * What a container should be, checked in every field.
 *
 * @throws DomainError `invalidArgument`, `unimplemented` or `failedPrecondition` that names the field below `field`
 */
export function toContainerConfig(field: string, message: ContainerConfig__Output | null): ContainerConfig {
  const config = required(field, message);
  const at = (name: string) => `${field}.${name}`;
  refuseWhatIsNotBuilt(field, config);
  return {
    metadata: toMetadata(at("metadata"), config.metadata),
    image: toImageSpec(at("image"), config.image),
    command: list(at("command"), config.command, text),
    args: list(at("args"), config.args, text),
    workingDir: config.workingDir === "" ? "" : absolutePath(at("working_dir"), config.workingDir),
    envs: list(at("envs"), config.envs, toEnv),
    mounts: list(at("mounts"), config.mounts, toMount),
    devices: list(at("devices"), config.devices, toDevice),
    labels: map(at("labels"), config.labels),
    annotations: map(at("annotations"), config.annotations),
    logPath: toLogPath(at("log_path"), config.logPath),
    stdin: config.stdin,
    stdinOnce: config.stdinOnce,
    tty: config.tty,
    resources: toResources(at("linux.resources"), config.linux?.resources ?? null),
    security: toSecurity(at("linux.security_context"), config.linux?.securityContext ?? null),
    stopSignal: toSignalName(at("stop_signal"), config.stopSignal),
  };
}

function refuseWhatIsNotBuilt(field: string, config: ContainerConfig__Output): void {
  if (config.windows !== null) throw notImplemented(`${field}.windows`, "Windows containers are");
  if (config.CDIDevices.length > 0) throw notImplemented(`${field}.CDI_devices`, "CDI devices are");
}

function toMetadata(field: string, message: ContainerMetadata__Output | null): ContainerConfig["metadata"] {
  const metadata = required(field, message);
  return {
    name: name(`${field}.name`, metadata.name),
    attempt: integer(`${field}.attempt`, metadata.attempt, 0, UINT32_MAX),
  };
}

function toEnv(field: string, { key, value }: KeyValue__Output): ContainerConfig["envs"][number] {
  if (key === "") throw refuse(`${field}.key`, "is empty");
  if (key.includes("=")) throw refuse(`${field}.key`, `contains "=": ${quoted(key)}`);
  return { key: text(`${field}.key`, key), value: text(`${field}.value`, toUtf8(`${field}.value`, value)) };
}

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** The runtimes read their configuration as JSON, which cannot hold other bytes. */
function toUtf8(field: string, bytes: Buffer): string {
  try {
    return utf8.decode(bytes);
  } catch {
    throw refuse(field, "is not valid UTF-8");
  }
}

function toDevice(field: string, device: Device__Output): DeviceRequest {
  if (!/^[rwm]*$/.test(device.permissions)) throw refuse(`${field}.permissions`, 'may hold only letters of "rwm"');
  return {
    containerPath: absolutePath(`${field}.container_path`, device.containerPath),
    hostPath: absolutePath(`${field}.host_path`, device.hostPath),
    permissions: device.permissions,
  };
}

function toLogPath(field: string, value: string): string {
  if (value.startsWith("/")) throw refuse(field, `must be relative to the sandbox's log directory: ${quoted(value)}`);
  return withoutDotDot(field, path(field, value));
}

function toSecurity(field: string, message: LinuxContainerSecurityContext__Output | null): ContainerSecurity {
  const at = (name: string) => `${field}.${name}`;
  if (message === null) return noSecurity(field);
  return {
    ...toCapabilities(at("capabilities"), message.capabilities),
    privileged: message.privileged,
    namespaces: toNamespaces(at("namespace_options"), message.namespaceOptions, "container"),
    selinux: toSelinux(at("selinux_options"), message.selinuxOptions),
    ...toAppArmor(at("apparmor"), message.apparmor, at("apparmor_profile"), message.apparmorProfile),
    ...toUser(field, message),
    readonlyRootfs: message.readonlyRootfs,
    supplementalGroups: toGroups(at("supplemental_groups"), message.supplementalGroups),
    supplementalGroupsPolicy: choice(at("supplemental_groups_policy"), message.supplementalGroupsPolicy, policies),
    noNewPrivs: message.noNewPrivs,
    maskedPaths: list(at("masked_paths"), message.maskedPaths, absolutePath),
    readonlyPaths: list(at("readonly_paths"), message.readonlyPaths, absolutePath),
    seccomp: toSeccomp(at("seccomp"), message.seccomp, at("seccomp_profile_path"), message.seccompProfilePath),
  };
}

type Capabilities = Pick<ContainerSecurity, "addCapabilities" | "dropCapabilities" | "ambientCapabilities">;

function toCapabilities(field: string, message: Capability__Output | null): Capabilities {
  const ambient = message?.addAmbientCapabilities ?? [];
  return {
    addCapabilities: list(`${field}.add_capabilities`, message?.addCapabilities ?? [], capability),
    dropCapabilities: list(`${field}.drop_capabilities`, message?.dropCapabilities ?? [], capability),
    ...(ambient.length === 0
      ? {}
      : { ambientCapabilities: list(`${field}.add_ambient_capabilities`, ambient, capability) }),
  };
}

type User = Pick<ContainerSecurity, "runAsUser" | "runAsGroup" | "runAsUsername">;

function toUser(field: string, message: LinuxContainerSecurityContext__Output): User {
  const runAsUser = toUserOrGroupId(`${field}.run_as_user`, message.runAsUser);
  const runAsGroup = toUserOrGroupId(`${field}.run_as_group`, message.runAsGroup);
  const runAsUsername = line(`${field}.run_as_username`, message.runAsUsername);
  // CRI: a group without a user must be an error, and a user is named in one way only.
  if (runAsGroup !== undefined && runAsUser === undefined && runAsUsername === "") {
    throw refuse(`${field}.run_as_group`, "is set without run_as_user or run_as_username");
  }
  if (runAsUser !== undefined && runAsUsername !== "") {
    throw refuse(`${field}.run_as_username`, "is set together with run_as_user");
  }
  return { runAsUser, runAsGroup, runAsUsername };
}

function capability(field: string, value: string): string {
  if (/^[A-Za-z][A-Za-z_]{1,63}$/.test(value)) return value;
  throw refuse(field, `is not a capability: ${quoted(value)}`);
}

function noSecurity(field: string): ContainerSecurity {
  return {
    addCapabilities: [],
    dropCapabilities: [],
    privileged: false,
    namespaces: toNamespaces(field, null, "container"),
    selinux: undefined,
    runAsUser: undefined,
    runAsGroup: undefined,
    runAsUsername: "",
    readonlyRootfs: false,
    supplementalGroups: [],
    supplementalGroupsPolicy: "merge",
    noNewPrivs: false,
    maskedPaths: [],
    readonlyPaths: [],
    seccomp: toSeccomp(field, null, field, ""),
  };
}
