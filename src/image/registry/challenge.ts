/** One way to authenticate that a registry offers. */
export interface Challenge {
  /** Lower case: "bearer", "basic". */
  readonly scheme: string;
  /** By lower-case name. */
  readonly parameters: ReadonlyMap<string, string>;
}

const maxHeaderBytes = 16 * 1024;

/** Parses WWW-Authenticate (RFC 9110 §11.6.1): several challenges may share a header. What cannot be read is left out. */
export function parseChallenges(header: string): readonly Challenge[] {
  const text = header.slice(0, maxHeaderBytes);
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  const token = /[ \t,]*([!#$%&'*+.^_`|~0-9A-Za-z-]+)(?:[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|([^\s",]+)))?/y;
  for (let match = token.exec(text); match !== null; match = token.exec(text)) {
    const [, name = "", quoted, plain] = match;
    const value = quoted?.replace(/\\(.)/g, "$1") ?? plain;
    if (value === undefined) challenges.push({ scheme: name.toLowerCase(), parameters: new Map() });
    else challenges.at(-1)?.parameters.set(name.toLowerCase(), value);
  }
  return challenges;
}
