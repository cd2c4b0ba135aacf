import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { copyFile, cp, mkdir, readFile, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { askAdmin } from "../../src/cli/admin-client.ts";
import { Crictl } from "../crictl/crictl.ts";
import { busybox } from "../harness/cri-configs.ts";
import { type CniFiles, writeCni } from "../harness/node-files.ts";
import type { ServerPaths } from "../harness/server.ts";
import { builtLayout } from "../images/layout.ts";

const execute = promisify(execFile);
const checkout = join(import.meta.dirname, "../..");
/** Everything is emulated: a machine of its own takes ten times as long for what others do at once. */
const patienceMs = 120_000;

/** nacelle as a service of the machine, with the paths that it has when nothing else is said. */
export class Installed {
  readonly paths: ServerPaths;
  readonly crictl: Crictl;
  readonly endpoint = "unix:///run/nacelle/nacelle.sock";

  private constructor(cni: CniFiles) {
    this.paths = {
      folder: "/srv/smoke",
      socket: "/run/nacelle/nacelle.sock",
      root: "/var/lib/nacelle",
      runDir: "/run/nacelle",
      netnsDir: "/run/netns",
      log: "the journal",
      cni,
    };
    this.crictl = new Crictl(this);
  }

  /** Does what docs/OPERATIONS.md says, with a bridge network and this driver of cgroups, and starts nothing. */
  static async install(cgroupDriver: string): Promise<Installed> {
    if (process.env.NACELLE_VM !== "1") throw new Error("this installs a service: run it through conformance/vm/run");
    await symlink(join(checkout, "bin/nacelle"), "/usr/local/bin/nacelle");
    await copyFile(join(checkout, "deploy/systemd/nacelle.service"), "/etc/systemd/system/nacelle.service");
    await mkdir("/srv/smoke", { recursive: true });
    const cni = await writeCni("/srv/smoke");
    await mkdir("/etc/nacelle");
    const config = { cgroupDriver, cni: { confDir: cni.confDir } };
    await writeFile("/etc/nacelle/nacelle.yaml", JSON.stringify(config));
    await run("systemctl", "daemon-reload");
    return new Installed(cni);
  }

  /** Answers when the server has said that it is ready. */
  async systemctl(verb: "start" | "stop" | "restart"): Promise<void> {
    await run("systemctl", verb, "nacelle").catch(async (error: unknown) => {
      throw new Error(`systemctl ${verb} nacelle\n${await this.logTail()}`, { cause: error });
    });
  }

  /** SIGKILL to the server; answers when systemd has started another one. */
  async kill(): Promise<void> {
    const before = await this.property("MainPID");
    await run("systemctl", "kill", "--kill-whom=main", "--signal=KILL", "nacelle");
    // systemd notices and starts it again by itself after a second; only then is there a start to wait for.
    const deadline = AbortSignal.timeout(patienceMs);
    while (["0", before].includes(await this.property("MainPID"))) deadline.throwIfAborted();
    await this.systemctl("start");
  }

  /** A property of the service, as systemd tells it. */
  async property(name: string): Promise<string> {
    return (await run("systemctl", "show", "--value", `--property=${name}`, "nacelle")).trim();
  }

  /** What `nacelle check` says of the machine. Throws if it is not fit. */
  async check(): Promise<string> {
    return await run("nacelle", "check");
  }

  /** Imports one image, without a registry. */
  async importBusybox(): Promise<void> {
    const path = join(this.paths.folder, "layout");
    await cp(await builtLayout(), path, { recursive: true });
    const index = JSON.parse(await readFile(join(path, "index.json"), "utf8"));
    const named = (manifest: { annotations: object }) => Object.values(manifest.annotations).includes(busybox);
    await writeFile(join(path, "index.json"), JSON.stringify({ ...index, manifests: index.manifests.filter(named) }));
    const socket = join(this.paths.runDir, "admin.sock");
    const body = { path };
    const answer = await askAdmin({ socket, method: "POST", path: "/images/import", body, timeoutMs: patienceMs });
    assert.ok(answer !== undefined, "nobody answers on the administrative socket");
  }

  async logTail(lines = 60): Promise<string> {
    return await run("journalctl", "--unit=nacelle", `--lines=${lines}`, "--no-hostname", "--output=short-monotonic");
  }
}

/** Runs a program of the machine and answers what it printed. Throws with all that it said when it fails. */
export async function run(program: string, ...args: readonly string[]): Promise<string> {
  return (await execute(program, args, { timeout: patienceMs })).stdout;
}
