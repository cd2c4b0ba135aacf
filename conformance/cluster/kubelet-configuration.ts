/** What tests vary of a kubelet. */
export interface KubeletSettings {
  readonly featureGates?: Readonly<Record<string, boolean>>;
  /** Used space of the image file system, in percent, above which unused images are removed; 100 (the default): never. */
  readonly imageGcThreshold?: number;
}

/** Where one kubelet lives and what it talks to. */
export interface KubeletPlace {
  readonly folder: string;
  readonly address: string;
  readonly runtimeEndpoint: string;
  readonly manifests: string;
  readonly podLogs: string;
  readonly resolvConf: string;
}

/** The port of the kubelet's HTTPS API: there is one kubelet per network namespace. */
export const apiPort = 10_250;

/** The configuration file of a kubelet without a control plane, which takes its pods from the folder of manifests. */
export function kubeletConfiguration(place: KubeletPlace, settings: KubeletSettings): object {
  const { featureGates = {}, imageGcThreshold = 100 } = settings;
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    containerRuntimeEndpoint: place.runtimeEndpoint,
    staticPodPath: place.manifests,
    podLogsDir: place.podLogs,
    resolvConf: place.resolvConf,
    volumePluginDir: `${place.folder}/volume-plugins`,
    address: place.address,
    port: apiPort,
    // Without a control plane there is nobody to ask who somebody is.
    authentication: { anonymous: { enabled: true }, webhook: { enabled: false } },
    authorization: { mode: "AlwaysAllow" },
    cgroupDriver: "cgroupfs",
    cgroupRoot: "/",
    failCgroupV1: false,
    failSwapOn: false,
    oomScoreAdj: 0, // a lower one than the tests' own needs CAP_SYS_RESOURCE
    protectKernelDefaults: true, // refuse rather than write: see `confined`
    makeIPTablesUtilChains: false,
    serializeImagePulls: false,
    syncFrequency: "10s",
    containerLogMaxSize: "100Ki",
    containerLogMonitorInterval: "3s",
    evictionHard: { "memory.available": "50Mi", "nodefs.available": "1%", "imagefs.available": "1%" },
    imageGCHighThresholdPercent: imageGcThreshold,
    imageGCLowThresholdPercent: imageGcThreshold === 100 ? 80 : 0,
    featureGates,
  };
}
