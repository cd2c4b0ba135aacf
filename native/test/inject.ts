/** One monitor whose k-th system call fails, asked as a daemon asks, and what must hold of it whatever fails. */
import assert from "node:assert/strict";
import { closeSync, openSync, readdirSync, readFileSync, readSync, writeSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as breathe } from "node:timers/promises";
import { Monitor } from "../../src/monitor/monitor.ts";
import { MonitorError } from "../../src/monitor/monitor-error.ts";
import type { SeenExit } from "../../src/monitor/monitored-container.ts";
import { parseExitRecord } from "../../src/monitor/record.ts";
import { inTime, Unanswered } from "./in-time.ts";
import { type Node, type Place, parseLog } from "./monitor-fixture.ts";
import { isAlive, processState } from "./processes.ts";

/** A step's bound: nothing that is asked here takes as long, and what is not answered by then will not be. */
const STEP_MS = 15_000;
const SETTLE_MS = 5_000;
/** Of what is asked of the runtime. */
export const DEADLINE_MS = 4_000;
/** What the thread for logs has open, which begins with the first container: a loop, two timers, two events. */
const PUMP_FDS = 5;
const SIZE = 64;
const AT = { armed: 0, at: 4, variant: 8, count: 12, hit: 16, variants: 20, error: 24, call: 28 };

export interface Hit {
  /** Which call it was; "" when no call had that number. */
  readonly call: string;
  readonly error: number;
  /** How many errors that call can have. */
  readonly variants: number;
}

/** What a monitor under test is told, and tells: `struct orders` of inject.c. */
export class Orders implements Disposable {
  readonly path: string;
  readonly #fd: number;

  constructor(path: string) {
    this.path = path;
    this.#fd = openSync(path, "w+");
    writeSync(this.#fd, Buffer.alloc(SIZE));
  }

  /** From now on calls are counted, and the one with the number `at` fails with its `variant`-th error. */
  arm(at: number, variant: number): void {
    const bytes = Buffer.alloc(SIZE);
    bytes.writeUInt32LE(at, AT.at);
    bytes.writeUInt32LE(variant, AT.variant);
    bytes.writeUInt32LE(1, AT.armed);
    writeSync(this.#fd, bytes, 0, SIZE, 0);
  }

  /** `true`: counting goes on where it was. */
  set armed(armed: boolean) {
    writeSync(this.#fd, Buffer.from([armed ? 1 : 0]), 0, 1, AT.armed);
  }

  get count(): number {
    return this.#bytes().readUInt32LE(AT.count);
  }

  get hit(): Hit {
    const bytes = this.#bytes();
    if (bytes.readUInt32LE(AT.hit) === 0) return { call: "", error: 0, variants: 0 };
    const call = bytes.toString("latin1", AT.call).split("\0", 1)[0] ?? "";
    return { call, error: bytes.readInt32LE(AT.error), variants: bytes.readUInt32LE(AT.variants) };
  }

  #bytes(): Buffer {
    const bytes = Buffer.alloc(SIZE);
    readSync(this.#fd, bytes, 0, SIZE, 0);
    return bytes;
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

/** How a container may end, besides unknown where its status was lost. */
export interface Ending {
  readonly siCode: number;
  readonly siStatus: number;
}

export const KILLED: Ending = { siCode: 2, siStatus: 9 };

/** One monitor from its first connection to its end. */
export class Life implements AsyncDisposable {
  readonly place: Place;
  readonly orders: Orders;
  readonly #exits = new Map<string, PromiseWithResolvers<SeenExit>>();
  #monitor: Monitor | undefined;
  #isLost = true;
  #epoch = 1n;

  constructor(place: Place, orders: Orders) {
    this.place = place;
    this.orders = orders;
  }

  static async begin(node: Node, orders: Orders): Promise<Life> {
    return new Life(await node.place(), orders);
  }

  /** As a daemon's repeated calls: at most one call of the monitor fails, so that the second or third must succeed. */
  async ask<T>(what: string, run: (monitor: Monitor) => Promise<T>): Promise<T> {
    const failures: string[] = [];
    for (let attempt = 0; attempt < 3; attempt++) {
      try {
        return await within(what, this.connected().then(run));
      } catch (error) {
        // A request that nobody answers is never right.
        if (!(error instanceof Error) || error instanceof Unanswered) throw error;
        assert.doesNotMatch(error.message, /no answer in time/, what);
        failures.push(error.message);
      }
    }
    throw new Error(`${what} failed three times: ${failures.join("; ")}`);
  }

  /** The same once: what went wrong, or undefined. */
  async try(what: string, run: (monitor: Monitor) => Promise<unknown>): Promise<MonitorError | undefined> {
    try {
      await within(what, this.connected().then(run));
      return undefined;
    } catch (error) {
      if (!(error instanceof MonitorError)) throw error;
      assert.doesNotMatch(error.message, /no answer in time/, what);
      return error;
    }
  }

  /** The control connection, made anew if it was lost. */
  async connected(): Promise<Monitor> {
    if (this.#monitor !== undefined && !this.#isLost) return this.#monitor;
    this.#isLost = false;
    const monitor = await Monitor.connect({
      socketPath: this.place.socketPath,
      epoch: this.#epoch,
      onExit: (container) => this.#exit(container.id).resolve(container),
      onLost: () => {
        this.#isLost = true;
      },
    }).catch((error: unknown) => {
      this.#isLost = true;
      throw error;
    });
    this.#monitor = monitor;
    for (const container of await monitor.snapshot())
      if (container.state === "exited") this.#exit(container.id).resolve(container);
    return monitor;
  }

  /** As when the daemon ends; the next one has a higher epoch. */
  leave(): void {
    this.#monitor?.close();
    this.#monitor = undefined;
    this.#isLost = true;
    this.#epoch += 1n;
    this.#exits.clear();
  }

  /** Waits until the exit is told, and checks that it is the truth and on record. */
  async exited(id: string, ...endings: readonly Ending[]): Promise<SeenExit> {
    const told = await within(`EXIT of ${id}`, this.#exit(id).promise);
    const { siCode, siStatus } = told;
    if (siCode === 0) assert.equal(this.orders.hit.call, "waitid", `${id} ended unknown without reason`);
    else
      assert.ok(
        endings.some((e) => e.siCode === siCode && e.siStatus === siStatus),
        `${id} ended ${siCode}/${siStatus}`,
      );
    const record = parseExitRecord(readFileSync(join(this.place.dir, `${id}.exit`)));
    assert.deepEqual([record?.state, record?.siCode, record?.siStatus], ["exited", siCode, siStatus], `${id}: record`);
    return told;
  }

  async release(id: string): Promise<void> {
    await this.ask(`ACK_EXIT ${id}`, (monitor) => monitor.ackExit(id));
    await this.ask(`RELEASE ${id}`, (monitor) => monitor.release(id));
  }

  /** All records of log files, in the order of the files; every line is one, and what is missing is counted. */
  checkLog(files: readonly string[], expected: string, lostBytes: bigint): void {
    const text = files.map((file) => parseLog(readFileSync(join(this.place.dir, file), "utf8")).stdout).join("");
    if (lostBytes === 0n) assert.equal(text, expected);
    else assert.equal(text.length + Number(lostBytes), expected.length, `${text.length} written, ${lostBytes} lost`);
  }

  get fds(): number {
    return readdirSync(`/proc/${this.place.pid}/fd`).length;
  }

  /** Everything is released: nothing is left of it, and the monitor works as on its first day. */
  async check(fds: number): Promise<void> {
    this.orders.armed = false;
    const { call } = this.orders.hit;
    const argv = ["/bin/sh", "-c", "echo well"];
    const well = await this.ask("a next request", (m) => m.runtime("/", { argv, env: [], deadlineMs: DEADLINE_MS }));
    assert.deepEqual([well.outcome, well.stdout.toString()], ["exited", "well\n"]);
    await this.settles("descriptors", () => this.fds - (this.fds === fds ? 0 : PUMP_FDS), fds);
    await this.settles("children", () => this.#children(), "");
    this.#checkDescriptors();
    // A file that could not be removed is still there.
    if (call !== "unlink")
      assert.deepEqual(
        readdirSync(this.place.dir).filter((f) => /^\.|\.exit$/.test(f)),
        [],
      );
    assert.equal(processState(this.place.pid)?.state === "Z", false, "the monitor is dead");
  }

  async shutDown(): Promise<void> {
    this.orders.armed = true;
    await this.try("SHUTDOWN", (monitor) => monitor.shutdown());
    for (let tries = 0; tries < 2 && this.isAlive; tries++) {
      // Its answer may have come before its end.
      const end = performance.now() + 1_000;
      while (performance.now() < end && this.isAlive) await breathe();
      if (this.isAlive) await this.try("SHUTDOWN", (monitor) => monitor.shutdown());
    }
    assert.equal(this.isAlive, false, "the monitor has not ended");
  }

  get isAlive(): boolean {
    return isAlive(this.place.pid);
  }

  /** Looks until it is so: what a closed connection leaves is given back when the monitor has seen that. */
  async settles<T>(what: string, look: () => T, expected: T): Promise<void> {
    const end = performance.now() + SETTLE_MS;
    while (look() !== expected && performance.now() < end) await this.ask("SNAPSHOT", (m) => m.snapshot());
    assert.equal(look(), expected, what);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.orders.armed = false;
    this.#monitor?.close();
    for (const pid of await descendants(this.place.pid)) kill(pid);
    kill(this.place.pid);
  }

  #exit(id: string): PromiseWithResolvers<SeenExit> {
    return this.#exits.getOrInsertComputed(id, () => Promise.withResolvers());
  }

  /** Commands and states of its children, zombies too. */
  #children(): string {
    const text = readFileSync(`/proc/${this.place.pid}/task/${this.place.pid}/children`, "utf8").trim();
    if (text === "") return "";
    return text
      .split(" ")
      .map((pid) => readFileSync(`/proc/${pid}/stat`, "utf8").split(" ", 8).join(" "))
      .join("; ");
  }

  #checkDescriptors(): void {
    const folder = `/proc/${this.place.pid}/fdinfo`;
    for (const fd of readdirSync(folder).filter((name) => Number(name) > 2)) {
      const flags = /^flags:\s*([0-7]+)/m.exec(readFileSync(join(folder, fd), "utf8"))?.[1] ?? "0";
      assert.ok(Number.parseInt(flags, 8) & 0o2000000, `descriptor ${fd} would be inherited`);
    }
  }
}

export async function within<T>(what: string, work: Promise<T>): Promise<T> {
  return await inTime(what, work, STEP_MS);
}

async function descendants(pid: number): Promise<number[]> {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").trim();
    const children = text === "" ? [] : text.split(" ").map(Number);
    return [...children, ...(await Promise.all(children.map(descendants))).flat()];
  } catch {
    return []; // it has ended
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // gone already
  }
}
