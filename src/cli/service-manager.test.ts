import assert from "node:assert/strict";
import { it } from "node:test";
import { ServiceManager, takeSettings } from "./service-manager.ts";

it("what a service manager put into the environment is taken out of it, and what is not for us is ignored", () => {
  const env = { NOTIFY_SOCKET: "@/org/x", WATCHDOG_USEC: "30000000", WATCHDOG_PID: "7", PATH: "/bin" };
  assert.deepEqual(takeSettings(env, 7), { socket: "@/org/x", watchdogMs: 30_000 });
  assert.deepEqual(env, { PATH: "/bin" });
  assert.deepEqual(takeSettings({ NOTIFY_SOCKET: "/x", WATCHDOG_USEC: "9", WATCHDOG_PID: "8" }, 7)?.watchdogMs, 0);
  assert.deepEqual(takeSettings({ NOTIFY_SOCKET: "/x", WATCHDOG_USEC: "soon" }, 7)?.watchdogMs, 0);
  for (const socket of ["", "relative", "@", "vsock:2:1"]) {
    assert.equal(takeSettings({ NOTIFY_SOCKET: socket }, 7), undefined, socket);
  }
});

it("the watchdog is fed while the server is well, and only then", async () => {
  const told: string[] = [];
  const warned: string[] = [];
  const { promise: fed, resolve: feed } = Promise.withResolvers<void>();
  const { promise: starved, resolve: starve } = Promise.withResolvers<void>();
  let isWell = true;
  const notify = async (_socket: string, text: string) => {
    told.push(text);
    if (text === "WATCHDOG=1") feed();
  };
  using manager = new ServiceManager(
    { socket: "/run/manager", watchdogMs: 2 },
    {
      launcher: { current: Promise.resolve({ notify }) },
      health: async () => {
        if (!isWell) throw new Error("no space left");
      },
      log: {
        warn: (message) => {
          warned.push(message);
          starve();
        },
      },
    },
  );
  await manager.ready("listening");
  await fed;
  isWell = false;
  await starved;
  const count = told.length;
  await manager.stopping();
  assert.deepEqual(told[0], "READY=1\nSTATUS=listening");
  assert.deepEqual([told.slice(count), warned[0]], [["STOPPING=1"], "not well: the watchdog is not fed"]);
});
