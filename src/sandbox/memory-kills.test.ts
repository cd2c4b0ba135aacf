import assert from "node:assert/strict";
import { it } from "node:test";
import { type Measure, onMeasure } from "../lib/measures.ts";
import { MemoryKills } from "./memory-kills.ts";

it("kills for memory are counted once each, and told while the container lives", () => {
  const measures: Measure[] = [];
  using _listening = onMeasure((measure) => measures.push(measure));
  const said: string[] = [];
  const kills = new MemoryKills((_message, { processes = "" }) => said.push(processes));
  kills.seen("s", { id: "a", oomKills: 2n });
  kills.seen("s", { id: "a", oomKills: 3n });
  kills.ended({ id: "a", oomKills: 4n });
  kills.ended({ id: "a", oomKills: 4n });
  kills.ended({ id: "b", oomKills: 0n });
  kills.ended({ id: "c", oomKills: 9n, isOfPod: true });
  assert.deepEqual(said, ["2", "1"]);
  assert.deepEqual(
    measures.map((measure) => (measure.kind === "oomKills" ? measure.count : undefined)),
    [2, 1, 1],
  );
});

it("kills that an earlier daemon has counted are not counted again, and those of an end that it missed are", () => {
  let counted = 0;
  using _listening = onMeasure((measure) => (counted += measure.kind === "oomKills" ? measure.count : 0));
  const kills = new MemoryKills(() => {});
  kills.found({ id: "a", oomKills: 5n, state: "running", acked: false });
  assert.equal(counted, 0);
  kills.seen("s", { id: "a", oomKills: 6n });
  kills.ended({ id: "a", oomKills: 6n });
  assert.equal(counted, 1);
  kills.found({ id: "b", oomKills: 2n, state: "exited", acked: false });
  kills.found({ id: "c", oomKills: 4n, state: "exited", acked: true });
  assert.equal(counted, 3);
});
