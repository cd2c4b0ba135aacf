import assert from "node:assert/strict";
import { once } from "node:events";
import { link, mkdtempDisposable, rename, stat, symlink, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, it } from "node:test";
import { listen } from "./listen.ts";

describe("listening on a unix socket", () => {
  it("makes the directory and a socket that root and its group may use", async () => {
    await using dir = await temporary();
    const socket = join(dir.path, "run/nacelle/cri.sock");
    await using _server = await listen({ socket, services: [] });
    assert.equal((await stat(socket)).mode & 0o777, 0o660);
  });

  it("removes the socket when it ends", async () => {
    await using dir = await temporary();
    const socket = join(dir.path, "cri.sock");
    await (await listen({ socket, services: [] }))[Symbol.asyncDispose]();
    await assert.rejects(stat(socket), { code: "ENOENT" });
  });

  it("replaces a socket that nobody serves", async () => {
    await using dir = await temporary();
    const socket = join(dir.path, "cri.sock");
    await abandon(socket);
    assert.ok((await stat(socket)).isSocket());
    await using _server = await listen({ socket, services: [] });
  });

  it("names the process that serves a busy socket and leaves it alone", async () => {
    await using dir = await temporary();
    const socket = join(dir.path, "cri.sock");
    await using _other = createServer().listen(socket);
    await assert.rejects(listen({ socket, services: [] }), {
      kind: "failedPrecondition",
      message: new RegExp(`^busy socket: .*cri\\.sock is served by pid ${process.pid} \\(`),
    });
    assert.ok((await stat(socket)).isSocket());
  });

  it("touches nothing that is not a socket", async () => {
    await using dir = await temporary();
    const file = join(dir.path, "precious");
    await writeFile(file, "kept");
    await symlink(file, join(dir.path, "link"));
    for (const socket of [file, join(dir.path, "link")]) {
      await assert.rejects(listen({ socket, services: [] }), { kind: "failedPrecondition", message: /not a socket/ });
    }
    assert.equal((await stat(file)).size, 4);
  });

  it("refuses a path that the kernel would refuse less clearly", async () => {
    await assert.rejects(listen({ socket: "cri.sock", services: [] }), /not absolute/);
    await assert.rejects(listen({ socket: `/tmp/${"x".repeat(120)}`, services: [] }), /the kernel takes 107/);
  });
});

function temporary() {
  return mkdtempDisposable(join(tmpdir(), "listen-"));
}

/** Leaves a socket behind as a killed process does: bound, and nobody listens. */
async function abandon(socket: string): Promise<void> {
  const server = createServer().listen(socket);
  await once(server, "listening");
  await link(socket, `${socket}.kept`);
  server.close();
  await once(server, "close");
  await rename(`${socket}.kept`, socket);
}
