import { basename } from "node:path";
import type { Operation, OperationOptions, Operations, RunRequest, RunResult } from "../launcher/operations.ts";
import type { Metrics } from "./metrics.ts";

/** The operations of CNI plugins, each run of which is measured. */
export class MeasuredPlugins implements Operations {
  readonly #operations: Operations;
  readonly #metrics: Pick<Metrics, "plugin">;

  constructor(operations: Operations, metrics: Pick<Metrics, "plugin">) {
    this.#operations = operations;
    this.#metrics = metrics;
  }

  perform(operations: readonly Operation[], options: OperationOptions): Promise<readonly Buffer[]> {
    return this.#operations.perform(operations, options);
  }

  async run(request: RunRequest, signal?: AbortSignal): Promise<RunResult> {
    const since = performance.now();
    let isError = true;
    try {
      const result = await this.#operations.run(request, signal);
      isError = result.outcome !== "exited" || result.status !== 0;
      return result;
    } finally {
      const [plugin, operation] = [basename(request.argv[0] ?? ""), request.env.CNI_COMMAND ?? ""];
      this.#metrics.plugin(plugin, operation, (performance.now() - since) / 1000, isError);
    }
  }
}
