import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, describe, test } from "node:test";
import { patience } from "../../conformance/harness/patience.ts";
import { until } from "../../conformance/harness/until.ts";
import { MonitorError } from "../../src/monitor/monitor-error.ts";
import {
  type Bundle,
  exec,
  execRequest,
  hears,
  Node,
  noMoreOpen,
  openFds,
  remove,
  run,
  type Sandbox,
  script,
} from "./monitor-fixture.ts";
import { gone } from "./processes.ts";

const node = new Node();
after(() => node[Symbol.asyncDispose]());

/** The v2 hierarchy without controllers of a hybrid host. */
const unified = ["/sys/fs/cgroup/unified"].find((path) => existsSync(join(path, "cgroup.procs")));
/** Where runtimes themselves know what to do with the option. */
const isV2 = existsSync("/sys/fs/cgroup/cgroup.controllers");
const skip = isV2 ? "runtimes do it themselves" : unified === undefined && "no cgroup v2 hierarchy is mounted";

/** Leaves session and parent: with v1 nobody would find it. */
const daemonise = (name: string) => `setsid sh -c "setsid sleep ${name} & exit"`;

class Place implements Disposable {
  readonly path: string;

  constructor(s: Sandbox) {
    this.path = join(unified ?? "", `nacelle-test-${process.pid}-${s.place.pid}`);
    mkdirSync(this.path);
  }

  get children(): string[] {
    return readdirSync(this.path, { withFileTypes: true }).flatMap((entry) =>
      entry.isDirectory() ? [entry.name] : [],
    );
  }

  /** Until the cgroups of all execs are gone. */
  async empty(): Promise<void> {
    await until("the cgroups of all execs are gone", () => this.children.length === 0);
  }

  [Symbol.dispose](): void {
    rmdirSync(this.path);
  }
}

const extras = (cgroup: string) => ({
  extras: { recordCopy: "", log: { soft: 0, hard: 0, policy: "drop", rate: 0 }, cgroup } as const,
});

/** A runtime that takes the option as one does on v2, where runc does not know it; and joins that cgroup, or none. */
function runtimeFor(s: Sandbox, cgroup: string | undefined): string {
  const lines = [
    "n=$#",
    "while [ $n -gt 0 ]; do",
    "  one=$1; shift; n=$((n - 1))",
    "  [ $one != --pid-file ] || file=$1",
    '  case $one in --cgroup=*) name=$(echo $one | tail -c +10);; *) set -- "$@" "$one";; esac',
    "done",
    'runc "$@" || exit',
    ...(cgroup === undefined ? [] : [`cat $file >${cgroup}/$name/cgroup.procs`]),
  ];
  return script(s.place, "runtime", lines.join("\n"));
}

/** A command that begins once the runtime has put it into its cgroup: runc has put it into another one before. */
function command(text: string): string[] {
  return ["sh", "-c", `until case $(cat /proc/self/cgroup) in *exec-*);; *) false;; esac; do :; done; ${text}`];
}

function inCgroup<T extends { readonly argv: readonly string[] }>(runtime: string, request: T): T {
  const argv = [runtime, ...request.argv.slice(1, -1), "@cgroup", request.argv.at(-1) ?? ""];
  return { ...request, argv };
}

async function running(s: Sandbox, cgroup: string): Promise<Bundle> {
  return await run(s, "runc", "c1", ["sleep", "1000"], {}, extras(cgroup));
}

describe("an exec in a cgroup of its own", { skip }, () => {
  test("takes with it at its timeout what has left its session", { timeout: patience(30_000) }, async () => {
    using s = await node.sandbox();
    using place = new Place(s);
    const b = await running(s, place.path);
    const asked = execRequest(b, command(`${daemonise("94001")}; echo before; sleep 94001`), { timeoutMs: 2_000 });
    const request = inCgroup(runtimeFor(s, place.path), asked);
    const result = await s.monitor.execSync("c1", request);
    assert.deepEqual([result.outcome, result.stdout.toString()], ["timedOut", "before\n"]);
    await gone("94001");
    await place.empty();
    await remove(s, b);
  });

  test("takes it along when its client leaves", { timeout: patience(30_000) }, async () => {
    using s = await node.sandbox();
    using place = new Place(s);
    const b = await running(s, place.path);
    const runtime = runtimeFor(s, place.path);
    const session = await exec(s, b, command(`${daemonise("94002")}; echo before; sleep 94002`), {
      argv: inCgroup(runtime, execRequest(b, [])).argv,
    });
    await hears(session, "before");
    assert.deepEqual(place.children, ["exec-1"]);
    session[Symbol.dispose]();
    await gone("94002");
    await place.empty();
    await remove(s, b);
  });

  test("that ends by itself leaves what it started, and its cgroup until that ends", {
    timeout: patience(30_000),
  }, async () => {
    using s = await node.sandbox();
    using place = new Place(s);
    const b = await running(s, place.path);
    const runtime = runtimeFor(s, place.path);
    const request = inCgroup(runtime, execRequest(b, command("sleep 94003 & echo done")));
    const result = await s.monitor.execSync("c1", request);
    assert.deepEqual([result.outcome, result.stdout.toString()], ["exited", "done\n"]);
    const [left = ""] = place.children;
    const [pid = ""] = readFileSync(join(place.path, left, "cgroup.procs"), "utf8").split("\n");
    assert.match(readFileSync(`/proc/${pid}/cmdline`, "latin1"), /94003/);
    process.kill(Number(pid), "SIGKILL");
    await place.empty();
    await remove(s, b);
  });

  test("leaves no cgroup when the command or the runtime fails", { timeout: patience(30_000) }, async () => {
    using s = await node.sandbox();
    using place = new Place(s);
    const b = await running(s, place.path);
    const failed = (error: unknown) => error instanceof MonitorError && error.monitorCode === "RUNTIME_FAILED";
    const runtime = runtimeFor(s, place.path);
    await assert.rejects(s.monitor.execSync("c1", inCgroup(runtime, execRequest(b, ["/nonexistent"]))), failed);
    const hangs = script(s.place, "hangs", "sleep 94004");
    const request = inCgroup(hangs, execRequest(b, ["true"], { deadlineMs: 100 }));
    await assert.rejects(s.monitor.execSync("c1", request), /TIMEOUT/);
    await gone("94004");
    await place.empty();
    await remove(s, b);
  });

  test("is killed by session and parents when the runtime has not put it there", {
    timeout: patience(30_000),
  }, async () => {
    using s = await node.sandbox();
    using place = new Place(s);
    const b = await running(s, place.path);
    const asked = execRequest(b, ["sh", "-c", "sleep 94005 & sleep 94005"], { timeoutMs: 300 });
    const request = inCgroup(runtimeFor(s, undefined), asked);
    const result = await s.monitor.execSync("c1", request);
    assert.equal(result.outcome, "timedOut");
    await gone("94005");
    await place.empty();
    await remove(s, b);
  });

  test("a hundred times, twenty at once, leaves no cgroup and no descriptor", {
    timeout: patience(60_000),
  }, async () => {
    using s = await node.sandbox();
    using place = new Place(s);
    const b = await running(s, place.path);
    await s.monitor.snapshot(); // what START used is closed by now
    const before = openFds(s);
    const request = inCgroup(runtimeFor(s, place.path), execRequest(b, command("exit 4")));
    for (let round = 0; round < 5; round++) {
      const results = await Promise.all(Array.from({ length: 20 }, () => s.monitor.execSync("c1", request)));
      assert.ok(results.every(({ status }) => status === 4));
    }
    await place.empty();
    await noMoreOpen(s, before);
    assert.equal(openFds(s), before);
    await remove(s, b);
  });

  test("has none left when its container is released, whoever lives in it", { timeout: patience(30_000) }, async () => {
    using s = await node.sandbox();
    using place = new Place(s);
    const b = await running(s, place.path);
    const stranger = spawn("sleep", ["94006"]);
    const left = once(stranger, "exit");
    await s.monitor.execSync("c1", inCgroup(runtimeFor(s, place.path), execRequest(b, command("sleep 94006 &"))));
    const [name = ""] = place.children;
    writeFileSync(join(place.path, name, "cgroup.procs"), String(stranger.pid));
    await remove(s, b);
    await left;
    await place.empty();
  });
});

for (const runtime of ["crun", "runc"]) {
  describe(`an exec of ${runtime} with cgroup v2`, { skip: !isV2 && "the host has cgroup v1" }, () => {
    const inside = (s: Sandbox) => join("/sys/fs/cgroup", `nacelle-test-${process.pid}-${s.place.pid}-c1`);
    const children = (cgroup: string) => readdirSync(cgroup).filter((name) => name.startsWith("exec-"));
    const empty = (cgroup: string) => until("the cgroups of all execs are gone", () => children(cgroup).length === 0);

    test("takes with it at its timeout what has left its session", { timeout: patience(120_000) }, async () => {
      using s = await node.sandbox();
      const b = await run(s, runtime, "c1", ["sleep", "1000"], {}, extras(inside(s)));
      const text = `cat /proc/self/cgroup; ${daemonise("94011")}; sleep 94011`;
      const asked = execRequest(b, ["sh", "-c", text], { timeoutMs: 3_000 });
      const result = await s.monitor.execSync("c1", inCgroup(b.runtime, asked));
      assert.equal(result.outcome, "timedOut");
      assert.match(result.stdout.toString(), /^0::\/.*\/exec-\d+\n$/);
      await gone("94011");
      await empty(inside(s));
      await remove(s, b);
      assert.ok(!existsSync(inside(s)));
    });

    test("leaves in the background what it started, which ends with the container", {
      timeout: patience(120_000),
    }, async () => {
      using s = await node.sandbox();
      const b = await run(s, runtime, "c1", ["sleep", "1000"], {}, extras(inside(s)));
      const result = await s.monitor.execSync(
        "c1",
        inCgroup(b.runtime, execRequest(b, ["sh", "-c", "sleep 94012 & echo done"])),
      );
      assert.deepEqual([result.outcome, result.stdout.toString()], ["exited", "done\n"]);
      const [left = ""] = children(inside(s));
      const [pid = ""] = readFileSync(join(inside(s), left, "cgroup.procs"), "utf8").split("\n");
      assert.match(readFileSync(`/proc/${pid}/cmdline`, "latin1"), /94012/);
      await remove(s, b);
      await gone("94012");
      assert.ok(!existsSync(inside(s)));
    });
  });
}

describe("an exec has no cgroup of its own", () => {
  const cases: Readonly<Record<string, (folder: string) => void>> = {
    "while the container's hands controllers on": (folder) =>
      writeFileSync(join(folder, "cgroup.subtree_control"), "memory pids\n"),
    "where the folder is no cgroup": () => undefined,
  };
  for (const [when, prepare] of Object.entries(cases)) {
    test(when, async () => {
      using s = await node.sandbox();
      const folder = join(s.place.dir, "cgroup");
      mkdirSync(folder);
      prepare(folder);
      const b = await running(s, folder);
      const before = readdirSync(folder);
      const runtime = script(s.place, "tells", 'echo "$@" >&2; exit 1');
      const asked = s.monitor.execSync("c1", inCgroup(runtime, execRequest(b, ["true"])));
      await assert.rejects(asked, (error) => error instanceof MonitorError && !error.what.includes("cgroup"));
      assert.deepEqual(readdirSync(folder), before);
      await remove(s, b);
    });
  }
});
