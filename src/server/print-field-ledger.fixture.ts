import { type FieldEntry, fieldLedger } from "./field-ledger.fixture.ts";

const head = `# Request fields

<!-- Made from what the handlers do by \`script/generate\`; do not edit. -->

What nacelle does with every field of every request of the CRI. None is dropped in silence:

- **honoured**: it decides something. A value that is malformed or out of bounds is \`INVALID_ARGUMENT\` with the field's name.
- **refused**: \`UNIMPLEMENTED\` with the field's name, as soon as it is set.
- **kept**: checked, kept and shown, but it decides nothing, for the reason given.
- **ignored**: nothing reads it, for the reason given.

A message is listed once, where it is first reached. What depends on the node (no AppArmor, no such runtime handler) is
\`FAILED_PRECONDITION\` and says so.
`;

/** docs/CRI-FIELDS.md, to standard output. */
const { calls, fields } = await fieldLedger();
const byType = Map.groupBy(fields, ({ type }) => type);
const callRows = calls.map(({ call, request, refusal }) =>
  row(call, link(request), refusal === "" ? "yes" : `no: ${refusal}`),
);
const sections = [...byType].map(([type, entries]) => section(type, entries));
process.stdout.write([head, "## Calls\n", table(["call", "request", "served"], callRows), ...sections].join("\n"));

/** Messages without fields have no section. */
function link(type: string): string {
  return byType.has(type) ? `[${type}](#${type.toLowerCase()})` : type;
}

function section(type: string, entries: readonly FieldEntry[]): string {
  const rows = entries.map(({ field, verdict, note }) => row(`\`${field}\``, verdict, note));
  return `## ${type}\n\n${table(["field", "", "why"], rows)}`;
}

function table(heads: readonly string[], rows: readonly string[]): string {
  return [row(...heads), `|${"---|".repeat(heads.length)}`, ...rows, ""].join("\n");
}

function row(...cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
}
