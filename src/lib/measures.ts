import { channel } from "node:diagnostics_channel";

/** Something that took time or went wrong, for metrics. Names in it are few: never of a pod, an image or a path. */
export type Measure =
  /** A creation was at this stage. */
  | { readonly kind: "stage"; readonly of: string; readonly stage: string; readonly seconds: number }
  /** A layer was fetched and unpacked: its compressed size. */
  | { readonly kind: "layer"; readonly bytes: number; readonly seconds: number }
  /** A monitor could not write a container's log any more. */
  | { readonly kind: "logError" }
  /** It can again, and this is what was lost. */
  | { readonly kind: "logRecovered"; readonly lostBytes: number; readonly lostLines: number }
  /** The file of a container's log has reached a limit. */
  | { readonly kind: "logLimit"; readonly limit: "soft" | "hard" }
  /** So many processes of containers were killed for memory. */
  | { readonly kind: "oomKills"; readonly count: number };

const measures = channel("nacelle.measure");

/** Publishes on the channel "nacelle.measure". Costs one comparison when nobody listens. */
export function measured(measure: Measure): void {
  if (measures.hasSubscribers) measures.publish(measure);
}

/** Every measure from now on, until the result is disposed. `listener` runs within what it measures and must not throw. */
export function onMeasure(listener: (measure: Measure) => void): Disposable {
  const listen = (message: unknown) => listener(message as Measure);
  measures.subscribe(listen);
  return { [Symbol.dispose]: () => void measures.unsubscribe(listen) };
}
