import type { VersionRequest__Output } from "../generated/runtime/v1/VersionRequest.ts";
import type { VersionResponse } from "../generated/runtime/v1/VersionResponse.ts";
import type { Unary } from "../handler.ts";
import type { StatusPort } from "../ports.ts";

/** The version that kubelets compare with their own; it has never been another. */
const KUBE_API_VERSION = "0.1.0";

export function version(status: Pick<StatusPort, "version">): Unary<VersionRequest__Output, VersionResponse> {
  return async () => ({
    version: KUBE_API_VERSION,
    runtimeName: "nacelle",
    runtimeVersion: status.version,
    runtimeApiVersion: "v1",
  });
}
