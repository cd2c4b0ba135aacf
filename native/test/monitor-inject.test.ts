import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { globSync, mkdtempDisposableSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, describe, it } from "node:test";
import { patience } from "../../conformance/harness/patience.ts";
import { type Hit, Life, Orders } from "./inject.ts";
import { SCENARIOS } from "./inject-scenarios.ts";
import type { Scenario } from "./inject-steps.ts";
import { Node } from "./monitor-fixture.ts";
import { closure, readSymbols } from "./symbols.ts";

const native = join(import.meta.dirname, "..");
const built = join(native, "../build/inject");
const runtime = join(built, "fake-runtime");
/** Asked for by the name of a sanitized binary: then this one is sanitized, too, and what it says is a failure. */
const ASAN = (process.env["NACELLE_NATIVE"] ?? "").includes("asan");
const binary = join(built, ASAN ? "../asan/nacelle-inject" : "nacelle-native");
const LANES = 3;
/** All errors of every call, instead of one that the seed picks. */
const EVERY = process.env["NACELLE_INJECT_EVERY"] === "1";
const SEED = Number(process.env["NACELLE_SEED"] ?? Date.now() % 1_000_000);

execFileSync("make", ["-s", "-j2", "-C", native, "inject", ...(ASAN ? ["inject-asan"] : [])]);

/** A launcher whose monitors have orders of their own. */
class Lane implements AsyncDisposable {
  readonly #folder = mkdtempDisposableSync(join(tmpdir(), "i"));
  readonly #orders = new Orders(join(this.#folder.path, "orders"));
  readonly #node = new Node(["env", `NACELLE_INJECT=${this.#orders.path}`], undefined, binary);

  /** One life with one failure; at 0: none. */
  async live(scenario: Scenario, at: number, variant: number): Promise<Hit & { readonly count: number }> {
    this.#orders.arm(at, variant);
    this.#orders.armed = scenario.fromBirth === true;
    await using life = await Life.begin(this.#node, this.#orders);
    try {
      const fds = await begun(life, scenario);
      // Whose monitor could not be prepared has no container to lose.
      if (fds === undefined) return { ...this.#orders.hit, count: at };
      this.#orders.armed = true;
      await scenario.live(life, runtime);
      await life.check(fds);
      await life.shutDown();
    } catch (error) {
      const { call, error: errno } = this.#orders.hit;
      const what = `call ${at} (${call === "" ? "none" : `${call}: ${errno}`}), variant ${variant}, seed ${SEED}`;
      throw new Error(`${what}: ${error instanceof Error ? error.message : String(error)}`, { cause: error });
    }
    return { ...this.#orders.hit, count: this.#orders.count };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#node[Symbol.asyncDispose]();
    this.#orders[Symbol.dispose]();
    this.#folder[Symbol.dispose]();
  }
}

/** Its descriptors with one connection, and nothing else; undefined when it has ended before it began. */
async function begun(life: Life, scenario: Scenario): Promise<number | undefined> {
  try {
    await life.ask("HELLO", () => life.connected());
  } catch (error) {
    if (scenario.fromBirth === true && !life.isAlive) return undefined;
    throw error;
  }
  return life.fds;
}

/** Neither system calls nor what makes any that can fail. */
const PURE = new RegExp(
  [
    "mem(cpy|move|set|chr|rchr|cmp)|str\\w+|snprintf|sscanf|ato[il]|qsort|bsearch|hton[sl]|ntoh[sl]|sig(add|empty|fill|del)set",
    "__errno_location|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|__isoc\\d+_\\w+|__ctype_\\w+|free|sysconf|clock_gettime",
    // What cannot fail as it is used, or with what is right anyway.
    "closedir|munmap|mprotect|lseek|shutdown|timerfd_settime|getpid|getppid|sigaction|sigprocmask|_exit|pthread_(attr|mutex)_\\w+",
    // In a child that was just forked.
    "setsid|chdir|execve|dup[23]|umask|setns",
  ]
    .join("|")
    .replace(/^.*$/s, "^($&)$"),
);

it("every system call that a monitor makes can be made to fail", () => {
  const names = globSync("*.o", { cwd: built }).sort();
  const monitor = closure(
    names.map((name) => readSymbols(join(built, name))),
    "monitor_main",
  );
  const given = new Set(monitor.flatMap(({ gives }) => [...gives]));
  const wrapped = new Set(readFileSync(join(native, "test/inject.c"), "utf8").match(/(?<=__wrap_)\w+/g));
  const missing = monitor.flatMap(({ object, wants }) =>
    [...wants]
      .filter((name) => !given.has(name) && !wrapped.has(name) && !PURE.test(name))
      .map((name) => `${object}: ${name}`),
  );
  assert.deepEqual(missing, []);
});

describe("one system call of a monitor fails, whichever it is:", () => {
  const lanes = Array.from({ length: LANES }, () => new Lane());
  after(async () => {
    for (const lane of lanes) await lane[Symbol.asyncDispose]();
  });

  for (const scenario of SCENARIOS) {
    it(scenario.name, { timeout: patience(600_000) }, async (t) => {
      const { count } = await (lanes[0] as Lane).live(scenario, 0, 0);
      assert.ok(count > 20, `${count} calls`);
      const left = Array.from({ length: count }, (_, i) => i + 1);
      const seen = new Map<string, number>();
      const failures: string[] = [];
      await Promise.all(
        lanes.map(async (lane) => {
          for (let at = left.shift(); at !== undefined; at = left.shift()) {
            for (let variant = EVERY ? 0 : SEED + at, more = true; more; variant++) {
              const { call, variants } = await lane.live(scenario, at, variant).catch((error: Error) => {
                failures.push(error.message);
                return { call: "", variants: 0 };
              });
              seen.set(call, (seen.get(call) ?? 0) + 1);
              more = EVERY && variant + 1 < variants;
            }
          }
        }),
      );
      assert.equal(failures.length, 0, failures.join("\n"));
      t.diagnostic(`${count} calls, seed ${SEED}: ${[...seen].map(([call, times]) => `${call} ${times}`).join(", ")}`);
    });
  }
});
