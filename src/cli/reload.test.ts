import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { Log } from "../lib/log.ts";
import { reloadOnHangup } from "./reload.ts";

it("SIGHUP applies what can be reloaded, says what cannot, and survives a wrong file", async () => {
  using cleanup = new DisposableStack();
  const directory = mkdtempSync(join(tmpdir(), "nacelle-reload-"));
  cleanup.defer(() => rmSync(directory, { recursive: true }));
  const file = join(directory, "nacelle.yaml");
  writeFileSync(file, "log: {level: info}\n");
  const lines: string[] = [];
  const log = Log.to({ level: "info", format: "logfmt", output: (line) => void lines.push(line) });
  const levels: string[] = [];
  cleanup.use(reloadOnHangup({ file }, log, (config) => void levels.push(config.log.level)));
  const said = async (text: string) => {
    writeFileSync(file, text);
    lines.length = 0;
    const hangup = once(process, "SIGHUP");
    process.kill(process.pid, "SIGHUP");
    await hangup;
    return lines.map((line) => line.replace(/^ts=\S+ /, ""));
  };

  assert.deepEqual(await said("log: {level: debug}\nroot: /elsewhere\n"), [
    'level=warn msg="SIGHUP: a setting needs a restart" key=root from=/var/lib/nacelle to=/elsewhere',
    'level=info msg="SIGHUP: a setting has changed" key=log.level from=info to=debug',
  ]);
  assert.match((await said("log: {levle: debug}\n"))[0] ?? "", /level=error .*stays as it was.*did you mean/);
  assert.match((await said("log: {level: debug}\n"))[0] ?? "", /the configuration is as it was/);
  assert.deepEqual(levels, ["debug"]);
});
