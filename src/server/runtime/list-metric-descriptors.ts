import { fromMetricDescriptor } from "../convert/metric.ts";
import type { ListMetricDescriptorsRequest__Output } from "../generated/runtime/v1/ListMetricDescriptorsRequest.ts";
import type { ListMetricDescriptorsResponse } from "../generated/runtime/v1/ListMetricDescriptorsResponse.ts";
import type { Unary } from "../handler.ts";
import type { StatsPort } from "../ports.ts";

/** The same as long as the server runs: a kubelet asks once. */
export function listMetricDescriptors(
  stats: Pick<StatsPort, "descriptors">,
): Unary<ListMetricDescriptorsRequest__Output, ListMetricDescriptorsResponse> {
  return async () => ({ descriptors: stats.descriptors().map(fromMetricDescriptor) });
}
