/**
 * Request fields that nothing reads, and why. With `keptFields` these are all that decide nothing; every other one is
 * honoured or refused by its name. field-ledger.test.ts fails when a field is neither read nor listed here, and
 * docs/CRI-FIELDS.md is made from both and from what the handlers do.
 */
export const ignoredFields: Readonly<Record<string, string>> = {
  "VersionRequest.version": "the answer is the same for every client",
  "PullImageRequest.sandboxConfig": "an image is the same for every sandbox",
  "UpdateContainerResourcesRequest.annotations": "no annotation decides over a limit",
  "ImageSpec.imageRef": "it belongs to answers",
};

const pause =
  "the pause process is root without capabilities, read-only and under the default profile, whatever is asked";
const parent =
  "shown by PodSandboxStatus; a client sets it on the cgroup parent that it names, and nothing is set twice";

/** Request fields that are checked and kept with the request, but decide nothing in this version, and why. */
export const keptFields: Readonly<Record<string, string>> = {
  "LinuxPodSandboxConfig.overhead": parent,
  "LinuxPodSandboxConfig.resources": parent,
  "LinuxSandboxSecurityContext.apparmor": `${pause}; refused where there is no AppArmor`,
  "LinuxSandboxSecurityContext.runAsUser": pause,
  "LinuxSandboxSecurityContext.runAsGroup": pause,
  "LinuxSandboxSecurityContext.readonlyRootfs": pause,
  "LinuxSandboxSecurityContext.supplementalGroups": pause,
  "LinuxSandboxSecurityContext.seccomp": pause,
  "CreateContainerRequest.sandboxConfig": "the configuration that the sandbox was made with stands",
  "NetworkConfig.podCidr": "shown by Status; a CNI configuration has its own ranges",
};
