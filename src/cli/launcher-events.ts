import type { LauncherSupervisor } from "../launcher/launcher-supervisor.ts";
import type { LauncherPort } from "../sandbox/monitors.ts";
import type { Ending } from "../sandbox/process.ts";

/** What the launcher tells; filled in once somebody listens. What comes before is told to nobody: nothing is watched yet. */
export class LauncherEvents {
  onExited: (key: string, ending: Ending | undefined) => void = () => undefined;
  onRestarted: () => void = () => undefined;
}

/** The launcher in the words of the monitors. */
export function monitorLauncher(launcher: LauncherSupervisor): LauncherPort {
  return {
    startMonitor: async (options) => {
      const { pid, startTime } = await (await launcher.current).startMonitor(options);
      return { pid, startTime: startTime.toString() };
    },
    watch: async (key, { pid, startTime }) => (await launcher.current).watch(key, pid, BigInt(startTime)),
    unwatch: (key) => {
      // A launcher that is gone watches nothing.
      void launcher.current.then((current) => current.unwatch(key)).catch(() => undefined);
    },
    kill: async ({ pid, startTime }, signal) => (await launcher.current).kill(pid, BigInt(startTime), signal),
    makeDirectories: async (sandboxId, dirs) => {
      const make = dirs.map((path) => ({ op: "mkdir", path, mode: 0o700, parents: true }) as const);
      await launcher.perform(make, { owner: sandboxId, what: "making directories", deadlineMs: 10_000 });
    },
  };
}
