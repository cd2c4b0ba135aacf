/** A kubelet as it comes, and one that is told of changes and takes statistics from the runtime alone. */
export const variants = [
  { name: "as it comes", runtime: "runc", featureGates: {} },
  {
    name: "with events and statistics from the runtime",
    runtime: "crun",
    featureGates: { EventedPLEG: true, PodAndContainerStatsFromCRI: true },
  },
] as const;
