import { fromImage } from "../convert/image.ts";
import { toImageSpec } from "../convert/image-spec.ts";
import { toInfo } from "../convert/verbose.ts";
import type { ImageStatusRequest__Output } from "../generated/runtime/v1/ImageStatusRequest.ts";
import type { ImageStatusResponse } from "../generated/runtime/v1/ImageStatusResponse.ts";
import type { Unary } from "../handler.ts";
import type { ImagePort } from "../ports.ts";

/** An absent image is a success without an image: that is how clients ask whether to pull. */
export function imageStatus(images: Pick<ImagePort, "find">): Unary<ImageStatusRequest__Output, ImageStatusResponse> {
  return async ({ image, verbose }) => {
    const found = images.find(toImageSpec("image", image).image);
    if (found === undefined) return { image: null };
    return { image: fromImage(found), info: verbose ? toInfo(found) : {} };
  };
}
