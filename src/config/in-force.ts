import { allSettings } from "./document.ts";
import { gather, type LoadOptions, settingNode } from "./load.ts";
import type { Node } from "./yaml-node.ts";

/** A setting as it is in force, and where it was written. */
export interface SettingInForce {
  readonly key: string;
  /** YAML, on one line. */
  readonly value: string;
  /** "default", "/etc/nacelle/nacelle.yaml:3" or "--set key=value". */
  readonly source: string;
}

/** Every setting with its origin, in the order of the schema. Of a merged map, the last origin is shown. */
export function settingsInForce(options: LoadOptions = {}): readonly SettingInForce[] {
  const root = gather(options);
  return allSettings().map(({ key, setting }) => {
    const node = settingNode(setting, find(root, key.split(".")));
    const { source, line } = node.at;
    return { key, value: flow(node), source: line > 0 ? `${source}:${line}` : source };
  });
}

function find(node: Node | undefined, path: readonly string[]): Node | undefined {
  const [head, ...rest] = path;
  if (head === undefined) return node;
  return node?.kind === "map" ? find(node.entries.get(head), rest) : undefined;
}

function flow(node: Node): string {
  switch (node.kind) {
    case "scalar":
      return /^[\w/.+-]+$/.test(node.text) ? node.text : JSON.stringify(node.text);
    case "list":
      return `[${node.items.map(flow).join(", ")}]`;
    case "map":
      return `{${[...node.entries].map(([key, value]) => `${key}: ${flow(value)}`).join(", ")}}`;
  }
}
