/**
 * Preloaded into a server under test (NODE_OPTIONS=--import). It counts the steps that the server publishes (commits,
 * frames sent, frames received) and kills a process at the k-th. SIGUSR2 makes it read its orders anew and start
 * counting; then it says so by a file, because a signal has no answer.
 */
import { subscribe } from "node:diagnostics_channel";
import { appendFileSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { isMainThread } from "node:worker_threads";

/** What to do, written by the test as `orders.json` into NACELLE_FAULTS. */
export interface Orders {
  readonly victim: "daemon" | "launcher" | "monitor" | "nobody";
  /** Counted from 1; 0: never, but write down what each step is. */
  readonly at: number;
  readonly runDir: string;
}

const folder = process.env["NACELLE_FAULTS"];
if (isMainThread && folder !== undefined) {
  let orders: Orders = { victim: "nobody", at: -1, runDir: "" };
  let count = 0;
  process.on("SIGUSR2", () => {
    orders = JSON.parse(readFileSync(join(folder, "orders.json"), "utf8"));
    count = 0;
    writeFileSync(join(folder, "armed"), "");
  });
  subscribe("nacelle.step", (message) => {
    if (orders.at < 0) return;
    count += 1;
    if (orders.at === 0) appendFileSync(join(folder, "trace"), `${JSON.stringify(message)}\n`);
    if (count !== orders.at) return;
    writeFileSync(join(folder, "killed"), "");
    kill(orders);
  });
}

function kill({ victim, runDir }: Orders): void {
  if (victim === "daemon") process.kill(process.pid, "SIGKILL");
  const launcher = Number(readFileSync(join(runDir, "launcher"), "utf8").split(" ", 1)[0]);
  if (victim === "launcher") process.kill(launcher, "SIGKILL");
  if (victim === "monitor") for (const pid of named("nacelle-monitor")) process.kill(pid, "SIGKILL");
}

/** Processes of this PID namespace by the name that they gave themselves. */
function named(name: string): number[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry) && commandName(entry) === name)
    .map(Number);
}

function commandName(pid: string): string {
  try {
    return readFileSync(join("/proc", pid, "comm"), "utf8").trim();
  } catch {
    return ""; // it ended while it was looked at
  }
}
