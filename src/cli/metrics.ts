import { Counter, Gauge, Histogram, Registry } from "prom-client";
import { type Measure, onMeasure } from "../lib/measures.ts";
import type { CallRecord } from "../server/handler.ts";
import type { MetricsText } from "./admin-server.ts";

/** From what a list takes to what a pull may. */
const CALL_SECONDS = [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300];
const WORK_SECONDS = [0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 180];

/** Values of one gauge: one number, or one per value of its label. */
export type Reading = number | Readonly<Record<string, number>>;

/**
 * What is counted and measured, for Prometheus. Labels are of closed sets (methods, codes, stages, configured plugins and
 * handlers): never names or ids of pods.
 */
export class Metrics implements Disposable {
  readonly #registry = new Registry();
  readonly #listening: Disposable;
  readonly #calls = new Counter({
    ...{ name: "nacelle_rpc_total", help: "Calls that were answered, by their status." },
    ...{ labelNames: ["method", "code"], registers: [this.#registry] },
  });
  readonly #callSeconds = new Histogram({
    ...{ name: "nacelle_rpc_duration_seconds", help: "How long calls took, whatever their answer." },
    ...{ labelNames: ["method"], buckets: CALL_SECONDS, registers: [this.#registry] },
  });
  readonly #stageSeconds = new Histogram({
    ...{
      name: "nacelle_creation_stage_duration_seconds",
      help: "How long the making of sandboxes and containers was at each stage.",
    },
    ...{ labelNames: ["kind", "stage"], buckets: WORK_SECONDS, registers: [this.#registry] },
  });
  readonly #pluginSeconds = new Histogram({
    ...{ name: "nacelle_cni_plugin_duration_seconds", help: "How long CNI plugins took." },
    ...{ labelNames: ["plugin", "operation"], buckets: WORK_SECONDS, registers: [this.#registry] },
  });
  readonly #pluginErrors = new Counter({
    ...{ name: "nacelle_cni_plugin_errors_total", help: "Runs of CNI plugins that failed." },
    ...{ labelNames: ["plugin", "operation"], registers: [this.#registry] },
  });
  readonly #layerSeconds = new Histogram({
    ...{ name: "nacelle_image_layer_duration_seconds", help: "How long fetching and unpacking a layer took." },
    ...{ buckets: CALL_SECONDS, registers: [this.#registry] },
  });
  readonly #layerBytes = new Counter({
    ...{ name: "nacelle_image_pulled_bytes_total", help: "Compressed bytes of the layers that were fetched." },
    ...{ registers: [this.#registry] },
  });
  readonly #logErrors = new Counter({
    ...{ name: "nacelle_container_log_errors_total", help: "How often a container's log became unwritable." },
    ...{ registers: [this.#registry] },
  });
  readonly #logLostBytes = new Counter({
    ...{
      name: "nacelle_container_log_lost_bytes_total",
      help: "What containers printed while their logs were unwritable.",
    },
    ...{ registers: [this.#registry] },
  });
  readonly #logLostLines = new Counter({
    ...{
      name: "nacelle_container_log_lost_lines_total",
      help: "Lines of which something was lost while logs were unwritable.",
    },
    ...{ registers: [this.#registry] },
  });
  readonly #logLimits = new Counter({
    ...{ name: "nacelle_container_log_limits_total", help: "How often the file of a log has reached a limit." },
    ...{ labelNames: ["limit"], registers: [this.#registry] },
  });

  readonly #oomKills = new Counter({
    ...{
      name: "nacelle_container_oom_kills_total",
      help: "Processes of containers that the kernel killed for memory.",
    },
    ...{ registers: [this.#registry] },
  });

  constructor() {
    this.#listening = onMeasure((measure) => this.#measure(measure));
  }

  /** A call has ended. */
  call({ method, code, ms }: CallRecord): void {
    this.#calls.inc({ method, code });
    // A stream of events lasts for as long as its client does.
    if (method !== "GetContainerEvents") this.#callSeconds.observe({ method }, ms / 1000);
  }

  /** A plugin was run. */
  plugin(plugin: string, operation: string, seconds: number, isError: boolean): void {
    this.#pluginSeconds.observe({ plugin, operation }, seconds);
    if (isError) this.#pluginErrors.inc({ plugin, operation });
  }

  /** A number that is read whenever somebody asks for the metrics. `label` names what the keys of a reading are. */
  gauge(name: string, help: string, read: () => Reading | Promise<Reading>, label?: string): void {
    new Gauge({
      ...{ name, help, labelNames: label === undefined ? [] : [label], registers: [this.#registry] },
      async collect() {
        const reading = await read();
        this.reset();
        if (typeof reading === "number") this.set(reading);
        else for (const [key, value] of Object.entries(reading)) this.set({ [label ?? ""]: key }, value);
      },
    });
  }

  /** As `gauge`, of a number that only grows. */
  counter(name: string, help: string, read: () => number): void {
    new Counter({
      ...{ name, help, registers: [this.#registry] },
      collect() {
        this.reset();
        this.inc(read());
      },
    });
  }

  async read(): Promise<MetricsText> {
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() };
  }

  [Symbol.dispose](): void {
    this.#listening[Symbol.dispose]();
  }

  #measure(measure: Measure): void {
    switch (measure.kind) {
      case "stage":
        this.#stageSeconds.observe({ kind: measure.of, stage: measure.stage }, measure.seconds);
        return;
      case "layer":
        this.#layerSeconds.observe(measure.seconds);
        this.#layerBytes.inc(measure.bytes);
        return;
      case "logError":
        this.#logErrors.inc();
        return;
      case "logRecovered":
        this.#logLostBytes.inc(measure.lostBytes);
        this.#logLostLines.inc(measure.lostLines);
        return;
      case "logLimit":
        this.#logLimits.inc({ limit: measure.limit });
        return;
      case "oomKills":
        this.#oomKills.inc(measure.count);
    }
  }
}
