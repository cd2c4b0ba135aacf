import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { chooseDriver } from "./cgroup-driver.ts";

const spoken = { isSystemd: true, hasBus: true };
const absent = { isSystemd: false, hasBus: true };
const mute = { isSystemd: true, hasBus: false };

describe("the cgroup driver", () => {
  it("is systemd by itself only where that owns the one hierarchy there is", () => {
    const chosen = (["v2", "hybrid", "v1"] as const).flatMap((mode) =>
      [spoken, absent].map((systemd) => chooseDriver("auto", mode, systemd).driver),
    );
    assert.deepEqual(chosen, ["systemd", "cgroupfs", "cgroupfs", "cgroupfs", "cgroupfs", "cgroupfs"]);
  });

  it("is the one that is configured, with the reason", () => {
    const configured = { driver: "cgroupfs", reason: "it is configured", problem: "" };
    assert.deepEqual(chooseDriver("cgroupfs", "v2", spoken), configured);
    assert.equal(chooseDriver("systemd", "v1", spoken).driver, "systemd");
    assert.match(chooseDriver("auto", "hybrid", spoken).reason, /systemd is process 1, and cgroups are hybrid/);
  });

  it("is not systemd by itself where nothing can speak to that, and has a problem where it is configured", () => {
    const byHost = chooseDriver("auto", "v2", mute);
    assert.deepEqual([byHost.driver, byHost.problem], ["cgroupfs", ""]);
    assert.match(byHost.reason, /without D-Bus at \/run\/dbus\/system_bus_socket/);
    const configured = chooseDriver("systemd", "v2", mute);
    assert.equal(configured.driver, "systemd");
    assert.match(configured.problem, /install dbus, or set cgroupDriver: cgroupfs/);
  });

  it("is refused where systemd is not process 1", () => {
    assert.throws(() => chooseDriver("systemd", "v2", absent), {
      kind: "invalidArgument",
      message: /cgroupDriver: systemd is not process 1 here: set cgroupfs, or auto/,
    });
  });
});
