import { failedPrecondition, invalidArgument } from "../../lib/errors.ts";
import type { AppArmorProfile } from "../config.ts";
import type { HostFacts, Section } from "./input.ts";

/** The profile that an operator loads for containers that ask for the runtime's own, or for nothing. */
export const DEFAULT_APPARMOR_PROFILE = "nacelle-default";

/** Where the kernel lists what is loaded, one "name (mode)" a line. */
export const LOADED_PROFILES = "/sys/kernel/security/apparmor/profiles";

/**
 * The profile that a container's processes run under; none where they are unconfined. `loaded` is the text of
 * `LOADED_PROFILES`, empty without AppArmor. A promise that cannot be kept is refused, never dropped.
 */
export function buildAppArmor(
  asked: AppArmorProfile | undefined,
  privileged: boolean,
  host: Pick<HostFacts, "apparmor">,
  loaded: string,
): Section<string | undefined> {
  requireAppArmor(asked, host);
  const none = { value: undefined, notices: [] };
  const profiles = loadedProfiles(loaded);
  if (asked?.type === "localhost") return { value: requireLoaded(asked.name, profiles), notices: [] };
  // A privileged container is confined only by what it names.
  if (asked?.type === "unconfined" || !host.apparmor || privileged) return none;
  if (profiles.has(DEFAULT_APPARMOR_PROFILE)) return { value: DEFAULT_APPARMOR_PROFILE, notices: [] };
  const missing = `AppArmor profile ${DEFAULT_APPARMOR_PROFILE} is not loaded`;
  if (asked === undefined) return { value: undefined, notices: [`containers run unconfined by AppArmor: ${missing}`] };
  throw failedPrecondition(`apparmor asks for the default profile: ${missing}: load it with apparmor_parser`);
}

/** Throws `failedPrecondition` where a profile is asked for that no kernel without AppArmor can apply. */
export function requireAppArmor(asked: AppArmorProfile | undefined, host: Pick<HostFacts, "apparmor">): void {
  if (asked === undefined || asked.type === "unconfined" || host.apparmor) return;
  const what = asked.type === "localhost" ? `profile ${quote(asked.name)}` : "the default profile";
  throw failedPrecondition(
    `apparmor asks for ${what}: this kernel runs without AppArmor; ask for Unconfined or use another node`,
  );
}

function requireLoaded(name: string, profiles: ReadonlySet<string>): string {
  if (profiles.has(name)) return name;
  throw invalidArgument(
    `apparmor names ${quote(name)}, which is not loaded on this node: load it with apparmor_parser`,
  );
}

/** Names may hold anything, also " (". */
function loadedProfiles(text: string): ReadonlySet<string> {
  return new Set(text.split("\n").map((line) => line.replace(/ \([a-z ]+\)$/, "")));
}

function quote(text: string): string {
  return JSON.stringify(text.slice(0, 200));
}
