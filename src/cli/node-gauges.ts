import { monitorEventLoopDelay } from "node:perf_hooks";
import { ContainerStore } from "../container/container-store.ts";
import { SandboxStore } from "../sandbox/sandbox-store.ts";
import type { Metrics } from "./metrics.ts";
import { countBy, launcherState } from "./node-state.ts";
import type { OpenNode } from "./open-node.ts";
import { nacelleVersion } from "./version-command.ts";

/** A delay shorter than this is not seen; each costs a timer. */
const LOOP_RESOLUTION_MS = 50;

/** Lets the metrics read what an open node holds, whenever somebody asks for them. */
export function nodeGauges(metrics: Metrics, { parts, daemon, images }: OpenNode): void {
  const { store, launcher } = parts;
  const sandboxes = new SandboxStore(store);
  const containers = new ContainerStore(store);
  const of = (all: readonly { readonly state: { readonly phase: string } }[]) =>
    countBy(all.map(({ state }) => state.phase));
  metrics.gauge("nacelle_build_info", "Always 1.", () => ({ [nacelleVersion]: 1 }), "version");
  metrics.gauge("nacelle_sandboxes", "Sandboxes by state.", () => of(sandboxes.list()), "state");
  metrics.gauge("nacelle_containers", "Containers by state.", () => of(containers.list()), "state");
  metrics.gauge("nacelle_monitors", "Monitors that are connected.", () => daemon.monitors.count);
  metrics.gauge(
    "nacelle_network_debts",
    "Networks that could not be given back yet.",
    () => daemon.debts.snapshot().length,
  );
  metrics.gauge("nacelle_discards", "What is still to be freed.", () => daemon.discards.snapshot().length);
  metrics.gauge("nacelle_event_clients", "Clients of GetContainerEvents.", () => daemon.events.subscribers);
  metrics.gauge(
    "nacelle_image_pulls_in_flight",
    "Images that are being pulled.",
    () => images.service.pulling().length,
  );
  metrics.gauge("nacelle_images", "Images that are here.", () => images.service.list().length);
  metrics.gauge("nacelle_image_bytes", "What image layers occupy.", () => images.service.fsInfo().images.usedBytes);
  metrics.counter("nacelle_state_commits_total", "Transactions of the state.", () => store.counts.commits);
  metrics.counter("nacelle_state_syncs_total", "Syncs of the state.", () => store.counts.syncs);
  metrics.gauge(
    "nacelle_launcher_operations",
    "Operations of the launcher: at work, waiting for their turn, and of an earlier launcher and unable to die.",
    async () => {
      const { operations, stuck } = await launcherState(launcher);
      const waiting = operations.filter((one) => one.waiting).length;
      return { working: operations.length - waiting, waiting, stuck: stuck.length };
    },
    "state",
  );
}

/** How late the event loop was since the last time somebody asked, and what the process takes. */
export function processGauges(metrics: Metrics): Disposable {
  const delays = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS });
  delays.enable();
  const read = () => {
    const [median, tail, max] = [delays.percentile(50), delays.percentile(99), delays.max];
    const seconds = (ns: number) => Math.max(0, ns / 1e9 - LOOP_RESOLUTION_MS / 1000);
    const reading = delays.count === 0 ? {} : { "0.5": seconds(median), "0.99": seconds(tail), "1": seconds(max) };
    delays.reset();
    return reading;
  };
  metrics.gauge(
    "nacelle_event_loop_delay_seconds",
    "How late the event loop was since the last reading.",
    read,
    "quantile",
  );
  metrics.gauge("process_resident_memory_bytes", "Resident memory.", () => process.memoryUsage.rss());
  metrics.counter("process_cpu_seconds_total", "Processor time, user and system.", () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e6;
  });
  const started = performance.timeOrigin / 1000;
  metrics.gauge("process_start_time_seconds", "When the process was started, since 1970.", () => started);
  return { [Symbol.dispose]: () => void delays.disable() };
}
