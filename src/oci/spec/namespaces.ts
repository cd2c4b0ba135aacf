import { invalidArgument } from "../../lib/errors.ts";
import type { NamespaceChoice, NamespaceChoices } from "./input.ts";
import type { OciNamespace } from "./types.ts";

type Kind = OciNamespace["type"];

/** The list of namespaces to make or join; what is the host's is left out. `ownCgroup` hides the host's cgroup tree (v2 only). */
export function buildNamespaces(choices: NamespaceChoices, ownCgroup: boolean): readonly OciNamespace[] {
  return [
    { type: "mount" },
    ...entry("pid", choices.pid),
    ...entry("ipc", choices.ipc),
    ...entry("uts", choices.uts),
    ...entry("network", choices.network),
    ...entry("user", choices.user),
    ...(ownCgroup ? ([{ type: "cgroup" }] as const) : []),
  ];
}

function entry(type: Kind, choice: NamespaceChoice): readonly OciNamespace[] {
  if (choice === "host") return [];
  if (choice === "new") return [{ type }];
  if (choice.startsWith("/")) return [{ type, path: choice }];
  throw invalidArgument(`${type} namespace ${JSON.stringify(choice)} is neither "new", "host" nor an absolute path`);
}
