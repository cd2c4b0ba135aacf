import assert from "node:assert/strict";
import { it } from "node:test";
import { DomainError } from "../lib/errors.ts";
import { Log } from "../lib/log.ts";
import { callLog } from "./call-log.ts";

it("a failed call is logged with its reason, but not with what a runtime quotes of a command", () => {
  const lines: string[] = [];
  const log = Log.to({ level: "info", format: "logfmt", output: (line) => void lines.push(line) });
  const observe = callLog(log, { call: () => {} });
  const error = new DomainError("internal", 'runc exec failed: exec: "mysql -psecret": executable file not found');
  const call = { callId: "c", ms: 7, code: "INTERNAL", error };
  observe({ ...call, method: "ExecSync" });
  observe({ ...call, method: "StartContainer" });
  observe({ callId: "c", ms: 7, code: "OK", method: "ListContainers" });
  observe({ callId: "c", ms: 7, code: "CANCELLED", error, method: "GetContainerEvents" });
  assert.match(lines[0] ?? "", /msg="call failed" method=ExecSync ms=7 error=INTERNAL$/);
  assert.match(lines[1] ?? "", /method=StartContainer .*secret/);
  assert.match(lines[2] ?? "", /level=info msg=call method=GetContainerEvents/);
  assert.equal(lines.length, 3);
});
