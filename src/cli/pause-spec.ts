import { hostname } from "node:os";
import { pickOciVersion } from "../oci/handler.ts";
import { buildPauseSpec } from "../oci/spec/pause.ts";
import type { OciSpec } from "../oci/spec/types.ts";
import { pauseNamespaces } from "../sandbox/namespaces.ts";
import type { Sandbox } from "../sandbox/sandbox.ts";
import { sandboxHostname } from "../sandbox/sandbox-files.ts";
import { usersOf } from "../sandbox/users.ts";
import type { DaemonParts } from "./daemon-parts.ts";

type Sysctls = (sandbox: Pick<Sandbox, "config">) => readonly (readonly [string, string])[];

/** The spec of a sandbox's pause process on this host. */
export function pauseSpec(
  { paths, handlers, host, cgroups }: DaemonParts,
  sysctls: Sysctls,
): (sandbox: Sandbox) => OciSpec {
  return (sandbox) => {
    const { handler, features } = handlers.requireOf(sandbox);
    const { spec, notices } = buildPauseSpec({
      sandboxId: sandbox.id,
      sandbox: sandbox.config,
      rootfs: paths.pauseRootOf(sandbox.id, usersOf(sandbox.config) !== undefined),
      namespaces: pauseNamespaces(paths, sandbox),
      hostname: sandboxHostname(sandbox.config) ?? hostname(),
      sysctls: sysctls(sandbox),
      cgroupsPath: cgroups.specPath(sandbox, sandbox.id),
      runtime: { ociVersion: pickOciVersion(features), features, allowedAnnotations: handler.allowedAnnotations },
      host: host.facts,
    });
    for (const notice of notices) host.notice(notice);
    return spec;
  };
}
