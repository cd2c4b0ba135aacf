import type { NodeState, ServerIdentity } from "./node-state.ts";

/** `GET /state` as it may come from a server that is starting, or wiping. */
export type ShownState = ServerIdentity | NodeState;

/** What `nacelle status` prints: what it is, then only what there is to say. `nowMs` is since the epoch. */
export function statusPage(state: ShownState, nowMs: number): string {
  const lines = [...identityLines(state, nowMs), ...("epoch" in state ? nodeLines(state, nowMs) : [])];
  return `${lines.join("\n")}\n`;
}

/** The page without what changes by the mere passing of time: two states that read alike are the same. */
export function statusKey(state: ShownState): string {
  return JSON.stringify(state, (key, value: unknown) => (key === "seconds" || key === "stateBytes" ? 0 : value));
}

function identityLines(state: ShownState, nowMs: number): readonly string[] {
  const { version, pid, started, listen, root, phase } = state;
  const upSeconds = (nowMs - Temporal.Instant.from(started).epochMilliseconds) / 1000;
  return [
    `nacelle ${version}  ${phase}, pid ${pid}, up ${duration(upSeconds)}`,
    row("serves", listen),
    row("keeps", root),
  ];
}

function nodeLines(state: NodeState, nowMs: number): readonly string[] {
  const { network, handlers, sandboxes, containers, monitors, disk } = state;
  const { images, stateBytes } = disk;
  const usable = handlers.filter(({ problem }) => problem === "");
  return [
    row("network", network.ready ? "ready" : `NOT READY: ${network.message}`),
    ...network.skipped.map(({ name, reason }) => row("", `skipped ${name}: ${reason}`)),
    row("runtimes", usable.map(({ name, isDefault }) => (isDefault ? `${name} (default)` : name)).join(", ") || "NONE"),
    ...handlers.flatMap(({ problem }) => (problem === "" ? [] : [row("", problem)])),
    row("sandboxes", `${counts(sandboxes)}; ${monitors} ${monitors === 1 ? "monitor" : "monitors"}`),
    row("containers", counts(containers)),
    row("disk", `${images.count} images ${bytes(images.bytes)}, ${images.inodes} inodes; state ${bytes(stateBytes)}`),
    ...troubleLines(state),
    ...workLines(state),
    ...owedLines(state, nowMs),
  ];
}

function troubleLines({ troubles }: NodeState): readonly string[] {
  const words = {
    "cannot end": (since: string) => `was killed ${since} ago and cannot end: a process of it waits in the kernel`,
    "log hangs": (since: string) => `the disk of its log has not answered for ${since}`,
  };
  return section(
    "containers in trouble",
    troubles.map(({ containerId, trouble, seconds }) => `${short(containerId)}: ${words[trouble](duration(seconds))}`),
  );
}

function workLines({ creations, calls, launcher, pulls }: NodeState): readonly string[] {
  const work = [
    ...creations.map(
      ({ kind, name, stage, seconds, waiters }) =>
        `creating ${kind} ${name}: ${stage} for ${duration(seconds)} (${waiters} waiting)`,
    ),
    ...calls,
    ...pulls.map((reference) => `pulling ${reference}`),
    ...launcher.operations.map(
      ({ owner, what, seconds, waiting }) =>
        `${what} for ${short(owner)}: ${waiting ? "waits for its turn" : "runs"} for ${duration(seconds)}`,
    ),
  ];
  return [
    ...section("in flight", work),
    ...(launcher.pid === 0 ? ["", "the launcher is being started again"] : []),
    ...section(
      "stuck in the kernel since an earlier server",
      launcher.stuck.map((owner) => `an operation for ${short(owner)}`),
    ),
  ];
}

function owedLines({ debts, discards }: NodeState, nowMs: number): readonly string[] {
  return [
    ...section(
      "network debts",
      debts.map(
        ({ sandboxId, networkName, sinceMs, attempts, lastError, paying }) =>
          `${short(sandboxId)} in ${networkName}: owed for ${duration((nowMs - sinceMs) / 1000)}, ` +
          `${attempts} ${attempts === 1 ? "attempt" : "attempts"}${paying ? ", being paid" : ""}${because(lastError)}`,
      ),
    ),
    ...section(
      "still to be freed",
      discards.map(
        ({ key, attempts, lastError }) =>
          `${key}: ${attempts === 0 ? "now" : `failed ${attempts} times`}${because(lastError)}`,
      ),
    ),
  ];
}

function section(title: string, lines: readonly string[]): readonly string[] {
  return lines.length === 0 ? [] : ["", `${title}:`, ...lines.map((line) => `  ${line}`)];
}

function row(name: string, value: string): string {
  return `${name.padEnd(12)}${value}`;
}

function because(error: string): string {
  return error === "" ? "" : `: ${error}`;
}

function counts(byPhase: Readonly<Record<string, number>>): string {
  const parts = Object.entries(byPhase).map(([phase, count]) => `${count} ${phase}`);
  return parts.length === 0 ? "none" : parts.join(", ");
}

/** The length at which ids are known to people. */
function short(owner: string): string {
  return /^[0-9a-f]{64}$/.test(owner) ? owner.slice(0, 13) : owner;
}

/** "7 s", "3 min 20 s", "2 h 5 min", "9 d 4 h". */
export function duration(seconds: number): string {
  const whole = Math.max(0, Math.floor(seconds));
  const units = [
    [86_400, "d"],
    [3_600, "h"],
    [60, "min"],
    [1, "s"],
  ] as const;
  const first = units.findIndex(([size]) => whole >= size);
  if (first === -1) return "0 s";
  const [size, name] = units[first] ?? [1, "s"];
  const next = units[first + 1];
  const rest = next === undefined ? 0 : Math.floor((whole % size) / next[0]);
  return `${Math.floor(whole / size)} ${name}${next === undefined || rest === 0 ? "" : ` ${rest} ${next[1]}`}`;
}

/** "0 B", "12 KiB", "3.4 GiB". */
export function bytes(count: number): string {
  let value = count;
  let unit = 0;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}
