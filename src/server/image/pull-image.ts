import { toAuth, toImageSpec } from "../convert/image-spec.ts";
import type { PullImageRequest__Output } from "../generated/runtime/v1/PullImageRequest.ts";
import type { PullImageResponse } from "../generated/runtime/v1/PullImageResponse.ts";
import type { Unary } from "../handler.ts";
import type { ImagePort } from "../ports.ts";

/** `sandbox_config` decides nothing: an image is the same for every sandbox. It may hold labels and no name. */
export function pullImage(images: Pick<ImagePort, "pull">): Unary<PullImageRequest__Output, PullImageResponse> {
  return async ({ image, auth }, { signal }) => {
    const spec = toImageSpec("image", image);
    return { imageRef: await images.pull(spec, toAuth("auth", auth), signal) };
  };
}
