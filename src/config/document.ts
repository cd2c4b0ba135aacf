import { notFound } from "../lib/errors.ts";
import { didYouMean } from "./nearest.ts";
import { type Section, type Setting, schema } from "./schema.ts";

interface Entry {
  readonly key: string;
  readonly setting: Setting<unknown>;
}

/** Every key with its setting, in the order of the schema. */
export function allSettings(section: Section = schema, prefix = ""): readonly Entry[] {
  return Object.entries(section.members).flatMap(([name, member]) =>
    member.kind === "section" ? allSettings(member, `${prefix}${name}.`) : [{ key: prefix + name, setting: member }],
  );
}

/** A configuration file that sets every key to its default, each with its explanation. */
export function defaultYaml(section: Section = schema, indent = ""): string {
  const parts = Object.entries(section.members).map(([name, member]) => {
    if (member.kind === "section") {
      return `\n${comment(member.doc, indent)}${indent}${name}:\n${defaultYaml(member, `${indent}  `)}`;
    }
    return `${comment(`${member.doc} (${member.type.name})`, indent)}${indent}${name}: ${member.default}\n`;
  });
  return parts.join("");
}

/** What one key, or all keys of a section, mean. Throws `notFound` with the nearest key. */
export function explain(key: string): string {
  const entries = allSettings();
  const chosen = entries.filter((entry) => entry.key === key || entry.key.startsWith(`${key}.`));
  if (chosen.length === 0) {
    const unknown = notFound("configuration key", key);
    unknown.message += didYouMean(
      key,
      entries.map((entry) => entry.key),
    );
    throw unknown;
  }
  return chosen.map(explanation).join("\n");
}

/** docs/CONFIG.md. */
export function configDocument(): string {
  const rows = allSettings().map(({ key, setting }) => {
    const cells = [`\`${key}\``, `\`${setting.default}\``, setting.type.name, setting.doc, setting.reload ? "yes" : ""];
    return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  });
  return [
    "# Configuration",
    "",
    "<!-- Made from src/config/schema.ts by `bin/nacelle config --markdown`; do not edit. -->",
    "",
    "No file is needed. nacelle reads `/etc/nacelle/nacelle.yaml`, then `/etc/nacelle/nacelle.yaml.d/*.yaml` in the order of",
    "their names, then `--set key=value` from the command line; what comes later wins, and maps are merged by key. With",
    "`--config F` it reads `F` and `F.d/*.yaml` instead. An unknown key or a bad value is an error that names file, line",
    "and key. `nacelle config` prints what is in force, `nacelle config --default` a commented file.",
    "",
    "Keys marked in the last column are applied on SIGHUP; the others when nacelle starts.",
    "",
    "| key | default | value | meaning | reload |",
    "|---|---|---|---|---|",
    ...rows,
    "",
  ].join("\n");
}

function explanation({ key, setting }: Entry): string {
  const when = setting.reload ? "applied on SIGHUP" : "applied at start";
  return `${key}: ${setting.doc}\n  value:   ${setting.type.name}\n  default: ${setting.default}\n  ${when}\n`;
}

function comment(doc: string, indent: string): string {
  return doc === "" ? "" : `${indent}# ${doc}\n`;
}
