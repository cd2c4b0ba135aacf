import { Refusal } from "./refusal.ts";

/** The values of a header that may be there several times and hold several each. */
export function headerValues(header: string | readonly string[] | undefined): string[] {
  const lines = typeof header === "string" ? [header] : (header ?? []);
  return lines
    .flatMap((line) => line.split(","))
    .map((value) => value.trim())
    .filter((value) => value !== "");
}

/** The first protocol of the client's that is served. Throws a Refusal: 400 when it names none, 403 when none fits. */
export function negotiateSpdy(offered: readonly string[], served: readonly string[]): string {
  if (offered.length === 0) throw new Refusal(400, "the header X-Stream-Protocol-Version is missing");
  const agreed = offered.find((protocol) => served.includes(protocol));
  if (agreed !== undefined) return agreed;
  const accepted = served.map((protocol) => ["X-Accepted-Stream-Protocol-Versions", protocol] as const);
  throw new Refusal(403, `none of ${quoted(offered)} is served; there are ${served.join(", ")}`, accepted);
}

/** As {@link negotiateSpdy} for sub-protocols of WebSocket, where a client may name none: "". */
export function negotiateWebSocket(offered: readonly string[], served: readonly string[]): string {
  const agreed = offered.length === 0 ? "" : offered.find((protocol) => served.includes(protocol));
  if (agreed !== undefined) return agreed;
  const names = served.filter((protocol) => protocol !== "").join(", ");
  throw new Refusal(403, `none of ${quoted(offered)} is served; there are ${names}`);
}

function quoted(protocols: readonly string[]): string {
  return JSON.stringify(protocols.slice(0, 8).map((protocol) => protocol.slice(0, 80)));
}
