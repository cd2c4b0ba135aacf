import { existsSync, renameSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { Monitor } from "../../src/monitor/monitor.ts";
import { MonitorError } from "../../src/monitor/monitor-error.ts";

/**
 * rotator SOCKET EPOCH ID LOG: a daemon that does nothing but rotate a container's log ten times a second, until it is
 * killed or the container ends. Says "ready", "rotated" each time, and "exited" at the end.
 */
const [socketPath = "", epoch = "", id = "", log = ""] = process.argv.slice(2);
const say = (line: string) => process.stdout.write(`${line}\n`);
const ended = Promise.withResolvers<boolean>();

const monitor = await Monitor.connect({
  socketPath,
  epoch: BigInt(epoch),
  onExit: () => ended.resolve(true),
  onLost: (error) => ended.reject(error),
});
const [container] = await monitor.snapshot();
if (container?.state === "exited") ended.resolve(true);
// What an earlier one had begun is brought to its end.
if (container?.state === "running") await reopen();
say("ready");
for (let count = 0; !(await Promise.race([ended.promise, delay(100, false)])); count += 1) {
  if (!existsSync(log)) continue;
  renameSync(log, `${log}.${epoch.padStart(6, "0")}.${String(count).padStart(6, "0")}`);
  await reopen();
  say("rotated");
}
say("exited");
monitor.close();

/** The container may have ended meanwhile; that is told by its EXIT. */
async function reopen(): Promise<void> {
  try {
    await monitor.reopenLog(id);
  } catch (error) {
    if (!(error instanceof MonitorError && error.monitorCode === "WRONG_STATE")) throw error;
  }
}
