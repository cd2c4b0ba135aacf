import type { RuntimeCondition } from "../generated/runtime/v1/RuntimeCondition.ts";
import type { RuntimeHandler } from "../generated/runtime/v1/RuntimeHandler.ts";
import type { StatusRequest__Output } from "../generated/runtime/v1/StatusRequest.ts";
import type { StatusResponse } from "../generated/runtime/v1/StatusResponse.ts";
import type { Unary } from "../handler.ts";
import type { StatusPort } from "../ports.ts";

export function status(node: StatusPort): Unary<StatusRequest__Output, StatusResponse> {
  return async ({ verbose }) => ({
    status: {
      conditions: [fromCondition("RuntimeReady", node.runtime()), fromCondition("NetworkReady", node.network())],
    },
    runtimeHandlers: node.handlers().map(fromHandler),
    features: {
      supplementalGroupsPolicy: node.supplementalGroupsPolicy(),
      userNamespacesHostNetwork: false,
      mountOptions: true,
    },
    info: verbose ? node.info() : {},
  });
}

function fromCondition(type: string, condition: ReturnType<StatusPort["runtime"]>): RuntimeCondition {
  return { type, status: condition.ready, reason: condition.reason, message: condition.message };
}

function fromHandler(handler: ReturnType<StatusPort["handlers"]>[number]): RuntimeHandler {
  const { name, recursiveReadOnlyMounts, userNamespaces } = handler;
  return { name, features: { recursiveReadOnlyMounts, userNamespaces } };
}
