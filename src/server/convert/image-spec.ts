import type { ImageSpec } from "../../oci/config.ts";
import type { AuthConfig__Output } from "../generated/runtime/v1/AuthConfig.ts";
import type { ImageSpec__Output, ImageSpec as ImageSpecMessage } from "../generated/runtime/v1/ImageSpec.ts";
import type { AuthConfig } from "../ports.ts";
import { line, map, refuse, required, word } from "./field.ts";

/** A reference must be there. `image_ref` is for answers: in requests it decides nothing. */
export function toImageSpec(field: string, message: ImageSpec__Output | null): ImageSpec {
  const spec = required(field, message);
  return {
    image: word(`${field}.image`, spec.image),
    userSpecifiedImage: line(`${field}.user_specified_image`, spec.userSpecifiedImage, 4096),
    runtimeHandler: line(`${field}.runtime_handler`, spec.runtimeHandler),
    annotations: map(`${field}.annotations`, spec.annotations),
  };
}

export function fromImageSpec(spec: ImageSpec): ImageSpecMessage {
  return {
    image: spec.image,
    userSpecifiedImage: spec.userSpecifiedImage,
    runtimeHandler: spec.runtimeHandler,
    annotations: spec.annotations,
  };
}

/** `undefined` when nothing is in it. No message ever holds a value of it. */
export function toAuth(field: string, auth: AuthConfig__Output | null): AuthConfig | undefined {
  if (auth === null) return undefined;
  const { username, password, identityToken, registryToken, serverAddress } = auth;
  const values = { username, password, auth: auth.auth, serverAddress, identityToken, registryToken };
  for (const [key, value] of Object.entries(values)) {
    const snake = key.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    if (Buffer.byteLength(value) > 64 * 1024) throw refuse(`${field}.${snake}`, "is longer than 65536 bytes");
    // All of it travels in HTTP headers.
    if (/[\0\r\n]/.test(value)) throw refuse(`${field}.${snake}`, "contains a line break or a NUL byte");
  }
  return Object.values(values).some((value) => value !== "") ? values : undefined;
}
