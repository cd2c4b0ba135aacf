import { containerAnnotations } from "./annotations.ts";
import { buildAppArmor } from "./apparmor.ts";
import { buildDevices } from "./devices.ts";
import type { SpecInput } from "./input.ts";
import { buildMounts } from "./mounts.ts";
import { buildNamespaces } from "./namespaces.ts";
import { buildProcess, checkPrivileged } from "./process.ts";
import { buildResources } from "./resources.ts";
import { scopeAnnotations } from "./scope.ts";
import { buildSeccomp } from "./seccomp.ts";
import { buildSelinux } from "./selinux.ts";
import { specSysctls } from "./sysctls.ts";
import type { OciLinux, OciSpec } from "./types.ts";

const POWER_METERS = "/sys/devices/virtual/powercap";

export interface BuiltSpec {
  readonly spec: OciSpec;
  /** What was asked for and is not so on this host, in sentences that are the same for every container: worth one log line each. */
  readonly notices: readonly string[];
}

/**
 * The OCI spec of a container. A function of its argument alone: no clock, no file, no environment.
 * Throws `DomainError` naming the field for what is malformed, unknown, or cannot be honoured here.
 */
export function buildSpec(input: SpecInput): BuiltSpec {
  checkPrivileged(input);
  const { config, host } = input;
  const { privileged, readonlyRootfs } = config.security;
  const process = buildProcess(input);
  const confinement = buildConfinement(input);
  const mounts = buildMounts(input);
  const devices = buildDevices(input);
  const resources = buildResources(config.resources, devices.rules, input.policy.pidsLimit, host);
  const given = process.value.capabilities.bounding;
  const seccomp = buildSeccomp(config.security.seccomp, privileged, given, host, input.localhostProfile);
  const linux: OciLinux = {
    namespaces: buildNamespaces(input.namespaces, host.cgroupMode === "v2" && !privileged),
    cgroupsPath: input.cgroupsPath,
    resources: resources.value,
    devices: devices.nodes,
    sysctl: specSysctls(input.sysctls, input.namespaces),
    ...(seccomp.value === undefined ? {} : { seccomp: seccomp.value }),
    ...(mounts.value.rootfsPropagation === undefined ? {} : { rootfsPropagation: mounts.value.rootfsPropagation }),
    ...confinement.linux,
    maskedPaths: privileged ? [] : maskedPaths(config.security.maskedPaths),
    readonlyPaths: privileged ? [] : config.security.readonlyPaths,
  };
  const sections = [confinement, process, mounts, resources, seccomp];
  return {
    spec: {
      ociVersion: input.runtime.ociVersion,
      process: { ...process.value, ...confinement.process },
      root: { path: input.rootfs, readonly: readonlyRootfs },
      ...(input.namespaces.uts === "new" ? { hostname: input.hostname } : {}),
      mounts: [...mounts.value.mounts, ...devices.mounts],
      annotations: { ...containerAnnotations(input), ...scopeAnnotations(input.cgroupsPath, resources.value) },
      linux,
    },
    notices: sections.flatMap((section) => section.notices),
  };
}

/**
 * As asked. A kubelet before 1.29 does not name the power meters, whose readings give away what other processes compute
 * (GHSA-7ww5-4wqc-m92c); an empty list is a request to mask nothing.
 */
function maskedPaths(asked: readonly string[]): readonly string[] {
  return asked.length === 0 || asked.includes(POWER_METERS) ? asked : [...asked, POWER_METERS];
}

/** What the kernel's security modules are told: the parts of the process and of the rest of the spec. */
function buildConfinement(input: SpecInput) {
  const { config, sandbox, host, loadedProfiles } = input;
  const { privileged } = config.security;
  const apparmor = buildAppArmor(config.security.apparmor, privileged, host, loadedProfiles);
  // What a sandbox asks for is meant for its containers: there is nothing else in it.
  const selinux = buildSelinux(config.security.selinux ?? sandbox.selinux, privileged, host);
  return {
    process: {
      ...(apparmor.value === undefined ? {} : { apparmorProfile: apparmor.value }),
      ...(selinux.value === undefined ? {} : { selinuxLabel: selinux.value.process }),
    },
    linux: selinux.value === undefined ? {} : { mountLabel: selinux.value.mount },
    notices: [...apparmor.notices, ...selinux.notices],
  };
}
