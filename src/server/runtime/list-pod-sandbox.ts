import { filterSandboxes, fromSandbox } from "../convert/sandbox-status.ts";
import type { ListPodSandboxRequest__Output } from "../generated/runtime/v1/ListPodSandboxRequest.ts";
import type { ListPodSandboxResponse } from "../generated/runtime/v1/ListPodSandboxResponse.ts";
import type { Unary } from "../handler.ts";
import type { SandboxPort } from "../ports.ts";

export function listPodSandbox(
  sandboxes: Pick<SandboxPort, "list">,
): Unary<ListPodSandboxRequest__Output, ListPodSandboxResponse> {
  return async ({ filter }) => ({ items: filterSandboxes(sandboxes.list(), filter).map(fromSandbox) });
}
