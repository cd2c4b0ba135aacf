import assert from "node:assert/strict";
import { test } from "node:test";
import { DomainError } from "../lib/errors.ts";
import { imageUserIdentity, resolveUser, type UserRequest } from "./user.ts";

const PASSWD = `root:x:0:0:root:/root:/bin/sh
# a comment
alice:x:1000:1000::/home/alice:/bin/sh
1001:x:7:7::/:/bin/sh
huge:x:4294967296:0::/:/bin/sh
wrap:x:2147483648:0::/:/bin/sh
words:x:zero:0::/:/bin/sh
short:x
`;
const GROUP = `root:x:0:
alice:x:1000:
extra:x:50000:bob,alice
wheel:x:10:root
bad:x:99999999999:alice
`;

const NOBODY: UserRequest = {
  runAsUser: undefined,
  runAsGroup: undefined,
  runAsUsername: "",
  supplementalGroups: [],
  supplementalGroupsPolicy: "merge",
};

function resolve(request: Partial<UserRequest>, imageUser = "", passwd = PASSWD) {
  const { uid, gid, supplementalGroups } = resolveUser({ ...NOBODY, ...request }, imageUser, passwd, GROUP);
  return [uid, gid, supplementalGroups];
}

test("is root, in root's groups, when neither request nor image says otherwise", () => {
  assert.deepEqual(resolve({}), [0, 0, [0, 10]]);
  assert.deepEqual(resolveUser(NOBODY, "", "", ""), { uid: 0, gid: 0, supplementalGroups: [0] });
});

test("merges the image's groups or leaves them out, the primary group always in, sorted", () => {
  const request = { runAsUser: 1000, supplementalGroups: [1234] };
  assert.deepEqual(resolve(request), [1000, 1000, [1000, 1234, 50000]]);
  assert.deepEqual(resolve({ ...request, supplementalGroupsPolicy: "strict" }), [1000, 1000, [1000, 1234]]);
});

test("takes a name from passwd, an id that is not there as it is, and a group over both", () => {
  assert.deepEqual(resolve({ runAsUsername: "alice" }), [1000, 1000, [1000, 50000]]);
  assert.deepEqual(resolve({ runAsUser: 4242 }), [4242, 0, [0]]);
  assert.deepEqual(resolve({ runAsUser: 4242, runAsGroup: 5 }), [4242, 5, [5]]);
});

test("reads every form of an image's user", () => {
  assert.deepEqual(resolve({}, "alice"), [1000, 1000, [1000, 50000]]);
  assert.deepEqual(resolve({}, "1000"), [1000, 1000, [1000, 50000]]);
  assert.deepEqual(resolve({}, "alice:extra"), [1000, 50000, [50000]]);
  assert.deepEqual(resolve({}, "9:10"), [9, 10, [10]]);
  assert.deepEqual(resolve({}, ":10"), [0, 10, [10]]);
  assert.deepEqual(imageUserIdentity("alice:extra"), { uid: undefined, username: "alice" });
  assert.deepEqual(imageUserIdentity("9:10"), { uid: 9, username: "" });
});

test("never takes digits for a name, nor a name for digits", () => {
  assert.deepEqual(resolve({}, "1001"), [1001, 0, [0]]);
  assert.deepEqual(resolve({ runAsUsername: "1001" })[0], 7);
  for (const user of ["+5", "0x5", "5 ", "-1", "alice:x:y", "bob", "alice:nogroup"]) {
    assert.throws(() => resolve({}, user), DomainError, user);
  }
  assert.throws(() => resolve({ runAsUsername: "1000" }), /no entry/);
});

test("takes no number that is none for a name, even where the image's passwd has it", () => {
  const passwd = "-1:x:0:0::/:/bin/sh\n+5:x:0:0::/:/bin/sh\n";
  for (const user of ["-1", "+5"]) {
    assert.throws(() => resolve({}, user, passwd), /neither an id nor a name/, user);
    assert.throws(() => resolve({ runAsUsername: user }, "", passwd), /neither an id nor a name/, user);
  }
});

test("refuses ids that would wrap round to another user", () => {
  for (const user of ["4294967296", "2147483648", "99999999999999999999", "0:4294967296", "huge", "wrap", "words"]) {
    assert.throws(() => resolve({}, user), DomainError, user);
  }
  for (const id of [-1, 2 ** 31, 2 ** 32, 1.5, Number.NaN]) {
    assert.throws(() => resolve({ runAsUser: id }), /run_as_user/);
    assert.throws(() => resolve({ runAsUser: 1, runAsGroup: id }), /run_as_group/);
    assert.throws(() => resolve({ supplementalGroups: [id] }), /supplemental_groups/);
  }
});

test("refuses a group without a user and two users at once", () => {
  assert.throws(() => resolve({ runAsGroup: 5 }), /run_as_group is given without/);
  assert.throws(() => resolve({ runAsUser: 5, runAsUsername: "alice" }), /both given/);
});

test("yields ids in range or its own error, whatever the files hold", () => {
  const alphabet = ["root", "alice", ":", ":", ":", "\n", "0", "1000", "4294967295", "-", ",", "x", "\0", "\r", " "];
  let seed = 1;
  const next = () => (seed = (seed * 48271) % 2147483647);
  const text = () => Array.from({ length: next() % 40 }, () => alphabet[next() % alphabet.length]).join("");
  for (let round = 0; round < 20_000; round++) {
    const request = { ...NOBODY, runAsUsername: round % 3 === 0 ? "alice" : "" };
    try {
      const user = resolveUser(request, round % 3 === 1 ? text() : "", text(), text());
      const ids = [user.uid, user.gid, ...user.supplementalGroups];
      assert.ok(ids.every((id) => Number.isInteger(id) && id >= 0 && id < 2 ** 31));
      assert.ok(user.supplementalGroups.includes(user.gid));
    } catch (error) {
      assert.ok(error instanceof DomainError, String(error));
    }
  }
});
