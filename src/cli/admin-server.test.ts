import assert from "node:assert/strict";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { it } from "node:test";
import { DomainError } from "../lib/errors.ts";
import { askAdmin } from "./admin-client.ts";
import { type AdminPorts, AdminServer } from "./admin-server.ts";

it("the administrative interface answers its owner alone, and says what it refuses", async () => {
  await using owned = new AsyncDisposableStack();
  const directory = await mkdtemp(join(tmpdir(), "nacelle-admin-"));
  owned.defer(() => rm(directory, { recursive: true }));
  const socket = join(directory, "admin.sock");
  const ask = (method: "GET" | "POST", path: string, body?: unknown) =>
    askAdmin({ socket, method, path, body, timeoutMs: 5_000 });
  assert.equal(await ask("GET", "/state"), undefined);

  const imported: unknown[] = [];
  const ports: AdminPorts = {
    health: () => Promise.reject(new DomainError("unavailable", "not ready: starting")),
    state: () => Promise.resolve({ phase: "starting" }),
    metrics: () => Promise.resolve({ contentType: "text/plain", text: "up 1\n" }),
    importImages: (path, name) => Promise.resolve([`${imported.push([path, name])}`]),
  };
  const admin = owned.use(await AdminServer.listen(socket, ports));
  assert.equal((await stat(socket)).mode & 0o777, 0o600);
  assert.deepEqual(await ask("GET", "/state"), { phase: "starting" });
  await assert.rejects(ask("GET", "/healthz"), { message: "not ready: starting" });
  admin.serve({ ...ports, health: () => Promise.resolve() });
  assert.deepEqual(await ask("GET", "/healthz"), { status: "ok" });

  assert.deepEqual(await ask("POST", "/images/import", { path: "/x", name: "a" }), { ids: ["1"] });
  await assert.rejects(ask("POST", "/images/import", { path: "x" }), { message: "path: expected an absolute path" });
  await assert.rejects(ask("POST", "/images/import", "x".repeat(70_000)), { message: /at most 65536 bytes/ });
  await assert.rejects(ask("GET", "/nothing"), { message: /there are GET \/healthz/ });
  assert.deepEqual(imported, [["/x", "a"]]);
  await assert.rejects(AdminServer.listen(socket, ports), { message: /^busy socket: / });
});
