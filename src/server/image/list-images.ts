import { filterImages, fromImage } from "../convert/image.ts";
import type { ListImagesRequest__Output } from "../generated/runtime/v1/ListImagesRequest.ts";
import type { ListImagesResponse } from "../generated/runtime/v1/ListImagesResponse.ts";
import type { Unary } from "../handler.ts";
import type { ImagePort } from "../ports.ts";

export function listImages(images: ImagePort): Unary<ListImagesRequest__Output, ListImagesResponse> {
  return async ({ filter }) => ({ images: filterImages(images, filter).map(fromImage) });
}
