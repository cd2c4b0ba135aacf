import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { StatsSet, TakeReading } from "../launcher/stats-protocol.ts";
import { DomainError } from "../lib/errors.ts";
import { type FileReader, StatsFiles, type Subject } from "./stats-files.ts";

/** Answers each place's netns as its text; dies when told. */
class FakeReader implements FileReader {
  readonly table = new Map<number, StatsSet>();
  isOpen = true;

  async add(slot: number, set: StatsSet): Promise<void> {
    this.table.set(slot, set);
  }

  async remove(slots: readonly number[]): Promise<void> {
    for (const slot of slots) this.table.delete(slot);
  }

  async read(level: number, slots: readonly number[], take: TakeReading): Promise<void> {
    if (!this.isOpen) throw new DomainError("unavailable", "the reader died");
    for (const [index, slot] of slots.entries()) {
      take({ timeNs: BigInt(level), texts: [this.table.get(slot)?.netns] }, index);
    }
  }

  [Symbol.dispose](): void {
    this.isOpen = false;
  }
}

function subject(id: string): Subject {
  return { id, files: () => ({ netns: `/${id}`, directories: [], files: [] }) };
}

function setUp() {
  const readers: FakeReader[] = [];
  const ids = new Set(["a", "b", "c"]);
  const open = async () => readers[readers.push(new FakeReader()) - 1] ?? new FakeReader();
  const files = new StatsFiles({ open, ids: () => ids });
  const texts = async (...names: string[]) => {
    const found: (string | undefined)[] = [];
    await files.read(1, names.map(subject), ({ texts: [text] }, index) => {
      found[index] = text;
    });
    return found;
  };
  return { files, readers, ids, texts };
}

describe("the files of many subjects", () => {
  it("are described once, by a reader that is started when it is needed", async () => {
    const { files, readers, texts } = setUp();
    await files.read(1, [], () => assert.fail("told of nothing"));
    assert.equal(readers.length, 0);
    assert.deepEqual(await Promise.all([texts("a", "b"), texts("b", "net c")]), [
      ["/a", "/b"],
      ["/b", "/net c"],
    ]);
    assert.equal(readers.length, 1);
    assert.equal(readers[0]?.table.size, 3);
  });

  it("are closed when their subject is gone, and their place is used again", async () => {
    const { readers, ids, texts } = setUp();
    await texts("a", "net a", "b");
    ids.delete("a");
    assert.deepEqual(await texts("c", "b"), ["/c", "/b"]);
    assert.deepEqual(new Set(readers[0]?.table.values().map(({ netns }) => netns)), new Set(["/b", "/c"]));
    ids.add("d").add("e");
    await texts("d", "e");
    assert.equal(Math.max(...(readers[0]?.table.keys() ?? [])), 3);
  });

  it("are described anew to the next reader when one has died, before or while it was asked", async () => {
    const { readers, texts } = setUp();
    await texts("a", "b");
    readers[0]?.[Symbol.dispose]();
    assert.deepEqual(await texts("b"), ["/b"]);
    const second = readers[1];
    assert.ok(second !== undefined);
    second.read = async () => {
      second.isOpen = false;
      throw new DomainError("unavailable", "the launcher died");
    };
    assert.deepEqual(await texts("a", "b"), ["/a", "/b"]);
    assert.equal(readers.length, 3);
  });
});
