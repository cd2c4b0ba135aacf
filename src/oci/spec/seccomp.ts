import { failedPrecondition } from "../../lib/errors.ts";
import type { SeccompProfile } from "../config.ts";
import { defaultSeccompProfile } from "../seccomp/default-profile.ts";
import { parseSeccompProfile } from "../seccomp/profile.ts";
import type { HostFacts, Section } from "./input.ts";
import type { OciSeccomp } from "./types.ts";

/**
 * The filter of a container with these capabilities; none when unconfined or privileged.
 * `text` is the localhost profile's. Throws when a profile of the request's own cannot be honoured.
 */
export function buildSeccomp(
  profile: SeccompProfile,
  privileged: boolean,
  capabilities: readonly string[],
  host: Pick<HostFacts, "arch" | "kernel" | "seccomp">,
  text: string | undefined,
): Section<OciSeccomp | undefined> {
  if (privileged || profile.type === "unconfined") return { value: undefined, notices: [] };
  const held = new Set(capabilities);
  if (profile.type === "runtimeDefault") {
    if (host.seccomp) return { value: defaultSeccompProfile(host.arch, held), notices: [] };
    return {
      value: undefined,
      notices: ["containers run without the default seccomp profile: this kernel has no seccomp"],
    };
  }
  const where = `seccomp profile ${JSON.stringify(profile.localhostRef.slice(0, 200))}`;
  if (!host.seccomp) throw failedPrecondition(`${where} cannot be applied: this kernel has no seccomp`);
  if (text === undefined) throw failedPrecondition(`${where} was not read`);
  const context = { arch: host.arch, capabilities: held, kernel: host.kernel };
  return { value: parseSeccompProfile(profile.localhostRef, text, context), notices: [] };
}
