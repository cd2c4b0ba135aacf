import type { CgroupDriver__Output } from "../generated/runtime/v1/CgroupDriver.ts";
import type { RuntimeConfigRequest__Output } from "../generated/runtime/v1/RuntimeConfigRequest.ts";
import type { RuntimeConfigResponse } from "../generated/runtime/v1/RuntimeConfigResponse.ts";
import type { Unary } from "../handler.ts";
import type { StatusPort } from "../ports.ts";

const drivers = {
  cgroupfs: "CGROUPFS",
  systemd: "SYSTEMD",
} as const satisfies Record<StatusPort["cgroupDriver"], CgroupDriver__Output>;

export function runtimeConfig(
  node: Pick<StatusPort, "cgroupDriver">,
): Unary<RuntimeConfigRequest__Output, RuntimeConfigResponse> {
  return async () => ({ linux: { cgroupDriver: drivers[node.cgroupDriver] } });
}
