import assert from "node:assert/strict";
import { once } from "node:events";
import { describe, it } from "node:test";
import { type FlightControl, Flights, SingleFlight } from "./flights.ts";

interface Asked {
  readonly image: string;
}

const never = new AbortController().signal;
const flights = () => new Flights<Asked>("container", (a, b) => a.image === b.image);

/** Work that ends when told to, and counts how often it was begun. */
function work() {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const begun: FlightControl[] = [];
  const run = (control: FlightControl) => {
    begun.push(control);
    return promise;
  };
  return { run, resolve, reject, begun };
}

describe("Flights", () => {
  it("gives a second request for the same the result of the first", async () => {
    const { run, resolve, begun } = work();
    const names = flights();
    const both = [names.join("a", { image: "x" }, run, never), names.join("a", { image: "x" }, run, never)];
    resolve("id");
    assert.deepEqual(await Promise.all(both), ["id", "id"]);
    assert.equal(begun.length, 1);
  });

  it("lets the work go on when its only caller gives up, and gives its result to the retry", async () => {
    const { run, resolve, begun } = work();
    const names = flights();
    const impatient = new AbortController();
    const first = names.join("a", { image: "x" }, run, impatient.signal);
    impatient.abort(new Error("deadline"));
    await assert.rejects(first, /deadline/);
    assert.equal(begun[0]?.signal.aborted, false);
    assert.equal(begun[0]?.isAwaited(), false);
    const retry = names.join("a", { image: "x" }, run, never);
    resolve("id");
    assert.equal(await retry, "id");
    assert.equal(begun.length, 1);
  });

  it("refuses a different request while somebody waits for the first, naming its stage", async () => {
    const { run, resolve, begun } = work();
    const names = flights();
    const first = names.join("a", { image: "x" }, run, never);
    begun[0]?.stage.enter("waiting for CNI");
    const other = names.join("a", { image: "y" }, run, never);
    await assert.rejects(other, { kind: "alreadyExists", message: /waiting for CNI/ });
    resolve("id");
    await first;
  });

  it("undoes an abandoned flight before it begins a different one of the same name", async () => {
    const names = flights();
    const order: string[] = [];
    const impatient = new AbortController();
    const abandoned = names.join(
      "a",
      { image: "x" },
      async ({ signal }) => {
        await once(signal, "abort");
        order.push("undone");
        throw signal.reason;
      },
      impatient.signal,
    );
    impatient.abort(new Error("deadline"));
    await assert.rejects(abandoned, /deadline/);
    const second = await names.join(
      "a",
      { image: "y" },
      async () => {
        order.push("begun");
        return "new";
      },
      never,
    );
    assert.equal(second, "new");
    assert.deepEqual(order, ["undone", "begun"]);
  });

  it("frees the name when the work fails", async () => {
    const names = flights();
    await assert.rejects(
      names.join("a", { image: "x" }, () => Promise.reject(new Error("no")), never),
      /no/,
    );
    assert.equal(await names.join("a", { image: "x" }, () => Promise.resolve("id"), never), "id");
    assert.deepEqual(names.snapshot(), []);
  });
});

describe("SingleFlight", () => {
  it("runs once for callers at the same time and again for later ones", async () => {
    const single = new SingleFlight();
    let runs = 0;
    const { promise, resolve } = Promise.withResolvers<void>();
    const run = () => {
      runs += 1;
      return promise;
    };
    const both = [single.run("k", run), single.run("k", run)];
    resolve();
    await Promise.all(both);
    assert.equal(runs, 1);
    await single.run("k", run);
    assert.equal(runs, 2);
  });
});
