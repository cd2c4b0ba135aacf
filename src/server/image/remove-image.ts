import { toImageSpec } from "../convert/image-spec.ts";
import type { RemoveImageRequest__Output } from "../generated/runtime/v1/RemoveImageRequest.ts";
import type { RemoveImageResponse } from "../generated/runtime/v1/RemoveImageResponse.ts";
import type { Unary } from "../handler.ts";
import type { ImagePort } from "../ports.ts";

/** An absent image is a success. */
export function removeImage(images: Pick<ImagePort, "remove">): Unary<RemoveImageRequest__Output, RemoveImageResponse> {
  return async ({ image }) => {
    await images.remove(toImageSpec("image", image).image);
    return {};
  };
}
