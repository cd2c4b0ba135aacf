import type { Launcher } from "../launcher/launcher.ts";
import { messageOf } from "../lib/errors.ts";
import type { Log } from "../lib/log.ts";

export interface ServiceManagerPorts {
  readonly launcher: { readonly current: Promise<Pick<Launcher, "notify">> };
  /** Rejects when the server is not well: then the manager is told nothing, and ends it when it has waited for long enough. */
  readonly health: () => Promise<void>;
  readonly log: Pick<Log, "warn">;
}

/** Where a service manager listens, and how often it must hear that all is well. */
export interface ServiceManagerSettings {
  /** A path, or "@name" for an abstract socket. */
  readonly socket: string;
  /** 0: it does not watch. */
  readonly watchdogMs: number;
}

/** Takes what a service manager has put into the environment (sd_notify(3)), so that nothing that is executed inherits it. */
export function takeSettings(env: NodeJS.ProcessEnv, pid: number): ServiceManagerSettings | undefined {
  const { NOTIFY_SOCKET: socket = "", WATCHDOG_USEC: usec = "", WATCHDOG_PID: watched = "" } = env;
  for (const name of ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"]) delete env[name];
  if (!/^[/@]./.test(socket)) return undefined;
  const isWatched = watched === "" || Number(watched) === pid;
  const watchdogMs = isWatched && /^\d{1,15}$/.test(usec) ? Math.floor(Number(usec) / 1000) : 0;
  return { socket, watchdogMs };
}

/** Tells a service manager how the server is. Node has no sockets for that: the launcher carries it. Never throws. */
export class ServiceManager implements Disposable {
  readonly #settings: ServiceManagerSettings | undefined;
  readonly #ports: ServiceManagerPorts;
  #timer: NodeJS.Timeout | undefined;
  #isAsking = false;

  /** Without settings nobody is told anything. */
  constructor(settings: ServiceManagerSettings | undefined, ports: ServiceManagerPorts) {
    this.#settings = settings;
    this.#ports = ports;
  }

  /** The server answers; from now on the manager hears at half its interval that it still does. */
  async ready(status: string): Promise<void> {
    await this.#tell(`READY=1\nSTATUS=${status}`);
    const { watchdogMs = 0 } = this.#settings ?? {};
    if (watchdogMs > 0) this.#timer = setInterval(() => void this.#feed(), Math.max(1, watchdogMs / 2));
    this.#timer?.unref();
  }

  async stopping(): Promise<void> {
    await this.#tell("STOPPING=1");
  }

  [Symbol.dispose](): void {
    clearInterval(this.#timer);
  }

  /** That this runs says that the event loop turns. */
  async #feed(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      await this.#ports.health();
      await this.#tell("WATCHDOG=1");
    } catch (error) {
      this.#ports.log.warn("not well: the watchdog is not fed", { error: messageOf(error) });
    } finally {
      this.#isAsking = false;
    }
  }

  async #tell(text: string): Promise<void> {
    if (this.#settings === undefined) return;
    try {
      await (await this.#ports.launcher.current).notify(this.#settings.socket, text);
    } catch (error) {
      const fields = { socket: this.#settings.socket, error: messageOf(error) };
      this.#ports.log.warn("the service manager cannot be told", fields);
    }
  }
}
