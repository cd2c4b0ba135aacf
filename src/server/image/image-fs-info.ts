import { fromFilesystemUsage } from "../convert/image.ts";
import type { ImageFsInfoRequest__Output } from "../generated/runtime/v1/ImageFsInfoRequest.ts";
import type { ImageFsInfoResponse } from "../generated/runtime/v1/ImageFsInfoResponse.ts";
import type { Unary } from "../handler.ts";
import type { ImagePort } from "../ports.ts";

export function imageFsInfo(images: Pick<ImagePort, "fsInfo">): Unary<ImageFsInfoRequest__Output, ImageFsInfoResponse> {
  return async () => {
    const usage = images.fsInfo();
    return {
      imageFilesystems: [fromFilesystemUsage(usage.images)],
      containerFilesystems: [fromFilesystemUsage(usage.containers)],
    };
  };
}
