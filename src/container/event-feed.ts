import { DomainError, messageOf } from "../lib/errors.ts";
import type { PodEvents, PodEventType } from "../sandbox/pod-events.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { type Container, isListed } from "./container.ts";
import type { ContainerStore } from "./container-store.ts";

/** Something that happened, with its pod as it was at that moment. */
export interface PodEvent {
  readonly type: PodEventType;
  /** Of the container, or of the sandbox itself. */
  readonly id: string;
  /** Later than that of every event and status before it. */
  readonly at: Temporal.Instant;
  readonly sandbox: Sandbox;
  /** All listed containers of the sandbox. */
  readonly containers: readonly Container[];
}

/** Both are called within the transition that they tell of: they must return at once. */
export interface Subscriber {
  next(event: PodEvent): void;
  /** No more events will come, and why. */
  end(reason: DomainError): void;
}

export interface EventFeedPorts {
  readonly containers: Pick<ContainerStore, "ofSandbox">;
  /** Grows with every reading; statuses are stamped by the same clock. */
  readonly now: () => Temporal.Instant;
}

const MAX_SUBSCRIBERS = 64;

/** Hands every event to everyone who listens, in order. There is no history: who comes later lists first. */
export class EventFeed implements PodEvents, Disposable {
  readonly #ports: EventFeedPorts;
  readonly #subscribers = new Set<Subscriber>();
  #closed = false;

  constructor(ports: EventFeedPorts) {
    this.#ports = ports;
  }

  /** The time of a status: the next event is later. */
  now(): Temporal.Instant {
    return this.#ports.now();
  }

  get subscribers(): number {
    return this.#subscribers.size;
  }

  /** Events from now on, until the result is disposed. Throws `unavailable` when the server stops, `resourceExhausted` past 64. */
  subscribe(subscriber: Subscriber): Disposable {
    if (this.#closed) throw stopping();
    if (this.#subscribers.size >= MAX_SUBSCRIBERS) {
      throw new DomainError("resourceExhausted", `${MAX_SUBSCRIBERS} clients listen to events already`);
    }
    this.#subscribers.add(subscriber);
    return { [Symbol.dispose]: () => void this.#subscribers.delete(subscriber) };
  }

  emit(type: PodEventType, id: string, sandbox: Sandbox): void {
    if (this.#subscribers.size === 0) return;
    const containers = this.#ports.containers.ofSandbox(sandbox.id).filter(isListed);
    const event: PodEvent = { type, id, at: this.#ports.now(), sandbox, containers };
    for (const subscriber of this.#subscribers) this.#hand(subscriber, event);
  }

  /** Ends every subscription, and refuses new ones: the server stops. */
  [Symbol.dispose](): void {
    this.#closed = true;
    for (const subscriber of this.#subscribers) subscriber.end(stopping());
    this.#subscribers.clear();
  }

  /** One who cannot take an event does not keep it from the others, nor undo what has happened. */
  #hand(subscriber: Subscriber, event: PodEvent): void {
    try {
      subscriber.next(event);
    } catch (error) {
      this.#subscribers.delete(subscriber);
      subscriber.end(new DomainError("internal", `the event cannot be told: ${messageOf(error)}`, { cause: error }));
    }
  }
}

function stopping(): DomainError {
  return new DomainError("unavailable", "the server is stopping; listen again when it is back, and list first");
}
