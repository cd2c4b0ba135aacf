import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Exits } from "./exits.ts";
import { Stops } from "./stops.ts";

function setup(lostKills = 0, cannotEnd: Promise<never> = new Promise(() => {})) {
  const exits = new Exits();
  const asked: string[] = [];
  const killed: string[] = [];
  const reported: string[] = [];
  const stops = new Stops({
    exits,
    cannotEnd: () => cannotEnd,
    kill: async (id) => {
      killed.push(id);
      if (killed.length <= lostKills) throw new Error("the connection broke");
      exits.ended(id);
    },
    report: (id) => reported.push(id),
  });
  const ask = (id: string) => async () => void asked.push(id);
  return { stops, exits, asked, killed, reported, ask };
}

describe("Stops", () => {
  it("asks, and ends when the container does", async () => {
    const { stops, exits, asked, killed, ask } = setup();
    const stopped = stops.stop("a", 60_000, ask("a"));
    exits.ended("a");
    await stopped;
    assert.deepEqual([asked, killed], [["a"], []]);
  });

  it("kills when the grace is over", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const { stops, asked, killed, ask } = setup();
    const stopped = stops.stop("a", 5_000, ask("a"));
    t.mock.timers.tick(4_999);
    assert.deepEqual([asked, killed], [["a"], []]);
    t.mock.timers.tick(1);
    await stopped;
    assert.deepEqual(killed, ["a"]);
  });

  it("lets a less patient call bring the deadline forward, without asking twice", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const { stops, asked, killed, ask } = setup();
    const both = [stops.stop("a", 600_000, ask("a")), stops.stop("a", 1_000, ask("a"))];
    t.mock.timers.tick(1_000);
    await Promise.all(both);
    assert.deepEqual([asked, killed], [["a"], ["a"]]);
  });

  it("does not let a more patient call put the deadline off", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const { stops, killed, ask } = setup();
    const both = [stops.stop("a", 1_000, ask("a")), stops.stop("a", 600_000, ask("a"))];
    t.mock.timers.tick(1_000);
    await Promise.all(both);
    assert.deepEqual(killed, ["a"]);
  });

  it("keeps the deadline when the caller gives up", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const { stops, exits, killed, ask } = setup();
    const caller = new AbortController();
    const stopped = stops.stop("a", 1_000, ask("a"), caller.signal);
    caller.abort(new Error("deadline"));
    await assert.rejects(stopped, /deadline/);
    const ended = exits.wait("a");
    t.mock.timers.tick(1_000);
    await ended;
    assert.deepEqual(killed, ["a"]);
  });

  it("ends the waiting, and not the killing, when it is known that the container cannot end", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const { stops, exits, killed, ask } = setup(9, Promise.reject(new Error("it cannot end")));
    await assert.rejects(stops.stop("a", 1_000, ask("a")), /it cannot end/);
    t.mock.timers.tick(1_000);
    assert.deepEqual(killed, ["a"]);
    exits.ended("a");
  });

  it("kills at once without a grace", async () => {
    const { stops, asked, killed, ask } = setup();
    await stops.stop("a", 0, ask("a"));
    assert.deepEqual([asked, killed], [[], ["a"]]);
  });

  it("kills again when a kill got lost, whether somebody asks again or not", async (t) => {
    t.mock.timers.enable({ apis: ["setTimeout"] });
    const { stops, killed, reported, ask } = setup(1);
    const stopped = stops.stop("a", 1_000, ask("a"));
    t.mock.timers.tick(1_000);
    await Promise.resolve();
    t.mock.timers.tick(5_000);
    await stopped;
    assert.deepEqual([killed, reported], [["a", "a"], ["a"]]);
  });

  it("waits for the end although the container cannot be asked any more", async () => {
    const { stops, exits, reported } = setup();
    const stopped = stops.stop("a", 60_000, () => Promise.reject(new Error("it has just exited")));
    exits.ended("a");
    await stopped;
    assert.deepEqual(reported, ["a"]);
  });
});
