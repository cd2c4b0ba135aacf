import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach } from "node:test";
import { MonitorError } from "../../src/monitor/monitor-error.ts";
import { type Bundle, bundle, createRequest, type Sandbox, startCall } from "./monitor-fixture.ts";

/** A file system that stops answering whoever writes to it, without an end, until it is thawed. */
export class Disk {
  readonly dir: string;

  constructor(s: Sandbox) {
    const image = join(s.place.dir, "image");
    this.dir = join(s.place.dir, "disk");
    execFileSync("truncate", ["--size=64M", image]);
    execFileSync("mkfs.ext4", ["-q", image]);
    execFileSync("mkdir", [this.dir]);
    execFileSync("mount", ["-o", "loop", image, this.dir]);
    disks.push(this);
  }

  freeze(): void {
    execFileSync("fsfreeze", ["--freeze", this.dir]);
  }

  thaw(): void {
    execFileSync("fsfreeze", ["--unfreeze", this.dir], { stdio: "ignore" });
  }
}

const disks: Disk[] = [];
afterEach(() => {
  for (const disk of disks.splice(0)) {
    try {
      disk.thaw();
    } catch {
      // it is not frozen
    }
    execFileSync("umount", ["--lazy", disk.dir]);
  }
});

export function tasks(s: Sandbox): { name: string; tid: string; state: string }[] {
  const dir = `/proc/${s.place.pid}/task`;
  return readdirSync(dir).map((tid) => {
    const [, name = "", state = ""] = /\((.*)\) (\S)/.exec(readFileSync(`${dir}/${tid}/stat`, "latin1")) ?? [];
    return { name, tid, state };
  });
}

/** Until the thread that writes the logs is held by a disk. */
export async function held(s: Sandbox): Promise<void> {
  while (!tasks(s).some(({ name, state }) => name === "nacelle-pump" && state === "D")) await s.monitor.snapshot();
}

export const timedOut = (path: string) => (error: unknown) =>
  error instanceof MonitorError && error.monitorCode === "TIMEOUT" && error.message.includes(path);

/** A container that has said something, and says more when it is told to. */
export async function talking(s: Sandbox, disk: Disk) {
  const talk = "trap 'echo ends; exit 3' TERM; echo begins; read go; echo more; while :; do sleep 0.01; done";
  const b = bundle(s.place, "crun", "talks", ["sh", "-c", talk]);
  const logPath = join(disk.dir, "talks.log");
  await s.monitor.create(b.id, createRequest(b, { logPath, stdin: true }));
  await s.monitor.start(b.id, startCall(b));
  while (!readFileSync(logPath, "utf8").includes("begins")) await s.monitor.snapshot();
  return b;
}

/** Its output holds the pump on a frozen disk. */
export async function holdBy(s: Sandbox, b: Bundle): Promise<void> {
  const [container] = (await s.monitor.snapshot()).filter(({ id }) => id === b.id);
  execFileSync("sh", ["-c", `echo > /proc/${container?.pid}/fd/0`]);
  await held(s);
}

export async function holding(s: Sandbox, disk: Disk) {
  const b = await talking(s, disk);
  disk.freeze();
  await holdBy(s, b);
  return b;
}
