import assert from "node:assert/strict";
import { type ChildProcessWithoutNullStreams, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { after, before, suite, test } from "node:test";
import type { ContainerConfig, ContainerSecurity } from "./config.ts";
import {
  createArgs,
  deleteArgs,
  execArgs,
  killArgs,
  pickOciVersion,
  type RuntimeHandler,
  runtimeError,
  startArgs,
  stateArgs,
} from "./handler.ts";
import { NO_RESOURCES } from "./merge-resources.ts";
import { buildSpec } from "./spec/build.ts";
import { execProcess } from "./spec/exec.ts";
import type { SpecInput } from "./spec/input.ts";
import { buildPauseSpec } from "./spec/pause.ts";
import { sampleConfig, sampleInput, sampleSandbox, sampleSecurity } from "./spec/sample-input.ts";
import type { OciSpec } from "./spec/types.ts";
import {
  CGROUPS,
  featuresOf,
  HANDLER,
  hostFacts,
  inPrivate,
  makeRoot,
  removeEmptyCgroups,
  UNIFIED,
  volume,
} from "./spec-runs.fixture.ts";

for (const name of ["runc", "crun"]) {
  suite(`a spec that ${name} runs`, () => {
    let base: string;
    let handler: RuntimeHandler;
    let ociVersion: string;
    let serial = 0;
    const ids: string[] = [];

    before(() => {
      base = mkdtempSync(join(tmpdir(), `nacelle-spec-${name}-`));
      makeRoot(join(base, "rootfs"));
      const path = execFileSync("sh", ["-c", `command -v ${name}`], { encoding: "utf8" }).trim();
      handler = { ...HANDLER, name, path, root: join(base, "state") };
      ociVersion = pickOciVersion(featuresOf(handler));
    });
    after(() => {
      for (const id of ids) run(deleteArgs(handler, { id, log: join(base, "log"), force: true }));
      rmSync(base, { recursive: true });
      removeEmptyCgroups(base);
    });

    function run(argv: readonly string[]): string {
      const { status, stdout, stderr } = spawnSync(...inPrivate(argv), { encoding: "utf8", timeout: 30_000 });
      assert.equal(status, 0, `${argv.join(" ")}: ${runtimeError(log(), stderr)}`);
      return stdout;
    }

    function log(): string {
      return spawnSync("cat", [join(base, "log")], { encoding: "utf8" }).stdout;
    }

    /** Creates a container of `spec` and returns the process that holds its stdio. */
    async function create(spec: OciSpec): Promise<{ id: string; io: ChildProcessWithoutNullStreams }> {
      const id = `t${++serial}`;
      const bundle = join(base, id);
      mkdirSync(bundle);
      writeFileSync(join(bundle, "config.json"), JSON.stringify(spec));
      ids.push(id);
      const argv = createArgs(handler, { id, bundle, pidFile: join(bundle, "pid"), log: join(base, "log") });
      const io = spawn(...inPrivate(argv), { timeout: 30_000 });
      const [status] = await once(io, "exit");
      if (status !== 0) assert.fail(`create: ${runtimeError(log(), await text(io.stderr))}`);
      return { id, io };
    }

    async function output(spec: OciSpec): Promise<string> {
      const { id, io } = await create(spec);
      const collected = Promise.all([text(io.stdout), text(io.stderr)]);
      run(startArgs(handler, { id, log: join(base, "log") }));
      return (await collected).join("");
    }

    function input(script: string, config: Partial<ContainerConfig> = {}, rest: Partial<SpecInput> = {}): SpecInput {
      return {
        ...sampleInput,
        config: { ...sampleConfig, command: ["sh", "-c", script], ...config },
        rootfs: join(base, "rootfs"),
        namespaces: { network: "new", ipc: "new", uts: "new", pid: "new", user: "host" },
        files: { resolvConf: "", hosts: "", hostname: "", shm: "" },
        cgroupsPath: `/${base.slice(base.lastIndexOf("/") + 1)}/c${serial + 1}`,
        runtime: { ...sampleInput.runtime, ociVersion },
        host: hostFacts(),
        ...rest,
      };
    }

    function secured(script: string, security: Partial<ContainerSecurity>, rest: Partial<SpecInput> = {}): SpecInput {
      return input(script, { security: { ...sampleSecurity, ...security } }, rest);
    }

    test("gives a process its identity, its environment, its limits and nothing more", async () => {
      const built = buildSpec({
        ...secured("cat /proc/self/status /proc/self/oom_score_adj; id -G; env; hostname; ls /proc/self/fd; pwd", {
          noNewPrivs: true,
        }),
        user: { uid: 1000, gid: 1000, supplementalGroups: [1000, 1234, 50000], umask: 0o027 },
        policy: { ulimits: [{ type: "RLIMIT_NOFILE", soft: 1000, hard: 2000 }], pidsLimit: 64 },
      });
      const shown = await output(built.spec);
      assert.match(shown, /^CapBnd:\t00000000a80425fb$/m);
      for (const set of ["CapInh", "CapPrm", "CapEff", "CapAmb"])
        assert.match(shown, new RegExp(`^${set}:\t0{16}$`, "m"));
      assert.match(shown, /^Seccomp:\t2$/m);
      assert.match(shown, /^NoNewPrivs:\t1$/m);
      assert.match(shown, /^Umask:\t0027$/m);
      assert.match(shown, /^Uid:\t1000\t1000\t1000\t1000$/m);
      assert.match(shown, /^1000 1234 50000$/m);
      assert.match(shown, /^HOSTNAME=shop-0$/m);
      assert.match(shown, /^LANG=C$/m);
      assert.match(shown, /^shop-0$/m);
      assert.match(shown, new RegExp(`^${built.spec.process.oomScoreAdj}$`, "m"));
    });

    test("masks paths, keeps others read-only and sets the sysctls of its namespaces", async () => {
      const script = `touch /tmp/x; cat /etc/passwd | grep -c .; cat /proc/sys/kernel/shm_rmid_forced \
        /proc/sys/net/ipv4/ip_unprivileged_port_start; touch /sys/x; unshare -U true; echo done`;
      const { spec } = buildSpec(
        secured(
          script,
          { maskedPaths: ["/etc/passwd"], readonlyPaths: ["/tmp"] },
          {
            sysctls: [
              ["kernel/shm_rmid_forced", "1"],
              ["net/ipv4/ip_unprivileged_port_start", "77"],
            ],
          },
        ),
      );
      const shown = await output(spec);
      assert.match(shown, /\/tmp\/x: Read-only file system/);
      assert.match(shown, /^0\n1\n77$/m);
      assert.match(shown, /\/sys\/x: (Read-only file system|Permission denied|Operation not permitted)/);
      assert.match(shown, /unshare.*Operation not permitted/);
      assert.match(shown, /done\n/);
    });

    test("is privileged: everything that we hold, no filter, /sys and cgroups writable", async () => {
      const sample = secured("cat /proc/self/status; grep -E ' /sys(/fs/cgroup)? ' /proc/self/mountinfo", {
        privileged: true,
      });
      const built = buildSpec({ ...sample, sandbox: { ...sampleSandbox, privileged: true } });
      const shown = await output(built.spec);
      const held = /CapEff:\s*(\S+)/.exec(readFileSync("/proc/self/status", "utf8"))?.[1];
      assert.match(shown, new RegExp(`^CapEff:\t${held}$`, "m"));
      assert.match(shown, /^Seccomp:\t0$/m);
      assert.doesNotMatch(shown, /^.* \/sys\S* ro,/m);
    });

    test("binds what was asked for, read-only where asked, and applies its limits of memory and processor", async () => {
      const { spec } = buildSpec({
        ...input(
          `cat /data/in/f; touch /data/in/g; touch /data/out/h && echo written; grep -E ' /data' /proc/self/mountinfo
           cd ${CGROUPS}; grep '' ${UNIFIED ? "memory.max cpu.weight" : "memory/memory.limit_in_bytes cpu/cpu.shares"}`,
          {
            resources: {
              ...NO_RESOURCES,
              memoryLimitBytes: 64 << 20,
              cpuShares: 512,
              hugepageLimits: [{ pageSize: "2MB", limit: 0 }],
            },
          },
        ),
        mounts: [
          volume(join(base, "out"), "/data/out", "hostToContainer", false),
          volume(join(base, "in"), "/data/in", "private", true),
        ],
      });
      mkdirSync(join(base, "in"));
      mkdirSync(join(base, "out"));
      writeFileSync(join(base, "in/f"), "content\n");
      const shown = await output(spec);
      assert.match(shown, /^content$/m);
      assert.match(shown, /\/data\/in\/g: Read-only file system/);
      assert.match(shown, /^written$/m);
      assert.match(shown, UNIFIED ? /^memory.max:67108864\ncpu.weight:20$/m : /^memory\S*:67108864\ncpu\S*:512$/m);
    });

    test("is executed into with the same rights, and killed", async () => {
      const { spec } = buildSpec(input("echo ready; exec sleep 1000"));
      const { id, io } = await create(spec);
      const options = { id, log: join(base, "log") };
      run(startArgs(handler, options));
      await once(io.stdout, "data");
      assert.equal(JSON.parse(run(stateArgs(handler, options))).status, "running");
      const processFile = join(base, "process.json");
      writeFileSync(processFile, JSON.stringify(execProcess(spec.process, ["cat", "/proc/self/status"], false)));
      const argv = execArgs(handler, { ...options, processFile, pidFile: join(base, "exec.pid"), detach: false });
      const shown = run(argv);
      assert.match(shown, /^CapBnd:\t00000000a80425fb$/m);
      assert.match(shown, /^Seccomp:\t2$/m);
      run(killArgs(handler, { ...options, signal: 9 }));
      await once(io, "close");
    });

    test("holds a sandbox: pause is process 1 and has no capability", async () => {
      mkdirSync(join(base, "pause/proc"), { recursive: true });
      mkdirSync(join(base, "pause/dev"));
      cpSync(join(base, "rootfs"), join(base, "pause"), { recursive: true, verbatimSymlinks: true });
      symlinkSync("bin/busybox", join(base, "pause/pause"));
      const sample = input("");
      const { spec } = buildPauseSpec({ ...sample, rootfs: join(base, "pause") });
      // The real binary is another folder's: here busybox stands in for it.
      const process = { ...spec.process, args: ["/bin/busybox", "cat", "/proc/1/status", "/proc/1/oom_score_adj"] };
      const shown = await output({ ...spec, process });
      assert.match(shown, /^CapBnd:\t0{16}$/m);
      assert.match(shown, /^NSpid:.*\t?1$/m);
      assert.match(shown, /^Seccomp:\t2$/m);
    });

    test("joins a sandbox's namespaces, the PID namespace of pause among them", async () => {
      const first = buildPauseSpec({ ...input(""), rootfs: join(base, "rootfs") }).spec;
      const args = ["/bin/sh", "-c", "echo ready; exec /bin/sleep 1000"];
      const { id, io } = await create({ ...first, process: { ...first.process, args } });
      run(startArgs(handler, { id, log: join(base, "log") }));
      await once(io.stdout, "data");
      const pid = readFileSync(join(base, id, "pid"), "utf8").trim();
      const pin = (kind: string) => `/proc/${pid}/ns/${kind}`;
      const namespaces = { network: pin("net"), ipc: pin("ipc"), uts: pin("uts"), pid: pin("pid"), user: "host" };
      const kinds = ["net", "ipc", "uts", "pid"];
      const script = `cat /proc/1/comm; hostname; for k in ${kinds.join(" ")}; do readlink /proc/self/ns/$k; done`;
      const shown = await output(buildSpec(input(script, {}, { namespaces, hostname: "other" })).spec);
      const own = kinds.map((kind) => readlinkSync(pin(kind)));
      assert.deepEqual(shown.trim().split("\n"), ["sleep", "shop-0", ...own]);
      run(killArgs(handler, { id, log: join(base, "log"), signal: 9 }));
      await once(io, "close");
    });

    test("makes the device nodes asked for and mounts read-only below a read-only mount", async () => {
      mkdirSync(join(base, "tree"), { recursive: true });
      const { spec } = buildSpec({
        ...input("stat -c '%t:%T %a %u' /dev/fuse2; cat /dev/fuse2; touch /data/x; grep -c . /dev/kmsg"),
        devices: [
          {
            containerPath: "/dev/fuse2",
            type: "c",
            hostPath: "/dev/fuse",
            major: 10,
            minor: 229,
            mode: 0o640,
            uid: 7,
            gid: 8,
            permissions: "m",
          },
        ],
        mounts: [volume(join(base, "tree"), "/data", "private", true, true)],
      });
      const shown = await output(spec);
      assert.match(shown, /^a:e5 640 7$/m);
      assert.match(shown, /\/data\/x: Read-only file system/);
      assert.match(shown, /\/dev\/fuse2.*: Operation not permitted/);
      assert.match(shown, /kmsg: No such file/);
    });

    test("says why when it cannot run", async () => {
      const { spec } = buildSpec(input("", { command: ["/no/such/file"] }));
      // crun looks for the executable at create, runc may wait until start: either way the log has the reason.
      await assert.rejects(output(spec), /no\/such\/file/);
    });
  });
}
