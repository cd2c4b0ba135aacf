import assert from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import test from "node:test";
import { Server } from "../harness/server.ts";
import { NotifySocket } from "../harness/service-manager.ts";
import { processes } from "../recovery/processes.ts";

for (const address of [join(tmpdir(), "notify"), "@nacelle-notify-test"]) {
  test(`a service manager at ${address.slice(0, 1)}… is told of start, life and end, and nobody inherits its socket`, async () => {
    await using manager = await NotifySocket.listen(address);
    const env = { NOTIFY_SOCKET: address, WATCHDOG_USEC: "200000" };
    await using server = await Server.start({ env });
    assert.match(await manager.next(), /^READY=1 STATUS=/);
    assert.equal(await manager.next(), "WATCHDOG=1");
    assert.equal(await manager.next(), "WATCHDOG=1");
    const launchers = await processes("nacelle-native");
    assert.ok(launchers.length > 0);
    for (const pid of launchers) {
      assert.equal(await readFile(`/proc/${pid}/environ`, "utf8"), "");
    }
    const stopped = server.stop();
    for (let said = await manager.next(); said !== "STOPPING=1"; said = await manager.next()) {
      assert.equal(said, "WATCHDOG=1");
    }
    assert.equal(await stopped, "exit code 0");
  });
}
