import type { RuntimeServiceDefinition } from "./generated/runtime/v1/RuntimeService.ts";
import type { CallObserver } from "./handler.ts";
import type { Service } from "./listen.ts";
import type { ContainerPort, EventPort, ResourcePort, SandboxPort, StatusPort } from "./ports.ts";
import { containerStatus } from "./runtime/container-status.ts";
import { createContainer } from "./runtime/create-container.ts";
import { execSync } from "./runtime/exec-sync.ts";
import { getContainerEvents } from "./runtime/get-container-events.ts";
import { listContainers } from "./runtime/list-containers.ts";
import { listPodSandbox } from "./runtime/list-pod-sandbox.ts";
import { podSandboxStatus } from "./runtime/pod-sandbox-status.ts";
import { removeContainer } from "./runtime/remove-container.ts";
import { removePodSandbox } from "./runtime/remove-pod-sandbox.ts";
import { reopenContainerLog } from "./runtime/reopen-container-log.ts";
import { runPodSandbox } from "./runtime/run-pod-sandbox.ts";
import { runtimeConfig } from "./runtime/runtime-config.ts";
import { startContainer } from "./runtime/start-container.ts";
import { status } from "./runtime/status.ts";
import { stopContainer } from "./runtime/stop-container.ts";
import { stopPodSandbox } from "./runtime/stop-pod-sandbox.ts";
import { streamContainers } from "./runtime/stream-containers.ts";
import { streamPodSandboxes } from "./runtime/stream-pod-sandboxes.ts";
import { updateContainerResources } from "./runtime/update-container-resources.ts";
import { updatePodSandboxResources } from "./runtime/update-pod-sandbox-resources.ts";
import { updateRuntimeConfig } from "./runtime/update-runtime-config.ts";
import { version } from "./runtime/version.ts";
import { serviceHandlers } from "./service-handlers.ts";
import { wireSize } from "./wire-size.ts";

export interface RuntimePorts {
  readonly sandboxes: SandboxPort;
  readonly containers: ContainerPort;
  readonly resources: ResourcePort;
  readonly events: EventPort;
  readonly status: StatusPort;
}

/** RuntimeService on top of the domain. What it does not serve answers UNIMPLEMENTED with its name. */
export function runtimeService(
  definition: RuntimeServiceDefinition,
  { sandboxes, containers, resources, events, status: node }: RuntimePorts,
  observe: CallObserver,
): Service {
  const handlers = serviceHandlers<RuntimeServiceDefinition>(
    definition,
    {
      Version: version(node),
      Status: status(node),
      RuntimeConfig: runtimeConfig(node),
      UpdateRuntimeConfig: updateRuntimeConfig(node),
      RunPodSandbox: runPodSandbox(sandboxes),
      StopPodSandbox: stopPodSandbox(sandboxes),
      RemovePodSandbox: removePodSandbox(sandboxes),
      PodSandboxStatus: podSandboxStatus(sandboxes, containers, events),
      ListPodSandbox: listPodSandbox(sandboxes),
      CreateContainer: createContainer(containers),
      StartContainer: startContainer(containers),
      StopContainer: stopContainer(containers),
      RemoveContainer: removeContainer(containers),
      ListContainers: listContainers(containers),
      ContainerStatus: containerStatus(containers),
      ExecSync: execSync(containers),
      UpdateContainerResources: updateContainerResources(containers, resources),
      UpdatePodSandboxResources: updatePodSandboxResources(resources),
      ReopenContainerLog: reopenContainerLog(containers),
    },
    {
      StreamPodSandboxes: streamPodSandboxes(
        sandboxes,
        wireSize(definition.ListPodSandbox, (item) => ({ items: [item] })),
      ),
      StreamContainers: streamContainers(
        containers,
        wireSize(definition.ListContainers, (item) => ({ containers: [item] })),
      ),
      GetContainerEvents: getContainerEvents(
        events,
        wireSize(definition.GetContainerEvents, (event) => event),
      ),
    },
    observe,
  );
  return [definition, handlers];
}
