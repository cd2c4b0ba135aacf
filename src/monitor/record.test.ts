import assert from "node:assert/strict";
import { test } from "node:test";
import { parseExitRecord } from "./record.ts";

/** As the native side wrote it: bytes 0 to 80, then zeros, then the checksum. */
const HEAD =
  "4e434c455849543105000000640000008813000000000000010000000700000001809d1ea40dea18024a385aa40dea180314d395a40dea18000000000000000000100000000000006374723100000000";
const CRC = "ee0841a0";

function record(): Buffer {
  const bytes = Buffer.alloc(512);
  bytes.write(HEAD, "hex");
  bytes.write(CRC, 508, "hex");
  return bytes;
}

test("a record that the native side wrote is read", () => {
  assert.deepEqual(parseExitRecord(record()), {
    id: "ctr1",
    state: "exited",
    pid: 100,
    startTime: "5000",
    siCode: 1,
    siStatus: 7,
    createdNs: 1795262400000000001n,
    startedNs: 1795262401000000002n,
    exitedNs: 1795262402000000003n,
    oomKills: 0n,
    logLostBytes: 4096n,
    logLostLines: 0n,
    ooms: 0n,
    oomGroupKills: 0n,
  });
});

test("a record that is harmed in any byte, cut, longer, or not yet written is none", () => {
  for (let i = 0; i < 512; i++) {
    const harmed = record();
    harmed[i] = (harmed[i] ?? 0) ^ 1;
    assert.equal(parseExitRecord(harmed), undefined, `byte ${i}`);
  }
  assert.equal(parseExitRecord(Buffer.alloc(512)), undefined);
  assert.equal(parseExitRecord(record().subarray(0, 511)), undefined);
  assert.equal(parseExitRecord(Buffer.concat([record(), Buffer.alloc(1)])), undefined);
  assert.equal(parseExitRecord(Buffer.alloc(0)), undefined);
});
