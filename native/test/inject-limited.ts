/** Scenarios of what a container may have besides: limits of its log and its memory, a record for reboots, a cgroup for each exec. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  closeSync,
  constants,
  existsSync,
  mkdirSync,
  openSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { setImmediate as breathe } from "node:timers/promises";
import { NO_EXTRAS } from "../../src/monitor/protocol.ts";
import { parseExitRecord } from "../../src/monitor/record.ts";
import type { Life } from "./inject.ts";
import { assertEnding, create, ENV, end, execRequest, type Scenario, start } from "./inject-steps.ts";

const MEMORY = "/sys/fs/cgroup/memory";
/** Of a hybrid host; elsewhere an exec of this runtime has no cgroup, which it must then do without. */
const UNIFIED = "/sys/fs/cgroup/unified";

export const LIMITED: readonly Scenario[] = [
  { name: "a log reaches its limits", live: limits },
  { name: "a container ends while nobody is connected who could store it before a reboot", live: recordCopy },
  { name: "execs have cgroups, and one is killed with it", live: execCgroup },
  { name: "a container runs out of memory", live: outOfMemory },
];

async function limits(life: Life, runtime: string): Promise<void> {
  const log = { soft: 500, hard: 1_000, policy: "drop", rate: 0 } as const;
  const script = "i=10; while [ $i -lt 50 ]; do echo line $i; i=$((i+1)); done; exit 7";
  const path = await create(life, runtime, "c", script, { extras: { ...NO_EXTRAS, log } });
  const endings = await start(life, runtime, "c", path);
  const { logLostBytes } = await life.exited("c", ...endings);
  if (endings.length === 1) {
    const lines = Array.from({ length: 40 }, (_, i) => `line ${i + 10}\n`);
    life.checkLog(["0.log"], lines.join(""), logLostBytes);
    assert.ok(logLostBytes > 0n, "nothing was dropped");
  }
  await life.release("c");
}

async function recordCopy(life: Life, runtime: string): Promise<void> {
  const fifo = join(life.place.dir, "fifo");
  const copy = join(life.place.dir, "c.copy");
  execFileSync("mkfifo", [fifo]);
  const word = openSync(fifo, constants.O_RDWR);
  const extras = { ...NO_EXTRAS, recordCopy: copy };
  const path = await create(life, runtime, "c", `read line <${fifo}; exit 7`, { logPath: "", extras });
  const endings = await start(life, runtime, "c", path);
  life.leave();
  writeFileSync(word, "go on\n");
  // With somebody there it would give him a second to store the exit himself.
  const record = join(life.place.dir, "c.exit");
  const hasEnded = () => parseExitRecord(readFileSync(record))?.state === "exited";
  for (const end = performance.now() + 1_000; !hasEnded() && performance.now() < end; ) await breathe();
  await life.ask("HELLO", () => life.connected());
  const { siStatus } = await life.exited("c", ...endings);
  closeSync(word);
  if (!/^(open|p?write|rename|fsync)/.test(life.orders.hit.call)) {
    const written = () => (existsSync(copy) ? parseExitRecord(readFileSync(copy))?.siStatus : undefined);
    await life.settles("copy", written, siStatus);
  }
  await life.release("c");
  // Whoever looks once may look before it has failed.
  await life.settles("copy", () => !existsSync(copy) || life.orders.hit.call === "unlink", true);
}

/** A cgroup of the life's own. */
function cgroup(life: Life, hierarchy: string): string {
  const path = join(hierarchy, `nacelle-inject-${life.place.pid}`);
  mkdirSync(path);
  return path;
}

async function execCgroup(life: Life, runtime: string): Promise<void> {
  const parent = cgroup(life, UNIFIED);
  const path = await create(life, runtime, "c", "exec sleep 1000", {
    logPath: "",
    extras: { ...NO_EXTRAS, cgroup: parent },
  });
  if ((await start(life, runtime, "c", path)).length === 1) {
    const asked = (script: string, timeoutMs: number) => {
      const { argv, ...request } = execRequest(runtime, script, { timeoutMs, env: [...ENV, `CGROUP=${parent}`] });
      return { ...request, argv: argv.toSpliced(2, 0, "@cgroup") };
    };
    const said = await life.ask("EXEC", (m) => m.execSync("c", asked("sleep 0.02 & exit 3", 0)));
    assertEnding(life, said, "exited", 3);
    const late = await life.ask("EXEC", (m) => m.execSync("c", asked("sleep 1000 & sleep 1000", 30)));
    assert.equal(late.outcome, "timedOut");
  }
  await life.exited("c", ...(await end(life, "c")));
  await life.release("c");
  await life.settles("cgroups", () => directoriesOf(parent), "");
  rmdirSync(parent);
}

function directoriesOf(path: string): string {
  const entries = readdirSync(path, { withFileTypes: true });
  return entries.flatMap((entry) => (entry.isDirectory() ? [entry.name] : [])).join(" ");
}

/** Who ended last may be in it for a moment yet. */
function isRemoved(path: string): boolean {
  try {
    if (existsSync(path)) rmdirSync(path);
    return true;
  } catch {
    return false;
  }
}

async function outOfMemory(life: Life, runtime: string): Promise<void> {
  const memoryCgroup = cgroup(life, MEMORY);
  writeFileSync(join(memoryCgroup, "memory.limit_in_bytes"), String(8 << 20));
  // Nobody else is in it: the kernel might choose the shell, which is to tell of its end.
  const greedy = `echo $$ >${memoryCgroup}/cgroup.procs; exec tail -c 33554431`;
  const script = `head -c 33554432 /dev/zero | sh -c '${greedy}' >/dev/null; exit 7`;
  const path = await create(life, runtime, "c", script, { logPath: "", memoryCgroup });
  const endings = await start(life, runtime, "c", path);
  const { oomKills } = await life.exited("c", ...endings);
  if (life.orders.hit.call === "") assert.ok(oomKills > 0n, "nothing was killed for memory");
  await life.release("c");
  await life.settles("memory cgroup", () => isRemoved(memoryCgroup), true);
}
