import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { aContainer, epoch } from "./container.fixture.ts";
import type { Container, ContainerState } from "./container.ts";
import { endedUnseen, exited, startFailed } from "./ending.ts";

const later = epoch.add({ seconds: 5 });
const running = aContainer({ phase: "running", pid: 4, startTime: "9", startedAt: epoch });

const byItself = (siStatus: number) => ({ siCode: 1, siStatus, oomKills: 0n, isKilledByUs: false });

describe("how a container ended", () => {
  for (const [what, ending, oomKills, expected] of [
    ["exit 0", { siCode: 1, siStatus: 0 }, 0n, [0, "Completed"]],
    ["exit 7", { siCode: 1, siStatus: 7 }, 0n, [7, "Error"]],
    ["SIGTERM", { siCode: 2, siStatus: 15 }, 0n, [143, "Error"]],
    ["SIGSEGV with a core", { siCode: 3, siStatus: 11 }, 0n, [139, "Error"]],
    ["SIGKILL for memory", { siCode: 2, siStatus: 9 }, 1n, [137, "OOMKilled"]],
    ["exit 1 after a child was killed for memory", { siCode: 1, siStatus: 1 }, 1n, [1, "Error"]],
    ["nobody knows", { siCode: 0, siStatus: 0 }, 0n, [255, "Unknown"]],
  ] as const) {
    it(what, () => {
      const end = exited(running, { ...ending, oomKills, isKilledByUs: false }, later);
      assert.deepEqual(codeAndReason(end), expected);
    });
  }

  it("keeps when it had started and when it ended", () => {
    const { state } = exited(running, byItself(0), later);
    assert.ok(state.phase === "exited");
    assert.deepEqual([state.startedAt, state.finishedAt], [epoch, later]);
  });

  it("is told once: a later report changes nothing", () => {
    const first = exited(running, byItself(3), later);
    assert.equal(endedUnseen(first, "MonitorLost", "", later), first);
    assert.equal(startFailed(first, "", later), first);
  });

  it("a container that never ran is 128 StartError, one that nobody saw is 255 and never 0", () => {
    const created = aContainer({ phase: "created", pid: 4, startTime: "9", collected: true });
    assert.deepEqual(codeAndReason(startFailed(created, "exec format error", later)), [128, "StartError"]);
    assert.deepEqual(codeAndReason(endedUnseen(created, "Rebooted", "", later)), [255, "Rebooted"]);
  });

  it("says nothing of one whose creation is not finished", () => {
    const creating = aContainer({ phase: "creating" } satisfies ContainerState);
    assert.equal(exited(creating, byItself(0), later), creating);
  });
});

function codeAndReason({ state }: Container): readonly [number, string] {
  assert.ok(state.phase === "exited" || state.phase === "unknown");
  return [state.exitCode, state.reason];
}
