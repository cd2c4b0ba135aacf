type Labels = Readonly<Record<string, string>>;

/** True when every label of the selector is there with the same value. */
export function hasLabels(labels: Labels, selector: Labels): boolean {
  return Object.entries(selector).every(([key, value]) => Object.hasOwn(labels, key) && labels[key] === value);
}
