import {
  bool,
  duration,
  int,
  listOf,
  mapOf,
  oneOf,
  optionalPath,
  path,
  record,
  size,
  text,
  ulimit,
  type ValueType,
} from "./value-type.ts";

/** One key: what it may hold, what it holds unless set, and what it means. */
export interface Setting<T> {
  readonly kind: "setting";
  readonly type: ValueType<T>;
  /** YAML, on one line. */
  readonly default: string;
  readonly doc: string;
  /** SIGHUP applies it; the others need a restart. */
  readonly reload: boolean;
}

/** A group of keys. */
export interface Section {
  readonly kind: "section";
  readonly doc: string;
  readonly members: Readonly<Record<string, Setting<unknown> | Section>>;
}

function setting<T>(type: ValueType<T>, value: string, doc: string): Setting<T> {
  return { kind: "setting", type, default: value, doc, reload: false };
}

function reloadable<T>(type: ValueType<T>, value: string, doc: string): Setting<T> {
  return { kind: "setting", type, default: value, doc, reload: true };
}

function section<M extends Section["members"]>(doc: string, members: M) {
  return { kind: "section", doc, members } as const;
}

const handlerName = /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/;
const ulimitName = /^[a-z]{2,12}$/;

const handler = record({
  path: { type: text("a path, or a name looked up in PATH"), doc: "The OCI runtime's executable." },
  root: { type: optionalPath(), default: "", doc: 'Its own state directory; "": `<runDir>/runtime/<handler>`.' },
  args: { type: listOf(text()), default: [], doc: "Arguments before its command, like `--systemd-log`." },
  pauseContainer: {
    type: oneOf("auto", "always"),
    default: "auto",
    doc: "`always`: pods have a pause process even when nothing needs one.",
  },
  allowedAnnotations: {
    type: listOf(text()),
    default: [],
    doc: "Pod annotations that are passed to the runtime; a trailing `*` matches any rest.",
  },
  exit: {
    type: oneOf("pid", "wait"),
    default: "pid",
    doc: "How an exit is seen: by the process itself, or by the runtime's `wait` command.",
  },
  signal: {
    type: oneOf("pidfd", "runtime"),
    default: "pidfd",
    doc: "How a signal is sent: directly, or by the runtime's `kill` command.",
  },
  stats: {
    type: oneOf("cgroup", "events"),
    default: "cgroup",
    doc: "Where figures come from: the cgroup, or the runtime's `events` command.",
  },
});

/** Everything that can be configured. The documentation, the defaults and the type `Config` are made from this. */
export const schema = section("", {
  listen: setting(
    path(),
    "/run/nacelle/nacelle.sock",
    "The unix socket on which the container runtime interface is served.",
  ),
  root: setting(path(), "/var/lib/nacelle", "Images, writable layers and the state that survives a reboot."),
  runDir: setting(path(), "/run/nacelle", "Sockets, mounts and files that do not survive a reboot."),
  netnsDir: setting(path(), "/run/netns", "Where network namespaces are pinned, as `nacelle-<id>`."),
  cgroupDriver: setting(
    oneOf("auto", "cgroupfs", "systemd"),
    "auto",
    "Who makes cgroups: `systemd` for the runtime, or the runtime by itself (`cgroupfs`). `auto`: systemd where it is process 1, has D-Bus, and cgroup v2 is alone, else cgroupfs. A kubelet asks, and follows. Pods keep the driver that they were made with.",
  ),
  cgroupParent: setting(
    path(),
    "/nacelle",
    "The cgroup parent of pods that name none, with cgroupfs; with systemd that is `system.slice`.",
  ),
  defaultRuntime: setting(text("a key of runtimes"), "runc", "The handler of pods that name none."),
  runtimes: setting(
    mapOf(handlerName, "a handler's name (lower-case letters, digits, - and .)", handler),
    "{runc: {path: runc}, crun: {path: crun}}",
    "Runtime handlers by name. Handlers that are added stand beside runc and crun.",
  ),
  defaultUlimits: setting(
    mapOf(ulimitName, "a limit's name like nofile", ulimit()),
    '{nofile: "1024:524288"}',
    "Resource limits of containers' processes, soft and hard.",
  ),
  cni: section("Networks, by CNI plugins.", {
    confDir: setting(
      path(),
      "/etc/cni/net.d",
      "Where network configurations are; the first valid one by name is used.",
    ),
    binDirs: setting(listOf(path()), "[/opt/cni/bin, /usr/lib/cni]", "Where plugins are looked for, in this order."),
    timeout: setting(
      duration(1000),
      "3m",
      "How long one plugin may take. A kubelet waits four minutes for the whole pod.",
    ),
    maxConcurrent: setting(
      int(1, 1024),
      "32",
      "How many pods are attached or detached at a time; others wait in line.",
    ),
  }),
  registries: section("Where images come from.", {
    configFile: setting(
      path(),
      "/etc/containers/registries.conf",
      "Mirrors and aliases: containers-registries.conf(5), with its `.d` directory. May be absent.",
    ),
    authFile: setting(
      optionalPath(),
      '""',
      "Credentials for pulls that bring none: containers-auth.json(5) or a docker config.json.",
    ),
  }),
  images: section("How images are kept.", {
    sync: setting(
      bool(),
      "true",
      "An image is on disk before it is announced. False is faster, and a power cut may cost images.",
    ),
    keepBlobs: setting(bool(), "false", "Keep compressed layers after unpacking."),
    maxConcurrentPulls: setting(int(1, 64), "3", "How many images are pulled at a time; others wait in line."),
  }),
  streaming: section("The HTTP server for exec, attach and port-forward.", {
    address: setting(text("an IP address"), "127.0.0.1", "The address it listens on."),
    port: setting(int(0, 65_535), "0", "Its port; 0: any free one."),
    tlsCert: setting(
      optionalPath(),
      '""',
      'A certificate chain in PEM: with it, and `streaming.tlsKey`, TLS is spoken; read again when it changes. "": no TLS.',
    ),
    tlsKey: setting(optionalPath(), '""', "The certificate's private key in PEM."),
    idleTimeout: setting(duration(1000), "4h", "How long nothing may be said on a connection before it is closed."),
    streamCreationTimeout: setting(
      duration(1000),
      "30s",
      "How long a client may take to open the streams that it asked for.",
    ),
  }),
  metrics: section("Metrics for Prometheus.", {
    listen: setting(
      text('host:port, or ""'),
      '""',
      'Serve metrics over TCP too, as "host:port"; "": on the administrative socket only.',
    ),
  }),
  stats: section("What pods use.", {
    writableLayerInterval: setting(
      duration(100),
      "30s",
      "How often what containers have written is measured, in the background and with low priority.",
    ),
  }),
  log: section("What is logged on standard error.", {
    level: reloadable(oneOf("error", "warn", "info", "debug"), "info", "The least grave level that is shown."),
    format: reloadable(oneOf("auto", "logfmt", "json"), "auto", "`auto`: logfmt on a terminal, JSON elsewhere."),
  }),
  logs: section("How large the log file of a container may become until it is rotated.", {
    softLimit: setting(size(), "0", "At this size one line in the server's log tells of it."),
    hardLimit: setting(
      size(),
      "0",
      "At this size `logs.policy` begins. Above the size at which the kubelet rotates (containerLogMaxSize, every ten seconds).",
    ),
    policy: setting(
      oneOf("drop", "block", "rate"),
      "drop",
      "Beyond the hard limit, until the log is rotated: `drop` what is printed, `block` who prints, or read it at `logs.rate`.",
    ),
    rate: setting(size(1), "1Mi", "Bytes per second that are read of a container beyond its hard limit, with `rate`."),
  }),
  workload: section("What containers find set.", {
    unprivilegedPortStart: setting(
      int(0, 65_535),
      "0",
      "net.ipv4.ip_unprivileged_port_start of pods with their own network: the first port that needs no privilege.",
    ),
    pingGroupRange: setting(
      text("two group ids"),
      '"0 2147483647"',
      "net.ipv4.ping_group_range of pods with their own network: who may ping.",
    ),
    createMissingHostPaths: setting(
      bool(),
      "false",
      "Whether a volume's path that does not exist on the node becomes a directory, as containerd and CRI-O make one. The CRI asks for an error.",
    ),
  }),
  execSync: section("Commands run in containers by probes and `crictl exec -s`.", {
    maxOutputBytes: setting(
      int(1024, 15_728_640),
      "15728640",
      "How much of standard output and error together is answered; the rest is dropped, and counted.",
    ),
    maxConcurrent: setting(int(1, 4096), "64", "How many run at a time; others wait in line."),
  }),
});

type ValueOf<T> =
  T extends Setting<infer V>
    ? V
    : T extends { readonly members: infer M }
      ? { readonly [K in keyof M]: ValueOf<M[K]> }
      : never;

/** The whole configuration, complete and valid. Durations are in milliseconds. */
export type Config = ValueOf<typeof schema>;

/** How one OCI runtime is used. */
export type HandlerConfig = Config["runtimes"][string];
