/** One thing that was looked at. */
export interface CheckLine {
  readonly level: "ok" | "warn" | "FAIL";
  /** What was looked at, in a word or two. */
  readonly what: string;
  readonly found: string;
  /** What to do about it; empty when nothing need be done. */
  readonly remedy: string;
}

export function ok(what: string, found: string): CheckLine {
  return { level: "ok", what, found, remedy: "" };
}

/** It works, and something is worse than it could be. */
export function warn(what: string, found: string, remedy: string): CheckLine {
  return { level: "warn", what, found, remedy };
}

/** Pods cannot run, or not as they are promised. */
export function fail(what: string, found: string, remedy: string): CheckLine {
  return { level: "FAIL", what, found, remedy };
}

export function isFit(lines: readonly CheckLine[]): boolean {
  return lines.every(({ level }) => level !== "FAIL");
}

/** One line each, the remedy below what needs one, and the verdict. */
export function checkPage(lines: readonly CheckLine[]): string {
  const width = Math.max(0, ...lines.map(({ what }) => what.length));
  const indent = " ".repeat("FAIL  ".length + width + 2);
  const texts = lines.map(({ level, what, found, remedy }) => {
    const line = `${level.padEnd(4)}  ${what.padEnd(width)}  ${found}`;
    return remedy === "" ? line : `${line}\n${indent}→ ${remedy}`;
  });
  return `${texts.join("\n")}\n\n${verdict(lines)}\n`;
}

function verdict(lines: readonly CheckLine[]): string {
  const count = (level: CheckLine["level"]) => lines.filter((line) => line.level === level).length;
  const warnings = count("warn") === 0 ? "" : `, ${count("warn")} to look at`;
  return isFit(lines) ? `this node is fit${warnings}` : `this node is NOT fit: ${count("FAIL")} failed${warnings}`;
}
