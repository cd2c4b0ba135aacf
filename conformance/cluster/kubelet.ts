import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { Daemon } from "../harness/process.ts";
import { KubeletApi } from "./kubelet-api.ts";
import { apiPort, type KubeletPlace, type KubeletSettings, kubeletConfiguration } from "./kubelet-configuration.ts";
import { lookUntil } from "./look.ts";
import { nodeName } from "./pod.ts";

const confined = join(import.meta.dirname, "confined");
const startMs = 90_000;

/** The kubelet that `script/setup tools` built; undefined where there is no Go for that. */
const program: string | undefined = process.env.NACELLE_KUBELET;

/** What node:test takes as `skip`: a reason where there is no kubelet. */
export const skipWithoutKubelet: string | false =
  program === undefined ? "the kubelet is not built: no Go >= 1.26 (script/setup tools)" : false;

/** A kubelet without a control plane. Disposing it ends it; its pods go on. */
export class Kubelet implements AsyncDisposable {
  readonly place: KubeletPlace;
  #api: KubeletApi;
  #daemon: Daemon;

  private constructor(place: KubeletPlace, daemon: Daemon, api: KubeletApi) {
    this.place = place;
    this.#daemon = daemon;
    this.#api = api;
  }

  /** Resolves when its API says that it is well. Only inside `harness/isolate`. */
  static async start(place: KubeletPlace, settings: KubeletSettings): Promise<Kubelet> {
    for (const path of [place.manifests, place.podLogs, join(place.folder, "kernel")]) {
      await mkdir(path, { recursive: true });
    }
    await writeFile(place.resolvConf, "nameserver 10.10.10.10\n");
    const { daemon, api } = await launch(place, settings);
    return new Kubelet(place, daemon, api);
  }

  get api(): KubeletApi {
    return this.#api;
  }

  /** SIGKILL: what a crash leaves is what the next start finds. */
  async kill(): Promise<void> {
    this.#daemon.signal("SIGKILL");
    await this.#daemon.exited();
  }

  /** Starts it again after kill(). */
  async restart(settings: KubeletSettings): Promise<void> {
    if (this.#daemon.running) throw new Error("the kubelet still runs");
    const { daemon, api } = await launch(this.place, settings);
    this.#daemon = daemon;
    this.#api = api;
  }

  /** The end of what it logged, over all its lives. */
  async logTail(lines = 60): Promise<string> {
    return await this.#daemon.tail(lines);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#daemon[Symbol.asyncDispose]();
  }
}

async function launch(
  place: KubeletPlace,
  settings: KubeletSettings,
): Promise<{ readonly daemon: Daemon; readonly api: KubeletApi }> {
  const config = join(place.folder, "config.json");
  await writeFile(config, JSON.stringify(kubeletConfiguration(place, settings), null, 2));
  const daemon = await Daemon.start(command(place, config), join(place.folder, "log"));
  try {
    let api: KubeletApi | undefined;
    await daemon.until(async (signal) => {
      api = await lookUntil("the kubelet answers", () => answering(place), signal);
    }, startMs);
    if (api === undefined) throw new Error("the kubelet was not looked at");
    return { daemon, api };
  } catch (error) {
    await daemon[Symbol.asyncDispose]();
    throw error;
  }
}

function command(place: KubeletPlace, config: string): string[] {
  if (program === undefined) throw new Error("NACELLE_KUBELET is not set: see script/setup tools");
  return [
    confined,
    join(place.folder, "kernel"),
    program,
    `--config=${config}`,
    `--root-dir=${join(place.folder, "root")}`,
    `--cert-dir=${join(place.folder, "pki")}`,
    `--hostname-override=${nodeName}`,
    `--node-ip=${place.address}`,
    "--v=2",
  ];
}

/** It makes its own certificate when it starts for the first time, and listens a little later. */
async function answering(place: KubeletPlace): Promise<KubeletApi | undefined> {
  try {
    const ca = await readFile(join(place.folder, "pki/kubelet.crt"), "utf8");
    const api = new KubeletApi(place.address, apiPort, { ca, servername: nodeName });
    await api.get("/healthz");
    return api;
  } catch {
    return undefined;
  }
}
