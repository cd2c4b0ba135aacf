import { isIP } from "node:net";
import { line, quoted, refuse } from "../convert/field.ts";
import type { UpdateRuntimeConfigRequest__Output } from "../generated/runtime/v1/UpdateRuntimeConfigRequest.ts";
import type { UpdateRuntimeConfigResponse } from "../generated/runtime/v1/UpdateRuntimeConfigResponse.ts";
import type { Unary } from "../handler.ts";
import type { StatusPort } from "../ports.ts";

const FIELD = "runtime_config.network_config.pod_cidr";

/** A request without a CIDR changes nothing: kubelets send it before their node has one. */
export function updateRuntimeConfig(
  node: Pick<StatusPort, "setPodCidr">,
): Unary<UpdateRuntimeConfigRequest__Output, UpdateRuntimeConfigResponse> {
  return async ({ runtimeConfig }) => {
    const cidr = runtimeConfig?.networkConfig?.podCidr ?? "";
    if (cidr !== "") node.setPodCidr(toCidrs(cidr));
    return {};
  };
}

/** One range per address family, separated by commas. */
function toCidrs(text: string): string {
  line(FIELD, text);
  for (const cidr of text.split(",")) {
    const [address = "", bits = "", ...rest] = cidr.trim().split("/");
    const most = isIP(address) === 6 ? 128 : 32;
    const known = isIP(address) !== 0 && /^\d{1,3}$/.test(bits) && Number(bits) <= most;
    if (!known || rest.length > 0) throw refuse(FIELD, `holds ${quoted(cidr)}, which is not a CIDR`);
  }
  return text;
}
