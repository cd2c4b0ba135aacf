import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DomainError } from "../lib/errors.ts";
import { candidates } from "./image.ts";
import { formatReference, parseReference } from "./reference.ts";

const digest = `sha256:${"0123456789abcdef".repeat(4)}`;

describe("an image reference", () => {
  for (const [text, normalised] of [
    ["busybox", "docker.io/library/busybox:latest"],
    ["busybox:1.36", "docker.io/library/busybox:1.36"],
    ["team/app", "docker.io/team/app:latest"],
    ["docker.io/busybox", "docker.io/library/busybox:latest"],
    ["index.docker.io/library/busybox", "docker.io/library/busybox:latest"],
    ["localhost/app", "localhost/app:latest"],
    ["localhost:5000/app:v1", "localhost:5000/app:v1"],
    ["Registry.Example/app", "Registry.Example/app:latest"],
    ["[::1]:5000/app", "[::1]:5000/app:latest"],
    ["registry.k8s.io/e2e-test-images/agnhost:2.1", "registry.k8s.io/e2e-test-images/agnhost:2.1"],
    [`gcr.io/a/b@${digest}`, `gcr.io/a/b@${digest}`],
    [`gcr.io/a/b:tag@${digest}`, `gcr.io/a/b@${digest}`],
    ["a.b/c__d/e-f.g:A_b-C.9", "a.b/c__d/e-f.g:A_b-C.9"],
  ] as const) {
    it(`${text.slice(0, 50)} is ${normalised.slice(0, 50)}`, () => {
      assert.equal(formatReference(parseReference(text)), normalised);
    });
  }

  for (const [text, why] of [
    ["", /is empty/],
    ["UPPER", /upper-case/],
    ["a/../b", /invalid repository name/],
    ["../b", /invalid/],
    ["a//b", /invalid repository name/],
    ["/a", /invalid/],
    ["a:", /invalid tag ""/],
    ["a:.x", /invalid tag/],
    [`a:${"t".repeat(129)}`, /invalid tag/],
    ["a@sha256:abc", /digest/],
    [`a@sha512:${"a".repeat(128)}`, /digest/],
    [`a@${digest.toUpperCase()}`, /digest/],
    [`a@${digest}@${digest}`, /digest/],
    ["a b", /invalid repository name/],
    ["a\n", /invalid repository name/],
    ["host:99999999/a", /invalid host/],
    ["-host.x/a", /invalid host/],
    ["http://host/a", /invalid/],
    [`x.y/${"a".repeat(252)}`, /longer than 255/],
    ["a".repeat(2000), /longer than 1024/],
  ] as const) {
    it(`${JSON.stringify(text.slice(0, 40))} is refused`, () => {
      assert.throws(
        () => parseReference(text),
        (error) => error instanceof DomainError && error.kind === "invalidArgument" && why.test(error.message),
      );
    });
  }

  it("without a domain is looked for in search registries, where an operator has set some", () => {
    const names = (text: string, search?: string[]) => candidates(text, search).map(formatReference);
    assert.deepEqual(names("app", ["a.example", "b.example"]), ["a.example/app:latest", "b.example/app:latest"]);
    assert.deepEqual(names("team/app:1", ["a.example"]), ["a.example/team/app:1"]);
    assert.deepEqual(names("localhost/app", ["a.example"]), ["localhost/app:latest"]);
    assert.deepEqual(names("app"), ["docker.io/library/app:latest"]);
    assert.deepEqual(names("app", []), ["docker.io/library/app:latest"]);
  });
});
