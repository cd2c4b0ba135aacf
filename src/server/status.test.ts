import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { status } from "@grpc/grpc-js";
import { DomainError, invalidArgument } from "../lib/errors.ts";
import { toStatus } from "./status.ts";

const nodeError = (code: string) => Object.assign(new Error(code), { code });

describe("the status of an error", () => {
  const table: readonly (readonly [unknown, status])[] = [
    [invalidArgument("x"), status.INVALID_ARGUMENT],
    [new DomainError("deadlineExceeded", "x"), status.DEADLINE_EXCEEDED],
    [new DomainError("unimplemented", "x"), status.UNIMPLEMENTED],
    [nodeError("ENOSPC"), status.RESOURCE_EXHAUSTED],
    [nodeError("ETIMEDOUT"), status.DEADLINE_EXCEEDED],
    [nodeError("EMFILE"), status.RESOURCE_EXHAUSTED],
    [nodeError("ENOENT"), status.INTERNAL],
    [nodeError("errno 524"), status.INTERNAL],
    [nodeError("ERR_INVALID_ARG_TYPE"), status.UNKNOWN],
    [Object.assign(new Error("x"), { code: 5 }), status.UNKNOWN],
    [new DOMException("x", "AbortError"), status.CANCELLED],
    [AbortSignal.abort().reason, status.CANCELLED],
    [new DOMException("x", "TimeoutError"), status.DEADLINE_EXCEEDED],
    [new SuppressedError(new Error("undo"), invalidArgument("first")), status.INVALID_ARGUMENT],
    [new AggregateError([nodeError("ENOSPC"), new Error("x")], "both"), status.RESOURCE_EXHAUSTED],
    [new AggregateError([], "none"), status.UNKNOWN],
    ["a string", status.UNKNOWN],
    [undefined, status.UNKNOWN],
  ];
  for (const [error, code] of table) {
    it(`of ${error} is ${status[code]}`, () => assert.equal(toStatus(error).code, code));
  }

  it("keeps what failed first and what failed while undoing", () => {
    const error = new SuppressedError(new Error("umount: busy"), new Error("no space"));
    assert.equal(toStatus(error).details, "no space; while undoing: umount: busy");
  });

  it("fits into a header block whatever the text", () => {
    for (const unit of ["x", " ", "é", "日", "🙂", "\n", "\ud800", "%"]) {
      const { details } = toStatus(new Error(unit.repeat(100_000)));
      assert.ok(encodeURI(details).length <= 8 * 1024, unit);
      assert.ok(encodeURI(details).length > 7 * 1024, unit);
      assert.match(details, / \[cut\]$/);
    }
  });

  it("leaves a text that fits as it is", () => {
    assert.equal(toStatus(new Error("naïve 🙂")).details, "naïve 🙂");
    assert.equal(toStatus(new Error("half \ud83d")).details, "half \ufffd");
  });
});
