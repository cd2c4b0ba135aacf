import assert from "node:assert/strict";
import { it } from "node:test";
import { endingAsStatus, endingAsText } from "./ending.ts";
import { headerValues } from "./negotiation.ts";
import { TerminalSizes } from "./terminal-sizes.ts";
import { commandChannels, decodeMessage, encodeMessage } from "./websocket/channel-protocol.ts";

it("tells an ending as a status and as a text", () => {
  const success = '{"metadata":{},"status":"Success"}';
  assert.equal(endingAsStatus({ kind: "exited", code: 0 }), success);
  assert.equal(endingAsStatus({ kind: "exited", code: undefined }), success);
  assert.equal(endingAsText({ kind: "exited", code: undefined }), "");
  const failed = { kind: "failed", message: 'no "sh"' } as const;
  assert.deepEqual(JSON.parse(endingAsStatus(failed)), {
    ...{ metadata: {}, status: "Failure", reason: "InternalError", code: 500 },
    message: 'Internal error occurred: no "sh"',
  });
  assert.equal(endingAsText(failed), 'Internal error occurred: no "sh"');
});

it("reads sizes however they are cut, and passes over what is none", () => {
  const text =
    '{"Width":80,"Height":24}\n{"Width":-1,"Height":2}nonsense}{"Width":"9","Height":1}{"Width":1,"Height":65535} {}';
  const expected = [
    { width: 80, height: 24 },
    { width: 1, height: 65_535 },
  ];
  assert.deepEqual(new TerminalSizes().push(Buffer.from(text)), expected);
  const sizes = new TerminalSizes();
  assert.deepEqual(
    Array.from(text).flatMap((character) => sizes.push(Buffer.from(character))),
    expected,
  );
});

it("does not collect what is no size", () => {
  const sizes = new TerminalSizes();
  for (let count = 0; count < 1_000; count += 1) assert.deepEqual(sizes.push(Buffer.alloc(10_000, "{")), []);
  assert.deepEqual(sizes.push(Buffer.from('}{"Width":80,"Height":24}')), [{ width: 80, height: 24 }]);
});

it("writes and reads channel messages", () => {
  for (const protocol of Object.values(commandChannels)) {
    for (const data of ["", "a", "hello, world", "\0\xff"].map((text) => Buffer.from(text, "latin1"))) {
      const message = encodeMessage(protocol, 4, data);
      assert.deepEqual(decodeMessage(protocol, message), { channel: 4, data });
    }
    assert.equal(decodeMessage(protocol, Buffer.alloc(0)), undefined);
  }
  const base64 = commandChannels["base64.channel.k8s.io"] ?? assert.fail("it is not served");
  assert.equal(encodeMessage(base64, 1, Buffer.from("hi")).toString(), "1aGk=");
});

it("reads a header that is there several times, with several values", () => {
  assert.deepEqual(headerValues(["a, b", " c,", ""]), ["a", "b", "c"]);
  assert.deepEqual(headerValues("a"), ["a"]);
  assert.deepEqual(headerValues(undefined), []);
});
