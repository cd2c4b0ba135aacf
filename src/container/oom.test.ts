import assert from "node:assert/strict";
import { it } from "node:test";
import { isOomKilled } from "./oom.ts";

const EXITED = 1;
const KILLED = 2;
const DUMPED = 3;

for (const [what, siCode, siStatus, oomKills, isKilledByUs, expected] of [
  ["the first process was killed for memory", KILLED, 9, 1n, false, true],
  ["all of a group were killed for memory", KILLED, 9, 12n, false, true],
  ["a child was, and the first process survived and succeeded", EXITED, 0, 1n, false, false],
  ["a child was, and the first process passed its code on", EXITED, 137, 1n, false, false],
  ["an exec was, and the container exited with 137 of its own", EXITED, 137, 3n, false, false],
  ["an exec was, and the container ended by a signal", KILLED, 15, 1n, false, false],
  ["a child was, long before the container was stopped by force", KILLED, 9, 1n, true, false],
  ["nothing was, and somebody sent SIGKILL", KILLED, 9, 0n, false, false],
  ["nothing was, and the container was stopped by force", KILLED, 9, 0n, true, false],
  ["a crash left a core after a child was", DUMPED, 11, 1n, false, false],
  ["exit with the number of the signal", EXITED, 9, 1n, false, false],
] as const) {
  it(`${expected ? "killed for memory" : "ended by itself"}: ${what}`, () => {
    assert.equal(isOomKilled({ siCode, siStatus, oomKills, isKilledByUs }), expected);
  });
}

it("killed for memory: the kernel killed all of the container, whoever asked it to stop meanwhile", () => {
  const ending = { siCode: KILLED, siStatus: 9, oomKills: 4n, oomGroupKills: 1n, isKilledByUs: true };
  assert.equal(isOomKilled(ending), true);
  assert.equal(isOomKilled({ ...ending, siCode: EXITED, siStatus: 0 }), false);
});
