/** PID 1 of a shared PID namespace. Needs root. */
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { until } from "../../conformance/harness/until.ts";
import { binary } from "./launcher-fixture.ts";

function children(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
}

describe("pause", () => {
  for (const signal of ["SIGTERM", "SIGINT"] as const) {
    it(`reaps what is left to it and ends with code 0 at ${signal}`, async () => {
      // The orphan ends when its input does: then it is a zombie until somebody reaps it.
      const script = `(cat <&3 >/dev/null &); exec 3<&-; exec ${binary} pause`;
      using outer = spawn("/usr/bin/unshare", ["--pid", "--fork", "--kill-child", "/bin/sh", "-c", script], {
        stdio: ["ignore", "ignore", "inherit", "pipe"],
      });
      const exit = once(outer, "exit");
      await once(outer, "spawn");
      // The shell before it has the same words at its end, reaps orphans as well, and is deaf to signals as process 1.
      const isPause = (pid: number): boolean => readFileSync(`/proc/${pid}/cmdline`, "utf8") === `${binary}\0pause\0`;
      await until("it runs", () => children(outer.pid ?? 0).some(isPause));
      const [pause = 0] = children(outer.pid ?? 0);
      await until("it has the orphan", () => children(pause).length === 1);
      outer.stdio[3]?.destroy();
      await until("the orphan is reaped", () => children(pause).length === 0);
      // So it has blocked its signals, which it does first: none of them can be missed.
      process.kill(pause, signal);
      assert.deepEqual(await exit, [0, null]);
    });
  }
});
