import type { ClientReadableStream, ServiceError } from "@grpc/grpc-js";
import type { PodEvent } from "../harness/cri-answers.ts";
import type { CriClient } from "../harness/cri-client.ts";

interface Waiter {
  readonly fits: (event: PodEvent) => boolean;
  readonly found: PromiseWithResolvers<PodEvent>;
}

/** Everything that one subscriber of GetContainerEvents was told. Disposing it ends the subscription. */
export class EventLog implements Disposable {
  readonly events: PodEvent[] = [];
  readonly #stream: ClientReadableStream<PodEvent>;
  readonly #ended = Promise.withResolvers<ServiceError>();
  readonly #waiters = new Set<Waiter>();

  private constructor(stream: ClientReadableStream<PodEvent>) {
    this.#stream = stream;
    stream.on("data", (event: PodEvent) => {
      this.events.push(event);
      for (const { fits, found } of this.#waiters) if (fits(event)) found.resolve(event);
    });
    stream.on("error", (error: ServiceError) => {
      this.#ended.resolve(error);
      for (const { found } of this.#waiters) found.reject(error);
    });
  }

  /** Resolves when every event that happens from now on will be told. */
  static async open(cri: CriClient): Promise<EventLog> {
    return new EventLog(await cri.open<PodEvent>("GetContainerEvents", {}));
  }

  /** The error that the stream ended with: there is no other end. */
  get ended(): Promise<ServiceError> {
    return this.#ended.promise;
  }

  /** Resolves with the first event that fits, past or to come; rejects when the stream ends before that. */
  async until(id: string, type: "CREATED" | "STARTED" | "STOPPED" | "DELETED"): Promise<PodEvent> {
    const fits = (event: PodEvent) => event.containerId === id && shortType(event) === type;
    const past = this.events.find(fits);
    if (past !== undefined) return past;
    const waiter: Waiter = { fits, found: Promise.withResolvers() };
    this.#waiters.add(waiter);
    return await waiter.found.promise.finally(() => this.#waiters.delete(waiter));
  }

  /** What was told of one sandbox or container, in order. */
  typesOf(id: string): readonly string[] {
    return this.events.filter(({ containerId }) => containerId === id).map(shortType);
  }

  [Symbol.dispose](): void {
    this.#stream.cancel();
  }
}

/** "CREATED" for CONTAINER_CREATED_EVENT. */
export function shortType({ containerEventType }: PodEvent): string {
  return containerEventType.replace(/^CONTAINER_|_EVENT$/g, "");
}
