import type { MountRequest } from "../../oci/config.ts";
import type { Mount, Mount__Output } from "../generated/runtime/v1/Mount.ts";
import { absolutePath, choice, notImplemented, refuse } from "./field.ts";

const propagations = {
  PROPAGATION_PRIVATE: "private",
  PROPAGATION_HOST_TO_CONTAINER: "hostToContainer",
  PROPAGATION_BIDIRECTIONAL: "bidirectional",
} as const;

const propagationNames = {
  private: "PROPAGATION_PRIVATE",
  hostToContainer: "PROPAGATION_HOST_TO_CONTAINER",
  bidirectional: "PROPAGATION_BIDIRECTIONAL",
} as const satisfies Record<MountRequest["propagation"], string>;

export function toMount(field: string, mount: Mount__Output): MountRequest {
  refuseWhatIsNotBuilt(field, mount);
  const propagation = choice(`${field}.propagation`, mount.propagation, propagations);
  if (mount.recursiveReadOnly && !mount.readonly) throw refuse(`${field}.recursive_read_only`, "needs readonly");
  if (mount.recursiveReadOnly && propagation !== "private") {
    throw refuse(`${field}.recursive_read_only`, "needs private propagation");
  }
  return {
    containerPath: absolutePath(`${field}.container_path`, mount.containerPath),
    hostPath: absolutePath(`${field}.host_path`, mount.hostPath),
    readonly: mount.readonly,
    recursiveReadOnly: mount.recursiveReadOnly,
    selinuxRelabel: mount.selinuxRelabel,
    propagation,
  };
}

function refuseWhatIsNotBuilt(field: string, mount: Mount__Output): void {
  if (mount.image !== null) throw notImplemented(`${field}.image`, "image volumes are");
  if (mount.imageSubPath !== "") throw refuse(`${field}.image_sub_path`, "is set without image");
  for (const mappings of ["uidMappings", "gidMappings"] as const) {
    if (mount[mappings].length > 0) throw notImplemented(`${field}.${mappings}`, "id-mapped mounts are");
  }
  if (mount.mountOptions.length > 0) throw notImplemented(`${field}.mount_options`, "further mount options are");
}

/** As it was asked for: kubelets find the termination log by it. */
export function fromMount(mount: MountRequest): Mount {
  return {
    containerPath: mount.containerPath,
    hostPath: mount.hostPath,
    readonly: mount.readonly,
    recursiveReadOnly: mount.recursiveReadOnly,
    selinuxRelabel: mount.selinuxRelabel,
    propagation: propagationNames[mount.propagation],
  };
}
