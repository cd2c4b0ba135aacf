import assert from "node:assert/strict";
import { test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type Output, OutputQueue } from "./output-queue.ts";

function setup() {
  const source = {
    isPaused: false,
    pause: () => {
      source.isPaused = true;
    },
    resume: () => {
      source.isPaused = false;
    },
  };
  return { source, queue: new OutputQueue(source) };
}

const piece = (size: number): Output => ({ stream: "stdout", data: Buffer.alloc(size) });

test("a source is paused while much was not taken, and goes on when little is left", async () => {
  const { source, queue } = setup();
  let pushed = 0;
  while (!source.isPaused) {
    queue.push(piece(65_536));
    pushed += 1;
  }
  assert.ok(pushed * 65_536 <= 1 << 20, `${pushed} pieces`);
  let taken = 0;
  for await (const _ of queue) {
    taken += 1;
    if (!source.isPaused) break;
  }
  assert.ok(taken > pushed / 2 && taken < pushed);
});

test("pieces that were taken are forgotten, also when there is always one more", async () => {
  const { queue } = setup();
  const gone: WeakRef<Output>[] = [];
  const push = () => {
    const output = piece(100);
    gone.push(new WeakRef(output));
    queue.push(output);
  };
  for (let i = 0; i < 10; i++) push();
  for await (const _ of queue) {
    push();
    if (gone.length === 5000) break;
  }
  setFlagsFromString("--expose-gc");
  await new Promise((resolve) => setImmediate(resolve));
  runInNewContext("gc")();
  assert.ok(gone.filter((ref) => ref.deref() !== undefined).length < 500);
});

test("small pieces count for more than their bytes", () => {
  const { source, queue } = setup();
  for (let i = 0; i < 2000; i++) queue.push(piece(1));
  assert.ok(source.isPaused);
});

test("a reader gets everything that came before the end, by as many loops as it likes", async () => {
  const { queue } = setup();
  queue.push(piece(1));
  queue.push({ stream: "stderr", lostBytes: 5n });
  for await (const first of queue) {
    assert.deepEqual(first, piece(1));
    break;
  }
  const rest = (async () => {
    const all: Output[] = [];
    for await (const output of queue) all.push(output);
    return all;
  })();
  queue.push(piece(2));
  queue.end();
  queue.push(piece(3));
  assert.deepEqual(await rest, [{ stream: "stderr", lostBytes: 5n }, piece(2)]);
  await queue.drained;
});

test("the end comes after the last piece was taken, or at once when nothing is there", async () => {
  const { queue } = setup();
  let isDrained = false;
  void queue.drained.then(() => {
    isDrained = true;
  });
  queue.push(piece(1));
  queue.end();
  await Promise.resolve();
  assert.equal(isDrained, false);
  for await (const _ of queue);
  assert.equal(isDrained, true);
  const empty = setup().queue;
  empty.end();
  await empty.drained;
});

test("what is discarded holds nobody", async () => {
  const { queue } = setup();
  queue.push(piece(1));
  queue.discard();
  for await (const _ of queue) assert.fail("it was discarded");
  await queue.drained;
});
