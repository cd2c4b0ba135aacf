import type { PodEvent } from "../../container/event-feed.ts";
import { DomainError } from "../../lib/errors.ts";
import { orAborted } from "../../lib/or-aborted.ts";
import type { PodEventType } from "../../sandbox/pod-events.ts";
import { fromContainersOfPod } from "../convert/container-status.ts";
import { fromSandboxStatus } from "../convert/sandbox-status.ts";
import { toNanoseconds } from "../convert/timestamp.ts";
import { EventQueue } from "../event-queue.ts";
import type { ContainerEventResponse } from "../generated/runtime/v1/ContainerEventResponse.ts";
import type { ContainerEventType__Output } from "../generated/runtime/v1/ContainerEventType.ts";
import type { GetEventsRequest__Output } from "../generated/runtime/v1/GetEventsRequest.ts";
import type { ServerStreaming, StreamContext } from "../handler.ts";
import type { EventPort } from "../ports.ts";

/** What may wait for one client that does not read: some thousand pods that all end at once. */
const LIMITS = { items: 4_096, bytes: 16 * 1024 * 1024 };

const types = {
  created: "CONTAINER_CREATED_EVENT",
  started: "CONTAINER_STARTED_EVENT",
  stopped: "CONTAINER_STOPPED_EVENT",
  deleted: "CONTAINER_DELETED_EVENT",
} as const satisfies Record<PodEventType, ContainerEventType__Output>;

/**
 * Every event from the moment of the headers on, each with its pod as it was then. The stream ends with an error only:
 * RESOURCE_EXHAUSTED for a client that reads too slowly, UNAVAILABLE when the server stops; a kubelet that saw it end
 * without one would ask again at once, for ever.
 *
 * `sizeOf` gives the bytes of a message on the wire.
 */
export function getContainerEvents(
  events: EventPort,
  sizeOf: (event: ContainerEventResponse) => number,
): ServerStreaming<GetEventsRequest__Output, ContainerEventResponse> {
  return (_request, call) => messages(events, new EventQueue(LIMITS, sizeOf), call);
}

async function* messages(
  events: EventPort,
  queue: EventQueue<ContainerEventResponse>,
  { begin, cut, signal }: StreamContext,
): AsyncGenerator<ContainerEventResponse> {
  using _subscription = events.subscribe({
    next: (event) => {
      if (!queue.push(fromPodEvent(event))) cut(tooSlow(queue.length));
    },
    end: cut,
  });
  begin();
  for (;;) yield await orAborted(queue.next(), signal);
}

function tooSlow(waiting: number): DomainError {
  const message = `the client does not keep up: ${waiting} events wait for it; listen again, and list first`;
  return new DomainError("resourceExhausted", message);
}

function fromPodEvent({ type, id, at, sandbox, containers }: PodEvent): ContainerEventResponse {
  return {
    containerId: id,
    containerEventType: types[type],
    createdAt: toNanoseconds(at),
    podSandboxStatus: fromSandboxStatus(sandbox),
    containersStatuses: fromContainersOfPod(containers),
  };
}
