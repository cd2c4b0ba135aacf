import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Turns } from "./turns.ts";

const never = new AbortController().signal;

describe("Turns", () => {
  it("go to who came first", async () => {
    const turns = new Turns({ atOnce: 1, perOwner: 1, waiting: 10, what: "tests" });
    const order: string[] = [];
    const first = await turns.take("a", never);
    const work = ["b", "c", "d"].map(async (owner) => {
      using _turn = await turns.take(owner, never);
      order.push(owner);
    });
    first[Symbol.dispose]();
    await Promise.all(work);
    assert.deepEqual(order, ["b", "c", "d"]);
  });

  it("of one owner leave some to the others", async () => {
    const turns = new Turns({ atOnce: 3, perOwner: 2, waiting: 10, what: "tests" });
    const hung = [await turns.take("hung", never), await turns.take("hung", never)];
    const third = turns.take("hung", never);
    using _other = await turns.take("other", never);
    hung[0]?.[Symbol.dispose]();
    (await third)[Symbol.dispose]();
  });

  it("are refused when too many wait", async () => {
    const turns = new Turns({ atOnce: 1, perOwner: 1, waiting: 1, what: "tests" });
    const first = await turns.take("a", never);
    const second = turns.take("b", never);
    await assert.rejects(turns.take("c", never), { kind: "resourceExhausted" });
    first[Symbol.dispose]();
    (await second)[Symbol.dispose]();
  });

  it("are not waited for after an abort, and not lost by it", async () => {
    const turns = new Turns({ atOnce: 1, perOwner: 1, waiting: 10, what: "tests" });
    const first = await turns.take("a", never);
    const abort = new AbortController();
    const second = turns.take("b", abort.signal);
    const third = turns.take("c", never);
    abort.abort(new Error("enough"));
    await assert.rejects(second, { message: "enough" });
    first[Symbol.dispose]();
    (await third)[Symbol.dispose]();
    await assert.rejects(turns.take("d", abort.signal), { message: "enough" });
    (await turns.take("e", never))[Symbol.dispose]();
  });
});
