import { chunks } from "../convert/chunk.ts";
import { filterImages, fromImage } from "../convert/image.ts";
import type { Image } from "../generated/runtime/v1/Image.ts";
import type { StreamImagesRequest__Output } from "../generated/runtime/v1/StreamImagesRequest.ts";
import type { StreamImagesResponse } from "../generated/runtime/v1/StreamImagesResponse.ts";
import type { ServerStreaming } from "../handler.ts";
import type { ImagePort } from "../ports.ts";

/** `sizeOf` gives the bytes of a message on the wire. */
export function streamImages(
  images: ImagePort,
  sizeOf: (image: Image) => number,
): ServerStreaming<StreamImagesRequest__Output, StreamImagesResponse> {
  return function* ({ filter }) {
    const items = filterImages(images, filter).values().map(fromImage);
    for (const chunk of chunks(items, sizeOf)) yield { images: chunk };
  };
}
