import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { it } from "node:test";

it("the demo's every claim holds, and it prints no colours where there is no terminal", async () => {
  const { code, stdout, stderr } = await demo();
  assert.equal(code, 0, `${stdout}${stderr}`);
  assert.match(stdout, /\n\d+ steps, each checked, in [\d.]+ s\n$/);
  assert.ok(!stdout.includes("\u001b"));
});

function demo(): Promise<{ readonly code: unknown; readonly stdout: string; readonly stderr: string }> {
  return new Promise((resolve) => {
    execFile(process.execPath, [join(import.meta.dirname, "demo.ts")], { timeout: 120_000 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : error.code, stdout, stderr }),
    );
  });
}
