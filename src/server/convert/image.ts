import type { FilesystemUsage } from "../../image/filesystem-usage.ts";
import type { FilesystemUsage as FilesystemUsageMessage } from "../generated/runtime/v1/FilesystemUsage.ts";
import type { Image as ImageMessage } from "../generated/runtime/v1/Image.ts";
import type { ImageFilter__Output } from "../generated/runtime/v1/ImageFilter.ts";
import type { Image, ImagePort } from "../ports.ts";
import { toNanoseconds } from "./timestamp.ts";

/** Depends on the image alone, never on the name it was asked by: clients compare the messages. */
export function fromImage(image: Image): ImageMessage {
  return {
    id: image.id,
    repoTags: [...image.repoTags],
    repoDigests: [...image.repoDigests],
    size: image.sizeBytes,
    uid: image.uid === undefined ? null : { value: image.uid },
    username: image.uid === undefined ? image.username : "",
    pinned: image.pinned,
  };
}

/** All images, or the one that the filter names by tag, digest or id. */
export function filterImages(images: ImagePort, filter: ImageFilter__Output | null): readonly Image[] {
  const reference = filter?.image?.image ?? "";
  if (reference === "") return images.list();
  const image = images.find(reference);
  return image === undefined ? [] : [image];
}

export function fromFilesystemUsage(usage: FilesystemUsage): FilesystemUsageMessage {
  return {
    timestamp: toNanoseconds(usage.timestamp),
    fsId: { mountpoint: usage.mountpoint },
    usedBytes: { value: usage.usedBytes },
    inodesUsed: { value: usage.inodesUsed },
  };
}
