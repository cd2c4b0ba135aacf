import type { HostFacts, SpecPolicy } from "../oci/spec/input.ts";

/** What was read from the host at start-up. */
export interface Host {
  readonly facts: HostFacts;
  readonly policy: SpecPolicy;
  /** Text of /proc/self/mountinfo. */
  readonly mountinfo: string;
  /** /etc/resolv.conf as it is now. */
  readonly resolvConf: Buffer;
  /** Logs what cannot be honoured here, each sentence once. */
  readonly notice: (text: string) => void;
}
