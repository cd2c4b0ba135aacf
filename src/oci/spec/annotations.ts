import type { SandboxConfig } from "../config.ts";
import type { SpecInput } from "./input.ts";

const PREFIX = "io.kubernetes.cri.";

/** What sandboxed runtimes (gVisor, Kata) read to tell a pod's first container from the others. */
function sandboxAnnotations(kind: "sandbox" | "container", sandboxId: string, { metadata }: SandboxConfig) {
  return {
    [`${PREFIX}container-type`]: kind,
    [`${PREFIX}sandbox-id`]: sandboxId,
    [`${PREFIX}sandbox-name`]: metadata.name,
    [`${PREFIX}sandbox-namespace`]: metadata.namespace,
    [`${PREFIX}sandbox-uid`]: metadata.uid,
  };
}

/** Ours, and of the request's only those that the handler's configuration lets through: an annotation can command a runtime. */
export function containerAnnotations(input: SpecInput): Readonly<Record<string, string>> {
  const allowed = allowedOnly(
    { ...input.sandbox.annotations, ...input.config.annotations },
    input.runtime.allowedAnnotations,
  );
  return {
    ...allowed,
    ...sandboxAnnotations("container", input.sandboxId, input.sandbox),
    [`${PREFIX}container-name`]: input.config.metadata.name,
    [`${PREFIX}image-name`]: input.config.image.userSpecifiedImage || input.config.image.image,
  };
}

/** The same for a sandbox's own process. */
export function pauseAnnotations(
  { sandboxId, sandbox }: Pick<SpecInput, "sandboxId" | "sandbox">,
  allowed: readonly string[],
): Readonly<Record<string, string>> {
  return {
    ...allowedOnly(sandbox.annotations, allowed),
    ...sandboxAnnotations("sandbox", sandboxId, sandbox),
  };
}

function allowedOnly(annotations: Readonly<Record<string, string>>, patterns: readonly string[]) {
  const passes = (name: string) =>
    patterns.some((pattern) => (pattern.endsWith("*") ? name.startsWith(pattern.slice(0, -1)) : name === pattern));
  return Object.fromEntries(Object.entries(annotations).filter(([name]) => passes(name)));
}
