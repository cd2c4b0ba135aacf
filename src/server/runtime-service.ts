import type { RuntimeServiceDefinition } from "./generated/runtime/v1/RuntimeService.ts";
import type { CallObserver } from "./handler.ts";
import type { Service } from "./listen.ts";
import { withQuickAnswers } from "./message-encoder.ts";
import type {
  CheckpointPort,
  ContainerPort,
  EventPort,
  ResourcePort,
  SandboxPort,
  StatsPort,
  StatusPort,
  StreamingPort,
} from "./ports.ts";
import { attach } from "./runtime/attach.ts";
import { checkpointContainer } from "./runtime/checkpoint-container.ts";
import { checkpointPod } from "./runtime/checkpoint-pod.ts";
import { containerStats } from "./runtime/container-stats.ts";
import { containerStatus } from "./runtime/container-status.ts";
import { createContainer } from "./runtime/create-container.ts";
import { exec } from "./runtime/exec.ts";
import { execSync } from "./runtime/exec-sync.ts";
import { getContainerEvents } from "./runtime/get-container-events.ts";
import { listContainerStats } from "./runtime/list-container-stats.ts";
import { listContainers } from "./runtime/list-containers.ts";
import { listMetricDescriptors } from "./runtime/list-metric-descriptors.ts";
import { listPodSandbox } from "./runtime/list-pod-sandbox.ts";
import { listPodSandboxMetrics } from "./runtime/list-pod-sandbox-metrics.ts";
import { listPodSandboxStats } from "./runtime/list-pod-sandbox-stats.ts";
import { podSandboxStats } from "./runtime/pod-sandbox-stats.ts";
import { podSandboxStatus } from "./runtime/pod-sandbox-status.ts";
import { portForward } from "./runtime/port-forward.ts";
import { removeContainer } from "./runtime/remove-container.ts";
import { removePodSandbox } from "./runtime/remove-pod-sandbox.ts";
import { reopenContainerLog } from "./runtime/reopen-container-log.ts";
import { restorePod } from "./runtime/restore-pod.ts";
import { runPodSandbox } from "./runtime/run-pod-sandbox.ts";
import { runtimeConfig } from "./runtime/runtime-config.ts";
import { startContainer } from "./runtime/start-container.ts";
import { status } from "./runtime/status.ts";
import { stopContainer } from "./runtime/stop-container.ts";
import { stopPodSandbox } from "./runtime/stop-pod-sandbox.ts";
import { streamContainerStats } from "./runtime/stream-container-stats.ts";
import { streamContainers } from "./runtime/stream-containers.ts";
import { streamPodSandboxMetrics } from "./runtime/stream-pod-sandbox-metrics.ts";
import { streamPodSandboxStats } from "./runtime/stream-pod-sandbox-stats.ts";
import { streamPodSandboxes } from "./runtime/stream-pod-sandboxes.ts";
import { updateContainerResources } from "./runtime/update-container-resources.ts";
import { updatePodSandboxResources } from "./runtime/update-pod-sandbox-resources.ts";
import { updateRuntimeConfig } from "./runtime/update-runtime-config.ts";
import { version } from "./runtime/version.ts";
import { type StreamTable, serviceHandlers, type UnaryTable } from "./service-handlers.ts";
import { wireSize } from "./wire-size.ts";

export interface RuntimePorts {
  readonly sandboxes: SandboxPort;
  readonly containers: ContainerPort;
  readonly resources: ResourcePort;
  readonly checkpoints: CheckpointPort;
  readonly events: EventPort;
  readonly stats: StatsPort;
  readonly streaming: StreamingPort;
  readonly status: StatusPort;
}

/** What is asked for often, of all pods at once. */
const large = [
  ...(["ListContainerStats", "ListPodSandboxStats", "ListPodSandboxMetrics"] as const),
  ...(["StreamContainerStats", "StreamPodSandboxStats", "StreamPodSandboxMetrics"] as const),
];

/** RuntimeService on top of the domain. What it does not serve answers UNIMPLEMENTED with its name. */
export function runtimeService(plain: RuntimeServiceDefinition, ports: RuntimePorts, observe: CallObserver): Service {
  const definition = withQuickAnswers(plain, large);
  const [unaries, streams] = [unaryCalls(ports), streamingCalls(definition, ports)];
  return [definition, serviceHandlers<RuntimeServiceDefinition>(definition, unaries, streams, observe)];
}

function unaryCalls(ports: RuntimePorts): UnaryTable<RuntimeServiceDefinition> {
  const { sandboxes, containers, resources, checkpoints, events, stats, streaming, status: node } = ports;
  return {
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
    Exec: exec(containers, streaming),
    Attach: attach(containers, streaming),
    PortForward: portForward(sandboxes, streaming),
    UpdateContainerResources: updateContainerResources(containers, resources),
    UpdatePodSandboxResources: updatePodSandboxResources(resources),
    CheckpointContainer: checkpointContainer(containers, checkpoints),
    CheckpointPod: checkpointPod,
    RestorePod: restorePod,
    ReopenContainerLog: reopenContainerLog(containers),
    ContainerStats: containerStats(containers, stats),
    ListContainerStats: listContainerStats(containers, stats),
    PodSandboxStats: podSandboxStats(sandboxes, stats),
    ListPodSandboxStats: listPodSandboxStats(sandboxes, stats),
    ListMetricDescriptors: listMetricDescriptors(stats),
    ListPodSandboxMetrics: listPodSandboxMetrics(stats),
  };
}

function streamingCalls(
  definition: RuntimeServiceDefinition,
  { sandboxes, containers, events, stats }: RuntimePorts,
): StreamTable<RuntimeServiceDefinition> {
  return {
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
    StreamContainerStats: streamContainerStats(
      containers,
      stats,
      wireSize(definition.ListContainerStats, (item) => ({ stats: [item] })),
    ),
    StreamPodSandboxStats: streamPodSandboxStats(
      sandboxes,
      stats,
      wireSize(definition.ListPodSandboxStats, (item) => ({ stats: [item] })),
    ),
    StreamPodSandboxMetrics: streamPodSandboxMetrics(
      stats,
      wireSize(definition.ListPodSandboxMetrics, (item) => ({ podMetrics: [item] })),
    ),
  };
}
