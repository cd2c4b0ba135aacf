/** Why a group of critest's specs is not asked for yet. The first pattern that matches a name counts. */
interface Exclusion {
  readonly match: RegExp;
  readonly reason: string;
}

const container = "Container runtime should support basic operations on container runtime should support";
const volume = "Container runtime should support adding volume and device runtime should support";
const log = "Container runtime should support log runtime should support";
const sandbox = "PodSandbox runtime should support basic operations on PodSandbox runtime should support";
const runtimeInfo = "Runtime info runtime should support returning runtime info runtime should return";

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
];

/** Every other spec of the suite belongs to one of these. */
export const exclusions: readonly Exclusion[] = [
  {
    match: /^Image Manager public image with digest/,
    reason: "names an image by a digest that only its builder's bytes have; it cannot be made offline",
  },
  { match: /benchmark/, reason: "measures, and only in critest's benchmark mode" },
  { match: /listing (container )?stats/, reason: "container statistics are not served yet" },
  { match: /^Streaming /, reason: "exec, attach and port-forward streams are not served yet" },
  { match: /^AppArmor /, reason: "profiles other than unconfined are not served yet" },
  { match: /^Container (Mount|OOM)/, reason: "mount propagation, recursive read-only and OOM reasons come later" },
  { match: /^Multiple Containers /, reason: "comes with the wider set of container specs" },
  { match: /^Networking /, reason: "comes with the wider set of network specs" },
  { match: /^Security Context /, reason: "comes with the wider set of security specs" },
];

/** Answers why a spec is not asked for, undefined when nothing excludes it. */
export function exclusionReason(name: string): string | undefined {
  return exclusions.find(({ match }) => match.test(name))?.reason;
}
