import { didYouMean } from "../config/nearest.ts";
import { invalidArgument } from "../lib/errors.ts";
import { parseQuantity } from "../lib/quantity.ts";
import type { LogLimits } from "../monitor/protocol.ts";
import type { ContainerConfig, SandboxConfig } from "../oci/config.ts";

interface Asked {
  readonly annotation: string;
  readonly text: string;
}
type Ask = (name: (typeof NAMES)[number]) => Asked | undefined;

const PREFIX = "nacelle.dev/log-";
const NAMES = ["soft-limit", "hard-limit", "policy", "rate"] as const;
const POLICIES = ["drop", "block", "rate"] as const;
const MOST_BYTES = 2 ** 50;

/**
 * What holds for a container's log: the node's limits, and those that the container's or the pod's annotations ask for
 * where they are stricter. Who may write a pod's annotations is not who runs the node: nothing can be lifted by them.
 * Throws `invalidArgument` that names the annotation; one of this kind that has no meaning is refused, too.
 */
export function logLimits(
  node: LogLimits,
  pod: Pick<SandboxConfig, "annotations">,
  container: Pick<ContainerConfig, "metadata" | "annotations">,
): LogLimits {
  for (const annotation of Object.keys(container.annotations)) requireKnown(annotation, annotation);
  // Which containers a pod will have is not known: any name may stand behind the dot.
  for (const annotation of Object.keys(pod.annotations)) {
    const [name = ""] = annotation.slice(PREFIX.length).split(".");
    requireKnown(annotation, PREFIX + name);
  }
  const ask: Ask = (name) =>
    own(container.annotations, PREFIX + name) ??
    own(pod.annotations, `${PREFIX}${name}.${container.metadata.name}`) ??
    own(pod.annotations, PREFIX + name);
  const { soft, hard } = lowered(node, ask("soft-limit"), ask("hard-limit"));
  const rate = askedSize(ask("rate"));
  const policy = askedPolicy(ask("policy"));
  // A file that stops growing here would go on with a rate.
  const isBounded = node.hard > 0 && node.policy !== "rate";
  return {
    soft,
    hard,
    policy: policy === undefined || (isBounded && policy === "rate") ? node.policy : policy,
    rate: node.hard > 0 ? lower(node.rate, rate) : (rate ?? node.rate),
  };
}

function requireKnown(annotation: string, key: string): void {
  const keys = NAMES.map((name) => PREFIX + name);
  if (!annotation.startsWith(PREFIX) || keys.includes(key)) return;
  throw invalidArgument(`annotation ${annotation}: unknown${didYouMean(key, keys)}`, { annotation });
}

/** No log comes to a soft limit above the hard one: asked for it is refused, else it is met with the hard one. */
function lowered(node: LogLimits, soft: Asked | undefined, hard: Asked | undefined): Pick<LogLimits, "soft" | "hard"> {
  const askedSoft = askedSize(soft);
  const askedHard = askedSize(hard);
  if (soft !== undefined && hard !== undefined && (askedSoft ?? 0) > (askedHard ?? 0)) {
    throw refused(soft, `at most ${hard.annotation}, ${JSON.stringify(hard.text.slice(0, 40))}`);
  }
  const limit = lower(node.hard, askedHard);
  const met = lower(node.soft, askedSoft);
  return { soft: limit > 0 ? Math.min(met, limit) : met, hard: limit };
}

function own(annotations: Readonly<Record<string, string>>, annotation: string): Asked | undefined {
  const text = Object.hasOwn(annotations, annotation) ? annotations[annotation] : undefined;
  return text === undefined ? undefined : { annotation, text };
}

/** 0 is none. */
function lower(node: number, asked: number | undefined): number {
  if (asked === undefined) return node;
  return node === 0 ? asked : Math.min(node, asked);
}

function askedSize(asked: Asked | undefined): number | undefined {
  if (asked === undefined) return undefined;
  const bytes = parseQuantity(asked.text);
  if (bytes !== undefined && bytes >= 1 && bytes <= MOST_BYTES) return bytes;
  throw refused(asked, 'a size from 1 to 1Pi, like "10Mi"');
}

function askedPolicy(asked: Asked | undefined): LogLimits["policy"] | undefined {
  if (asked === undefined) return undefined;
  const policy = POLICIES.find((one) => one === asked.text);
  if (policy !== undefined) return policy;
  throw refused(asked, `one of ${POLICIES.join(", ")}`);
}

function refused({ annotation, text }: Asked, expected: string): Error {
  const found = JSON.stringify(text.slice(0, 40));
  return invalidArgument(`annotation ${annotation}: ${found} is not ${expected}`, { annotation });
}
