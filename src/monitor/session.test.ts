import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempDisposable } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { encodeFrame, PayloadWriter } from "../lib/wire.ts";
import { isMonitorError } from "./monitor-error.ts";
import { EVENT, MESSAGE } from "./protocol.ts";
import { MonitorSession } from "./session.ts";

for (const [name, frame] of [
  ["an exit", encodeFrame(EVENT.execExit, 0n, new PayloadWriter().u8(0).i32(0).done())],
  ["an end", encodeFrame(EVENT.attachEnd, 0n, Buffer.alloc(0))],
] as const) {
  it(`a monitor that tells ${name} instead of answering has not opened a session`, async () => {
    await using folder = await mkdtempDisposable(join(tmpdir(), "session-"));
    const socketPath = join(folder.path, "s");
    await using monitor = createServer((socket) =>
      socket
        .on("error", () => {})
        .resume()
        .end(frame),
    );
    await once(monitor.listen(socketPath), "listening");
    const request = { what: "EXEC_STREAM c", type: MESSAGE.execStream, payload: Buffer.alloc(0), answerMs: 60_000 };
    await assert.rejects(
      MonitorSession.open({ socketPath, epoch: 1n }, request, new AbortController().signal),
      (error) => isMonitorError(error, "LOST"),
    );
  });
}
