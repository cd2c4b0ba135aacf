import type { Config } from "../config/schema.ts";
import type { Handlers } from "../sandbox/handlers.ts";
import type { StatusPort } from "../server/ports.ts";
import { nacelleVersion } from "./version-command.ts";

interface NodeStatusPorts {
  readonly config: Config;
  readonly cgroupDriver: "cgroupfs" | "systemd";
  readonly handlers: Handlers;
  readonly network: StatusPort["network"];
  /** Why no sandbox can be made now; empty when one can. */
  readonly problem: () => string;
}

/** What Version, Status and RuntimeConfig answer, from memory. */
export class NodeStatus implements StatusPort {
  readonly version = nacelleVersion;
  readonly cgroupDriver: "cgroupfs" | "systemd";
  readonly #ports: NodeStatusPorts;
  #podCidr = "";

  constructor(ports: NodeStatusPorts) {
    this.#ports = ports;
    this.cgroupDriver = ports.cgroupDriver;
  }

  network(): { readonly ready: boolean; readonly reason: string; readonly message: string } {
    return this.#ports.network();
  }

  runtime(): { readonly ready: boolean; readonly reason: string; readonly message: string } {
    const message = this.#ports.problem() || this.#ports.handlers.find("")?.problem || "";
    return message === ""
      ? { ready: true, reason: "", message: "" }
      : { ready: false, reason: "RuntimeNotReady", message };
  }

  handlers(): readonly {
    readonly name: string;
    readonly recursiveReadOnlyMounts: boolean;
    readonly userNamespaces: boolean;
  }[] {
    const { handlers } = this.#ports;
    const usable = handlers.list().filter(({ problem }) => problem === "");
    const described = usable.map(({ handler, features, usersProblem }) => ({
      name: handler.name,
      recursiveReadOnlyMounts: features.recursiveReadOnlyMounts,
      userNamespaces: usersProblem === "",
    }));
    // A kubelet and critest look the default handler up under its empty name.
    const byDefault = described.find(({ name }) => name === handlers.defaultName);
    return byDefault === undefined ? described : [{ ...byDefault, name: "" }, ...described];
  }

  supplementalGroupsPolicy(): boolean {
    return true;
  }

  info(): Readonly<Record<string, string>> {
    const { config } = this.#ports;
    const shown = { ...config, sandboxImage: "", stateDir: config.root, podCidr: this.#podCidr };
    return { config: JSON.stringify(shown), version: JSON.stringify({ version: this.version, node: process.version }) };
  }

  setPodCidr(cidr: string): void {
    this.#podCidr = cidr;
  }
}
