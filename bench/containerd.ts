import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { appeared } from "../conformance/harness/event.ts";
import { Daemon } from "../conformance/harness/process.ts";

export interface ContainerdOptions {
  /** An existing folder for all that it keeps. */
  readonly folder: string;
  readonly cniConfDir: string;
  /** `host:port` of the registry that stands in for all others. */
  readonly mirror: string;
}

/** Debian's containerd with state, socket and cgroups of its own, crun as its runtime, and no pod of an earlier one. */
export class Containerd implements AsyncDisposable {
  readonly socket: string;
  readonly #daemon: Daemon;

  private constructor(socket: string, daemon: Daemon) {
    this.socket = socket;
    this.#daemon = daemon;
  }

  /** Only inside `harness/isolate`. Resolves when its socket is there. */
  static async start(options: ContainerdOptions): Promise<Containerd> {
    const { folder, mirror } = options;
    const socket = join(folder, "containerd.sock");
    for (const registry of ["registry.k8s.io", "docker.io"]) {
      await mkdir(join(folder, "certs", registry), { recursive: true });
      const hosts = `[host."http://${mirror}"]\n  capabilities = ["pull", "resolve"]\n`;
      await writeFile(join(folder, "certs", registry, "hosts.toml"), hosts);
    }
    const config = join(folder, "config.toml");
    await writeFile(config, configuration(options, socket));
    const daemon = await Daemon.start(["containerd", "--config", config], join(folder, "log"));
    await daemon.until((signal) => appeared(socket, signal), 30_000);
    return new Containerd(socket, daemon);
  }

  async tail(): Promise<string> {
    return await this.#daemon.tail();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon[Symbol.asyncDispose]();
  }
}

function configuration({ folder, cniConfDir }: ContainerdOptions, socket: string): string {
  return `version = 2
root = "${folder}/root"
state = "${folder}/state"
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs",
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.internal.v1.opt"]
[grpc]
  address = "${socket}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "registry.k8s.io/pause:3.9"
  restrict_oom_score_adj = true
  disable_tcp_service = true
  stream_server_address = "127.0.0.1"
  stream_server_port = "0"
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "${cniConfDir}"
[plugins."io.containerd.grpc.v1.cri".registry]
  config_path = "${folder}/certs"
[plugins."io.containerd.grpc.v1.cri".containerd]
  default_runtime_name = "crun"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.crun.options]
  BinaryName = "/usr/bin/crun"
`;
}
