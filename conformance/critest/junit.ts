/** One spec of a report. `output` is what it said when it failed. */
export interface SpecResult {
  readonly name: string;
  /** In the words of Ginkgo: passed, failed, skipped, timedout, panicked, interrupted, aborted or pending. */
  readonly status: string;
  readonly seconds: number;
  readonly output: string;
}

/** The specs of Ginkgo's JUnit report, less set-up and tear-down nodes unless they failed; names as in `specs.ts`. */
export function parseReport(xml: string): SpecResult[] {
  const results: SpecResult[] = [];
  for (const [, attributes = "", , body = ""] of xml.matchAll(/<testcase ([^>]*?)(\/>|>([\s\S]*?)<\/testcase>)/g)) {
    const name = decoded(attribute(attributes, "name"));
    const status = attribute(attributes, "status");
    if (!name.startsWith("[It] ") && status === "passed") continue;
    results.push({
      name: name.replace(/^\[It\] (\[k8s\.io\] )?/, ""),
      status,
      seconds: Number(attribute(attributes, "time")),
      output: status === "passed" ? "" : failureOf(body),
    });
  }
  return results;
}

function attribute(attributes: string, name: string): string {
  return new RegExp(`(?:^|\\s)${name}="([^"]*)"`).exec(attributes)?.[1] ?? "";
}

function failureOf(body: string): string {
  const failure = /<(?:failure|error)([^>]*)>([\s\S]*?)<\/(?:failure|error)>/.exec(body);
  const log = /<system-err>([\s\S]*?)<\/system-err>/.exec(body)?.[1] ?? "";
  return decoded([failure?.[2] ?? "", log].join("\n").replaceAll(/<!\[CDATA\[|\]\]>/g, "")).slice(0, 3_000);
}

function decoded(text: string): string {
  const names: Readonly<Record<string, string>> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return text.replaceAll(/&(?:#x([0-9a-fA-F]+)|#(\d+)|(\w+));/g, (whole, hex, decimal, name) => {
    if (hex !== undefined) return String.fromCodePoint(Number.parseInt(hex, 16));
    return decimal === undefined ? (names[name] ?? whole) : String.fromCodePoint(Number(decimal));
  });
}
