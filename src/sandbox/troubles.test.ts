import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Troubles } from "./troubles.ts";

function setup() {
  const said: string[] = [];
  const clock = { nowMs: 1_000_000 };
  const troubles = new Troubles(
    (message) => said.push(message),
    () => clock.nowMs,
  );
  return { troubles, said, clock };
}

describe("containers in trouble", () => {
  it("are known from the first word of their monitor until the last, with how long it lasts", () => {
    const { troubles, said, clock } = setup();
    troubles.tell("s", { id: "a", trouble: "cannot end", seconds: 10 });
    clock.nowMs += 5_500;
    assert.deepEqual(troubles.list(), [{ sandboxId: "s", containerId: "a", trouble: "cannot end", seconds: 15 }]);
    troubles.tell("s", { id: "a", trouble: "well", seconds: 16 });
    assert.deepEqual(troubles.list(), []);
    assert.equal(said.length, 2);
  });

  it("end what waits for their end, which comes later too", async () => {
    const { troubles } = setup();
    const before = troubles.cannotEnd("a");
    troubles.tell("s", { id: "a", trouble: "cannot end", seconds: 10 });
    await assert.rejects(before, { kind: "unavailable", message: /^container a was killed 10 s ago and cannot end/ });
    await assert.rejects(troubles.cannotEnd("a"), { kind: "unavailable" });
  });

  it("are not those that have ended, or whose monitor is lost", () => {
    const { troubles } = setup();
    troubles.tell("s", { id: "a", trouble: "cannot end", seconds: 10 });
    troubles.tell("s", { id: "b", trouble: "log hangs", seconds: 30 });
    troubles.tell("t", { id: "c", trouble: "log hangs", seconds: 30 });
    troubles.ended("a");
    troubles.lost("s");
    assert.deepEqual(
      troubles.list().map(({ containerId }) => containerId),
      ["c"],
    );
  });

  it("are told of anew when it has lasted twice as long", () => {
    const { troubles, said } = setup();
    for (const seconds of [10, 12, 17, 20, 25, 39, 40]) troubles.tell("s", { id: "a", trouble: "cannot end", seconds });
    assert.equal(said.length, 3);
  });

  it("may be in two, and one of them is over without the other", async () => {
    const { troubles } = setup();
    const troublesOf = () => troubles.list().map(({ trouble }) => trouble);
    troubles.tell("s", { id: "a", trouble: "cannot end", seconds: 10 });
    troubles.tell("s", { id: "a", trouble: "log hangs", seconds: 30 });
    assert.deepEqual(troublesOf(), ["cannot end", "log hangs"]);
    troubles.tell("s", { id: "a", trouble: "well", seconds: 31, of: "log hangs" });
    assert.deepEqual(troublesOf(), ["cannot end"]);
    await assert.rejects(troubles.cannotEnd("a"), { kind: "unavailable" });
  });

  it("are well altogether when a monitor does not say of what", () => {
    const { troubles } = setup();
    troubles.tell("s", { id: "a", trouble: "cannot end", seconds: 10 });
    troubles.tell("s", { id: "a", trouble: "log hangs", seconds: 30 });
    troubles.tell("s", { id: "a", trouble: "well", seconds: 31 });
    assert.deepEqual(troubles.list(), []);
  });
});
