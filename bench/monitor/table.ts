/** One line of what `script/bench monitor` prints. */
export interface Row {
  readonly what: string;
  readonly unit: string;
  readonly ours: number;
  /** The same of conmon, in the same run. */
  readonly theirs?: number;
  readonly target?: Target;
}

export interface Target {
  readonly least?: number;
  readonly most?: number;
  /** Our figure over conmon's. */
  readonly leastRatio?: number;
}

/** True without a target, and false for a figure that is none. */
export function isMet({ ours, theirs, target = {} }: Row): boolean {
  const { least = Number.NEGATIVE_INFINITY, most = Number.POSITIVE_INFINITY, leastRatio = 0 } = target;
  if (Number.isNaN(ours)) return false;
  return ours >= least && ours <= most && (leastRatio === 0 || ours >= leastRatio * (theirs ?? Number.NaN));
}

/** Columns in their widths, under a head. */
export function tableOf(rows: readonly Row[]): string {
  const lines = [["", "nacelle", "conmon", "ratio", "target", ""], ...rows.map(cells)];
  const widths = [0, 1, 2, 3, 4, 5].map((column) => Math.max(...lines.map((line) => line[column]?.length ?? 0)));
  const padded = lines.map((line) => line.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  "));
  return padded.map((line) => line.trimEnd()).join("\n");
}

function cells(row: Row): string[] {
  const { what, unit, ours, theirs, target } = row;
  const ratio = theirs === undefined ? "" : number(ours / theirs);
  const verdict = target === undefined ? "" : isMet(row) ? "met" : "MISSED";
  return [what, `${number(ours)} ${unit}`, theirs === undefined ? "" : number(theirs), ratio, wanted(target), verdict];
}

function wanted({ least, most, leastRatio }: Target = {}): string {
  const parts = [
    least === undefined ? "" : `≥ ${least}`,
    most === undefined ? "" : `≤ ${most}`,
    leastRatio === undefined ? "" : `≥ ${leastRatio} ×`,
  ];
  return parts.filter((part) => part !== "").join(", ");
}

function number(value: number): string {
  return Number.isInteger(value) || Math.abs(value) >= 100 ? value.toFixed(0) : value.toFixed(2);
}
