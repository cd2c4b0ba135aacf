import assert from "node:assert/strict";
import { it } from "node:test";
import { Announcements, type Life, type PodEventType } from "./pod-events.ts";

it("each step of a life is told once, those that were missed are told in order", () => {
  const lives: readonly (readonly [readonly (Life | undefined)[], readonly PodEventType[]])[] = [
    [
      ["created", "running", "ended", undefined],
      ["created", "started", "stopped", "deleted"],
    ],
    [
      ["running", "running", "ended", "ended"],
      ["created", "started", "stopped"],
    ],
    [
      ["created", "ended", undefined],
      ["created", "stopped", "deleted"],
    ],
    [
      ["ended", undefined, undefined],
      ["created", "stopped", "deleted"],
    ],
    [[undefined, undefined], []],
  ];
  for (const [steps, expected] of lives) {
    const told: PodEventType[] = [];
    const announcements = new Announcements();
    for (const life of steps) announcements.tell("a", life, (type) => told.push(type));
    assert.deepEqual(told, expected, steps.join());
  }
});

it("what an earlier daemon told is not told again", () => {
  const told: PodEventType[] = [];
  const announcements = new Announcements();
  announcements.assume("a", "running");
  announcements.tell("a", "running", (type) => told.push(type));
  announcements.tell("a", undefined, (type) => told.push(type));
  assert.deepEqual(told, ["deleted"]);
});
