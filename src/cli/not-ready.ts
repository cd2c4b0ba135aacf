import type { Config } from "../config/schema.ts";
import { DomainError } from "../lib/errors.ts";
import type { AdminPorts } from "./admin-server.ts";
import { serverIdentity } from "./node-state.ts";

/** The administrative interface of a process that does something else with the node than serve, or does not serve yet. */
export function notReady(config: Config, phase: string): AdminPorts {
  const refuse = () => Promise.reject(new DomainError("unavailable", `not ready: ${phase}`));
  const state = () => Promise.resolve(serverIdentity(config, phase));
  return { health: refuse, state, metrics: refuse, importImages: refuse };
}
