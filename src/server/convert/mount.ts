import { MOUNT_OPTIONS, type MountRequest } from "../../oci/config.ts";
import type { Mount, Mount__Output } from "../generated/runtime/v1/Mount.ts";
import { absolutePath, choice, list, path, quoted, refuse, withoutDotDot } from "./field.ts";
import { fromImageSpec, toImageSpec } from "./image-spec.ts";
import { toIdMapping } from "./security.ts";

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
  const propagation = choice(`${field}.propagation`, mount.propagation, propagations);
  if (mount.recursiveReadOnly && !mount.readonly) throw refuse(`${field}.recursive_read_only`, "needs readonly");
  if (mount.recursiveReadOnly && propagation !== "private") {
    throw refuse(`${field}.recursive_read_only`, "needs private propagation");
  }
  return {
    containerPath: absolutePath(`${field}.container_path`, mount.containerPath),
    readonly: mount.readonly,
    recursiveReadOnly: mount.recursiveReadOnly,
    selinuxRelabel: mount.selinuxRelabel,
    propagation,
    ...(mount.image === null ? toHostSource(field, mount) : toImageSource(field, mount)),
    ...(mount.mountOptions.length === 0 ? {} : { options: list(`${field}.mount_options`, mount.mountOptions, option) }),
    ...toIdMappings(field, mount),
  };
}

function toIdMappings(field: string, { uidMappings, gidMappings }: Mount__Output): Pick<MountRequest, "idMappings"> {
  if (uidMappings.length === 0 && gidMappings.length === 0) return {};
  const uids = toIdMapping(`${field}.uidMappings`, uidMappings);
  return { idMappings: { uids, gids: toIdMapping(`${field}.gidMappings`, gidMappings) } };
}

type Source = Pick<MountRequest, "hostPath" | "image" | "imageSubPath">;

function toHostSource(field: string, mount: Mount__Output): Source {
  if (mount.imageSubPath !== "") throw refuse(`${field}.image_sub_path`, "is set without image");
  return { hostPath: absolutePath(`${field}.host_path`, mount.hostPath) };
}

function toImageSource(field: string, mount: Mount__Output): Source {
  if (mount.hostPath !== "") throw refuse(`${field}.host_path`, "is set together with image");
  if (!mount.readonly) throw refuse(`${field}.readonly`, "is false: an image can only be mounted read-only");
  if (mount.propagation !== "PROPAGATION_PRIVATE") {
    throw refuse(`${field}.propagation`, "must be private: nothing is ever mounted below an image");
  }
  const image = toImageSpec(`${field}.image`, mount.image);
  return { hostPath: "", image, ...toSubPath(`${field}.image_sub_path`, mount.imageSubPath) };
}

function toSubPath(field: string, value: string): Pick<Source, "imageSubPath"> {
  if (value === "") return {};
  if (path(field, value).startsWith("/")) throw refuse(field, `must be relative to the image: ${quoted(value)}`);
  return { imageSubPath: withoutDotDot(field, value) };
}

function option(field: string, value: string): string {
  const found = MOUNT_OPTIONS.find((known) => known === value);
  if (found !== undefined) return found;
  const remedy = value === "ro" || value === "rw" ? "; use readonly" : "";
  throw refuse(field, `is ${quoted(value)}; it must be one of ${MOUNT_OPTIONS.join(", ")}${remedy}`);
}

/** As it was asked for: kubelets find the termination log by it. `imageId` is that of the image that is mounted. */
export function fromMount(mount: MountRequest, imageId: string): Mount {
  return {
    containerPath: mount.containerPath,
    hostPath: mount.hostPath,
    readonly: mount.readonly,
    recursiveReadOnly: mount.recursiveReadOnly,
    selinuxRelabel: mount.selinuxRelabel,
    propagation: propagationNames[mount.propagation],
    ...(mount.image === undefined ? {} : { image: { ...fromImageSpec(mount.image), imageRef: imageId } }),
    ...(mount.imageSubPath === undefined ? {} : { imageSubPath: mount.imageSubPath }),
    ...(mount.options === undefined ? {} : { mountOptions: [...mount.options] }),
    ...(mount.idMappings === undefined
      ? {}
      : { uidMappings: [mount.idMappings.uids], gidMappings: [mount.idMappings.gids] }),
  };
}
