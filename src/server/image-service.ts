import type { ImageServiceDefinition } from "./generated/runtime/v1/ImageService.ts";
import type { CallObserver } from "./handler.ts";
import { imageFsInfo } from "./image/image-fs-info.ts";
import { imageStatus } from "./image/image-status.ts";
import { listImages } from "./image/list-images.ts";
import { pullImage } from "./image/pull-image.ts";
import { removeImage } from "./image/remove-image.ts";
import { streamImages } from "./image/stream-images.ts";
import type { Service } from "./listen.ts";
import type { ImagePort } from "./ports.ts";
import { serviceHandlers } from "./service-handlers.ts";
import { wireSize } from "./wire-size.ts";

/** ImageService on top of the domain. What it does not serve answers UNIMPLEMENTED with its name. */
export function imageService(definition: ImageServiceDefinition, images: ImagePort, observe: CallObserver): Service {
  const handlers = serviceHandlers<ImageServiceDefinition>(
    definition,
    {
      ListImages: listImages(images),
      ImageStatus: imageStatus(images),
      PullImage: pullImage(images),
      RemoveImage: removeImage(images),
      ImageFsInfo: imageFsInfo(images),
    },
    {
      StreamImages: streamImages(
        images,
        wireSize(definition.ListImages, (item) => ({ images: [item] })),
      ),
    },
    observe,
  );
  return [definition, handlers];
}
