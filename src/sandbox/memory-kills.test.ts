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
  assert.deepEqual(said, ["2", "1"]);
  assert.deepEqual(
    measures.map((measure) => (measure.kind === "oomKills" ? measure.count : undefined)),
    [2, 1, 1],
  );
});
