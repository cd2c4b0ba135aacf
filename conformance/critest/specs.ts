/** Why a group of critest's specs is not asked for yet. The first pattern that matches a name counts. */
interface Exclusion {
  readonly match: RegExp;
  readonly reason: string;
}

const container = "Container runtime should support basic operations on container runtime should support";
const volume = "Container runtime should support adding volume and device runtime should support";
const log = "Container runtime should support log runtime should support";
const sandbox = "PodSandbox runtime should support basic operations on PodSandbox runtime should support";
const streaming = "Streaming runtime should support streaming interfaces runtime should support";
const runtimeInfo = "Runtime info runtime should support returning runtime info runtime should return";

/** The specs about exec, attach and port-forward, which also run over WebSocket. */
export const streamingSpecs: readonly string[] = [
  `${streaming} exec with tty=false and stdin=false [Conformance]`,
  `${streaming} exec with tty=true and stdin=true [Conformance]`,
  `${streaming} attach [Conformance]`,
  `${streaming} portforward [Conformance]`,
  `${streaming} portforward in host network`,
];

/** The specs that must run and pass, by their full names less the leading `[k8s.io] `. A spec that is absent fails. */
export const requiredSpecs: readonly string[] = [
  `${container} creating container [Conformance]`,
  `${container} preserving container attributes [Conformance]`,
  `${container} starting container [Conformance]`,
  `${container} stopping container [Conformance]`,
  `${container} removing created container [Conformance]`,
  `${container} removing running container [Conformance]`,
  `${container} removing stopped container [Conformance]`,
  `${container} execSync [Conformance]`,
  `${container} execSync with timeout [Conformance]`,
  `${container} listing container stats [Conformance]`,
  `${container} listing stats for started containers [Conformance]`,
  `${container} listing stats for started containers when filter is nil [Conformance]`,
  `${container} listing stats for three created containers when filter is nil. [Conformance]`,
  `${container} listing stats for containers filtered by labels [Conformance]`,
  `${volume} starting container with volume [Conformance]`,
  `${volume} starting container with volume when host path is a symlink [Conformance]`,
  `${log} starting container with log [Conformance]`,
  `${log} reopening container log [Conformance]`,

  `${sandbox} running PodSandbox [Conformance]`,
  `${sandbox} stopping PodSandbox [Conformance]`,
  `${sandbox} removing PodSandbox [Conformance]`,
  `${sandbox} preserving PodSandbox attributes [Conformance]`,
  "PodSandbox runtime should support sysctls should support safe sysctls",
  "PodSandbox runtime should support sysctls should support unsafe sysctls",

  "Idempotence StopPodSandbox should not return an error if not found",
  "Idempotence StopPodSandbox should not return an error if already stopped",
  "Idempotence RemovePodSandbox should not return an error if not found",
  "Idempotence StopContainer should not return an error if not found",
  "Idempotence StopContainer should not return an error if already stopped",
  "Idempotence RemoveContainer should not return an error if not found",
  "Idempotence RemoveImage should not return an error if not found",

  `${runtimeInfo} version info [Conformance]`,
  `${runtimeInfo} runtime conditions [Conformance]`,

  "Image Manager public image with tag should be pulled and removed [Conformance] [Serial]",
  "Image Manager public image should timeout if requested [Conformance] [Serial]",
  "Image Manager public image without tag should be pulled and removed [Conformance] [Serial]",
  "Image Manager image status should support all kinds of references [Conformance] [Serial]",
  "Image Manager image status get image fields should not have Uid|Username empty [Conformance] [Serial]",
  "Image Manager listImage should get exactly 3 image in the result list [Conformance] [Serial]",
  "Image Manager listImage should get exactly 3 repoTags in the result image [Conformance] [Serial]",
  "Image Manager removing image by one tag should remove all tags [Conformance] [Serial]",
  "Image Manager removing image from one registry should remove all tags from other registries [Conformance] [Serial]",

  "Image Consistency should not list or get image status immediately after removal [Conformance] [Serial]",
  "Image Consistency should list and get image status immediately after pulling [Conformance] [Serial]",
  "Image Consistency should not fail on simultaneous RemoveImage calls [Conformance] [Serial]",

  "Image Identifier Consistency should return the same image identifier across all APIs [Conformance] [Serial]",
  "Image Identifier Consistency should return the same image identifier when pulled from different registries [Conformance] [Serial]",

  "Container OOM runtime should output OOMKilled reason should terminate with exitCode 137 and reason OOMKilled",
  "Container Mount Propagation runtime should support mount propagation mount with 'rprivate' should not support propagation",
  "Container Mount Propagation runtime should support mount propagation mount with 'rshared' should support propagation from host to container and vice versa",
  "Container Mount Propagation runtime should support mount propagation mount with 'rslave' should support propagation from host to container",
  "Container Mount Readonly runtime should support readonly mounts should support non-recursive readonly mounts",
  "Container Mount Readonly runtime should support readonly mounts should support recursive readonly mounts",
  "Container Mount Readonly runtime should support readonly mounts should reject a recursive readonly mount with PROPAGATION_BIDIRECTIONAL",
  "Container Mount Readonly runtime should support readonly mounts should reject a recursive readonly mount with PROPAGATION_HOST_TO_CONTAINER",
  "Container Mount Readonly runtime should support readonly mounts should reject a recursive readonly mount with ReadOnly: false",

  "Multiple Containers [Conformance] when running multiple containers in a pod should support container exec",
  "Multiple Containers [Conformance] when running multiple containers in a pod should support container log",
  "Multiple Containers [Conformance] when running multiple containers in a pod should support network",

  "Networking runtime should support networking runtime should support DNS config [Conformance]",
  "Networking runtime should support networking runtime should support port mapping with host port and container port [Conformance]",
  "Networking runtime should support networking runtime should support port mapping with only container port [Conformance]",
  "Networking runtime should support networking runtime should support set hostname [Conformance]",

  ...streamingSpecs,

  "Security Context NamespaceOption runtime should support ContainerPID",
  "Security Context NamespaceOption runtime should support HostIpc is false",
  "Security Context NamespaceOption runtime should support HostIpc is true",
  "Security Context NamespaceOption runtime should support HostNetwork is false",
  "Security Context NamespaceOption runtime should support HostNetwork is true",
  "Security Context NamespaceOption runtime should support HostPID",
  "Security Context NamespaceOption runtime should support PodPID",
  "Security Context NoNewPrivs should allow privilege escalation when false",
  "Security Context NoNewPrivs should not allow privilege escalation when true",
  "Security Context SeccompProfilePath runtime should ignore a seccomp profile that blocks setting hostname when privileged",
  "Security Context SeccompProfilePath runtime should not block setting host name with unconfined seccomp and SYS_ADMIN",
  "Security Context SeccompProfilePath runtime should support an seccomp profile that blocks setting hostname with SYS_ADMIN",
  "Security Context SeccompProfilePath should support nil profile, which is unconfined",
  "Security Context SeccompProfilePath should support seccomp default on the container",
  "Security Context SeccompProfilePath should support seccomp localhost profile on the container",
  "Security Context SeccompProfilePath should support seccomp unconfined on the container",
  "Security Context SupplementalGroupsPolicy when SupplementalGroupsPolicy=Merge (Default) if the container's primary UID belongs to some groups in the image, runtime should add SupplementalGroups to them",
  "Security Context SupplementalGroupsPolicy when SupplementalGroupsPolicy=Strict even if the container's primary UID belongs to some groups in the image, runtime should not add SupplementalGroups to them",
  "Security Context bucket runtime should return error if RunAsGroup is set without RunAsUser",
  "Security Context bucket runtime should support MaskedPaths",
  "Security Context bucket runtime should support Privileged is false",
  "Security Context bucket runtime should support Privileged is true",
  "Security Context bucket runtime should support ReadonlyPaths",
  "Security Context bucket runtime should support RunAsGroup",
  "Security Context bucket runtime should support RunAsUser",
  "Security Context bucket runtime should support RunAsUserName",
  "Security Context bucket runtime should support SupplementalGroups",
  "Security Context bucket runtime should support adding ALL capabilities",
  "Security Context bucket runtime should support adding capability",
  "Security Context bucket runtime should support dropping ALL capabilities",
  "Security Context bucket runtime should support dropping capability",
  "Security Context bucket runtime should support that ReadOnlyRootfs is false",
  "Security Context bucket runtime should support that ReadOnlyRootfs is true",
];

/** What must run and pass besides where the runtime has id-mapped mounts; critest skips them where Status says that it has none. */
export const userNamespaceSpecs: readonly string[] = [
  "Security Context UserNamespaces when Host idmap mount support is needed runtime should support NamespaceMode_POD",
  "Security Context UserNamespaces when Host idmap mount support is not needed runtime should fail if container ID 0 is not mapped",
  "Security Context UserNamespaces when Host idmap mount support is not needed runtime should fail if more than one mapping provided",
  "Security Context UserNamespaces when Host idmap mount support is not needed runtime should fail with NamespaceMode_CONTAINER",
  "Security Context UserNamespaces when Host idmap mount support is not needed runtime should fail with NamespaceMode_TARGET",
  "Security Context UserNamespaces when Host idmap mount support is not needed runtime should support NamespaceMode_NODE",
];

/** Every other spec of the suite belongs to one of these. */
export const exclusions: readonly Exclusion[] = [
  {
    match: /^Image Manager public image with digest/,
    reason: "names an image by a digest that only its builder's bytes have; it cannot be made offline",
  },
  { match: /benchmark/, reason: "measures, and only in critest's benchmark mode" },
  { match: /^AppArmor /, reason: "run only where the kernel has AppArmor, and need its tools" },
];

/** Answers why a spec is not asked for, undefined when nothing excludes it. */
export function exclusionReason(name: string): string | undefined {
  return exclusions.find(({ match }) => match.test(name))?.reason;
}
