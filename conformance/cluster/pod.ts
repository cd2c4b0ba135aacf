import { busybox } from "../harness/cri-configs.ts";

/** An object of the Kubernetes API or a part of one. */
export interface Manifest {
  readonly [field: string]: unknown;
}

/** A pod's manifest, by whose name its file is called. */
export interface PodManifest extends Manifest {
  readonly metadata: { readonly name: string; readonly namespace: string };
}

/** What tests read of a pod. */
export interface Pod {
  readonly metadata: { readonly name: string; readonly namespace: string; readonly uid: string };
  readonly status: PodStatus;
}

interface PodStatus {
  readonly phase?: "Pending" | "Running" | "Succeeded" | "Failed";
  readonly podIP?: string;
  readonly hostIP?: string;
  readonly initContainerStatuses?: readonly ContainerStatus[];
  readonly containerStatuses?: readonly ContainerStatus[];
}

/** A container as the kubelet sees it. */
export interface ContainerStatus {
  readonly name: string;
  readonly ready: boolean;
  readonly started?: boolean;
  readonly restartCount: number;
  readonly containerID?: string;
  readonly imageID: string;
  readonly state: ContainerState;
  readonly lastState: ContainerState;
}

interface ContainerState {
  readonly waiting?: { readonly reason?: string };
  readonly running?: { readonly startedAt: string };
  readonly terminated?: {
    readonly exitCode: number;
    readonly reason: string;
    readonly message?: string;
    readonly containerID: string;
    readonly startedAt: string;
    readonly finishedAt: string;
  };
}

/** The name of the node, which ends the name of each static pod. */
export const nodeName = "n1";
export const podNamespace = "conformance";

/** Waits until it is told to end, and then ends with 0. */
export const waits = "trap 'exit 0' TERM; while :; do sleep 1000 & wait; done";

/** A static pod as its manifest has it; `spec` replaces fields of a pod that is always restarted and has two seconds to end. */
export function podManifest(name: string, spec: Manifest): PodManifest {
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: { name, namespace: podNamespace },
    spec: { terminationGracePeriodSeconds: 2, ...spec },
  };
}

/** A container that runs a shell script. */
export function shell(name: string, script: string, more: Manifest = {}): Manifest {
  return { name, image: busybox, imagePullPolicy: "IfNotPresent", command: ["sh", "-c", script], ...more };
}

/** What the kubelet calls the pod of a manifest. */
export function fullName(name: string): string {
  return `${name}-${nodeName}`;
}

/** The path of a container's output in the kubelet's API. */
export function logPath(pod: string, container: string, query = ""): string {
  return `/containerLogs/${podNamespace}/${fullName(pod)}/${container}?${query}`;
}

/** A container of a pod. Throws while the kubelet tells nothing of it, which is before it has looked at the pod. */
export function containerOf({ metadata, status }: Pod, name = "main"): ContainerStatus {
  const found = status.containerStatuses?.find((container) => container.name === name);
  if (found === undefined) throw new Error(`the kubelet tells nothing of container ${name} of ${metadata.name}`);
  return found;
}
