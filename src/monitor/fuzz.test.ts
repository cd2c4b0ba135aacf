import assert from "node:assert/strict";
import { it } from "node:test";
import { cut, Dice, mutated } from "../lib/mutation.fixture.ts";
import { encodeFrame, type Frame, FrameReader, PayloadWriter, WireError } from "../lib/wire.ts";
import { decodeLogError } from "./events.ts";
import { FrameCutter } from "./frame-cutter.ts";
import { decodeContainer, decodeSnapshot } from "./monitored-container.ts";
import { decodeExecEnd, decodeExecOutput, decodeRuntimeResult, EVENT, MESSAGE } from "./protocol.ts";

/** How many inputs. A failure names the one that failed; the same number alone is `NACELLE_FUZZ_FIRST`. */
const inputs = Number(process.env.NACELLE_FUZZ_STREAMS ?? 200_000);
const first = Number(process.env.NACELLE_FUZZ_FIRST ?? 0);

const REPLY = 0x8000;
const decoders = [
  decodeContainer,
  decodeExecEnd,
  decodeExecOutput,
  decodeLogError,
  decodeRuntimeResult,
  decodeSnapshot,
];

function frame(type: number, payload: Buffer, seq = 7n): Buffer {
  return encodeFrame(type, seq, payload);
}

function output(stream: number, text: string): Buffer {
  return frame(EVENT.execOutput, new PayloadWriter().u8(stream).bytes(Buffer.from(text)).done());
}

const conversation: readonly [Buffer, ...Buffer[]] = [
  frame(MESSAGE.snapshot | REPLY, new PayloadWriter().u32(0).done()),
  output(1, "out".repeat(50)),
  output(2, "error"),
  frame(EVENT.logError, new PayloadWriter().str("c").u32(28).done(), 0n),
  frame(MESSAGE.exec | REPLY, new PayloadWriter().u8(0).u32(7).u64(0n).done()),
];

/** What is cut in pieces is what is read whole, or both refuse it with the protocol's own error. */
function frames(dice: Dice): void {
  const bytes = dice.roll(8) === 0 ? dice.bytes(dice.roll(200)) : mutated(conversation, dice);
  const read: Frame[] = [];
  const isRefused = refuses(() => read.push(...new FrameReader().push(bytes)));
  let passed = 0;
  const whole: Frame[] = [];
  const cutter = new FrameCutter({
    onOutput: (_stream, data) => {
      passed += data.length;
    },
    onFrame: (one) => void whole.push(one),
  });
  refuses(() => {
    for (const chunk of cut(bytes, dice)) cutter.push(chunk);
  });
  assert.ok(passed <= bytes.length);
  if (!isRefused) assert.ok(whole.length <= read.length, `${whole.length} frames of ${read.length}`);
  for (const { payload } of [...read, ...whole])
    refuses(() => dice.pick(decoders as never as [(p: Buffer) => unknown])(payload));
}

/** Whether it throws a `WireError`; anything else that it throws is a bug. */
function refuses(act: () => unknown): boolean {
  try {
    act();
    return false;
  } catch (error) {
    if (error instanceof WireError) return true;
    throw error;
  }
}

it(`frames: ${inputs} hostile inputs are read or refused, never anything else`, () => {
  const before = process.memoryUsage();
  for (let index = first; index < first + inputs; index += 1) {
    try {
      frames(new Dice(index));
    } catch (error) {
      throw new Error(`input ${index}`, { cause: error });
    }
  }
  const after = process.memoryUsage();
  assert.ok(after.rss - before.rss < 256 << 20, `${after.rss} bytes are held`);
});
