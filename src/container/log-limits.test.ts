import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DomainError } from "../lib/errors.ts";
import type { LogLimits } from "../monitor/protocol.ts";
import { logLimits } from "./log-limits.ts";

const none: LogLimits = { soft: 0, hard: 0, policy: "drop", rate: 1_000_000 };
const node: LogLimits = { soft: 500, hard: 1_000, policy: "drop", rate: 100 };

type Annotations = Readonly<Record<string, string>>;

function limits(of: LogLimits, pod: Annotations, container: Annotations = {}): LogLimits {
  return logLimits(of, { annotations: pod }, { metadata: { name: "web", attempt: 0 }, annotations: container });
}

const key = (name: string) => `nacelle.dev/log-${name}`;

describe("the limits of a log", () => {
  it("are the node's without annotations, and with those for another container", () => {
    assert.deepEqual(limits(node, {}), node);
    assert.deepEqual(limits(node, { [key("hard-limit.db")]: "1", "example.org/log-colour": "red" }), node);
  });

  it("have no other names", () => {
    const unknown =
      /^annotation nacelle\.dev\/log-hard-limt[.a-z1]*: unknown; did you mean nacelle\.dev\/log-hard-limit\?$/;
    assert.throws(() => limits(node, { [key("hard-limt")]: "1" }), { kind: "invalidArgument", message: unknown });
    assert.throws(() => limits(node, { [key("hard-limt.web.1")]: "1" }), { kind: "invalidArgument", message: unknown });
    assert.throws(() => limits(node, {}, { [key("hard-limt")]: "1" }), { kind: "invalidArgument", message: unknown });
    // A container has no containers.
    assert.throws(
      () => limits(node, {}, { [key("hard-limit.web")]: "1" }),
      /log-hard-limit\.web: unknown; did you mean/,
    );
    assert.throws(() => limits(node, { [key("colour-of-it-all")]: "red" }), /annotation nacelle.dev\/log-colour/);
  });

  it("are soft ones up to the hard one, and refused above it where both are asked for", () => {
    assert.deepEqual(limits(node, { [key("hard-limit")]: "300" }), { ...node, soft: 300, hard: 300 });
    assert.equal(limits({ ...node, soft: 0 }, { [key("soft-limit")]: "5k" }).soft, 1_000);
    assert.equal(limits(none, { [key("hard-limit")]: "300" }).soft, 0);
    const message = 'annotation nacelle.dev/log-soft-limit: "301" is not at most nacelle.dev/log-hard-limit.web, "300"';
    const asked = { [key("soft-limit")]: "301", [key("hard-limit.web")]: "300" };
    assert.throws(() => limits(none, asked), { kind: "invalidArgument", message });
  });

  it("can be asked for where the node has none", () => {
    const asked = {
      [key("soft-limit")]: "1Mi",
      [key("hard-limit")]: "2Mi",
      [key("policy")]: "rate",
      [key("rate")]: "5k",
    };
    assert.deepEqual(limits(none, asked), { soft: 2 ** 20, hard: 2 ** 21, policy: "rate", rate: 5_000 });
  });

  it("are lowered by annotations, and never raised", () => {
    assert.equal(limits(node, { [key("hard-limit")]: "999" }).hard, 999);
    assert.equal(limits(node, { [key("hard-limit")]: "1Gi" }).hard, 1_000);
    assert.equal(limits(node, { [key("soft-limit")]: "1Gi" }).soft, 500);
    assert.equal(limits({ ...node, policy: "rate" }, { [key("rate")]: "1Gi" }).rate, 100);
    assert.equal(limits({ ...node, policy: "rate" }, { [key("rate")]: "7" }).rate, 7);
  });

  it("keep a policy that ends the growth of a file, where the node has one", () => {
    const policy = (of: LogLimits, asked: string) => limits(of, { [key("policy")]: asked }).policy;
    assert.equal(policy(node, "rate"), "drop");
    assert.equal(policy(node, "block"), "block");
    assert.equal(policy({ ...node, policy: "block" }, "rate"), "block");
    assert.equal(policy({ ...node, policy: "rate" }, "block"), "block");
    assert.equal(policy(none, "rate"), "rate");
  });

  it("are asked for by the container, or by the pod for one container, or for all", () => {
    const pod = { [key("hard-limit")]: "300", [key("hard-limit.web")]: "200" };
    assert.equal(limits(none, pod, { [key("hard-limit")]: "100" }).hard, 100);
    assert.equal(limits(none, pod).hard, 200);
    assert.equal(limits(none, { [key("hard-limit")]: "300" }).hard, 300);
  });

  it("are refused by name when they are none", () => {
    const bad = ["0", "-1", "many", "2Pi", ""].map((text) => ({ [key("hard-limit")]: text }));
    for (const annotations of [...bad, { [key("policy.web")]: "delete" }, { [key("rate")]: "fast" }]) {
      const [name = ""] = Object.keys(annotations);
      const isRefusal = (e: unknown) =>
        e instanceof DomainError && e.kind === "invalidArgument" && e.message.startsWith(`annotation ${name}: `);
      assert.throws(() => limits(node, annotations), isRefusal);
    }
  });
});
