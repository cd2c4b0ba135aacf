import assert from "node:assert/strict";
import { test } from "node:test";
import { DomainError } from "../../lib/errors.ts";
import { buildSpec } from "./build.ts";
import { execProcess } from "./exec.ts";
import { sampleInput } from "./sample-input.ts";

const { spec } = buildSpec({ ...sampleInput, user: { uid: 5, gid: 6, supplementalGroups: [6, 7] } });

test("changes nothing of the container's process but its command and terminal", () => {
  const process = execProcess(spec.process, ["ls", "-l"], false);
  assert.deepEqual({ ...process, args: spec.process.args }, spec.process);
  assert.deepEqual(process.args, ["ls", "-l"]);
  const terminal = execProcess(spec.process, ["sh"], true);
  assert.ok(terminal.terminal);
  assert.equal(terminal.env.at(-1), "TERM=xterm");
});

test("refuses a command that names no program", () => {
  for (const command of [[], [""], ["a", "b\0"]])
    assert.throws(() => execProcess(spec.process, command, false), DomainError);
});
