import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { DomainError } from "../lib/errors.ts";
import type { JsonObject } from "./json-object.ts";
import { convertResult, parseResult, parseResultText } from "./result.ts";

const interfaces = [
  { name: "cni0", mac: "aa:bb" },
  { name: "veth1" },
  { name: "eth0", mac: "cc:dd", sandbox: "/run/netns/x" },
  { name: "net1", sandbox: "/run/netns/x" },
];
const v6 = { address: "FD00::2/64", interface: 2 };
const v4 = { address: "10.1.2.3/24", gateway: "10.1.2.1", interface: 2 };

describe("parseResult", () => {
  const ipsOf = (ips: readonly object[], preferred: "ipv4" | "ipv6" = "ipv4") =>
    parseResult({ cniVersion: "1.0.0", interfaces, ips }, "eth0", preferred).ips;

  it("gives the sandbox's addresses, IPv4 first unless told otherwise", () => {
    assert.deepEqual(ipsOf([v6, v4]), ["10.1.2.3", "fd00::2"]);
    assert.deepEqual(ipsOf([v4, v6], "ipv6"), ["fd00::2", "10.1.2.3"]);
  });
  it("leaves out addresses of the host and of further interfaces, and repeats none", () => {
    const others = [
      { address: "10.9.9.9/24", interface: 0 },
      { address: "10.8.8.8/24", interface: 3 },
    ];
    assert.deepEqual(ipsOf([...others, v4, v4]), ["10.1.2.3"]);
  });
  it("takes those of another interface in the sandbox where the named one has none", () => {
    assert.deepEqual(ipsOf([{ address: "10.8.8.8/24", interface: 3 }]), ["10.8.8.8"]);
  });
  it("takes addresses that name no interface", () => {
    assert.deepEqual(parseResult({ ips: [{ address: "10.0.0.2/8" }] }, "eth0", "ipv4").ips, ["10.0.0.2"]);
  });
  it("reads the DNS part", () => {
    const { dns } = parseResult({ dns: { nameservers: ["10.0.0.1"], search: ["a.b"] } }, "eth0", "ipv4");
    assert.deepEqual(dns, { nameservers: ["10.0.0.1"], domain: "", search: ["a.b"], options: [] });
  });

  const bad: readonly (readonly [JsonObject, RegExp])[] = [
    [{ ips: {} }, /^ips of the result is not a list of objects$/],
    [{ ips: [1] }, /^ips of the result is not a list of objects$/],
    [{ ips: Array(257).fill(v4) }, /more than 256 entries$/],
    [{ ips: [{ address: "10.0.0.1" }] }, /^ips\[0\].address "10.0.0.1" of the result is not an address/],
    [{ ips: [{ address: "10.0.0.1/33" }] }, /not an address with a prefix length$/],
    [{ ips: [{ address: "10.0.0.1/8/8" }] }, /not an address with a prefix length$/],
    [{ ips: [{}] }, /^ips\[0\].address null/],
    [{ ips: [{ address: "10.0.0.1/8", interface: 4 }], interfaces }, /^ips\[0\].interface 4 of the result names no/],
    [{ ips: [{ address: "10.0.0.1/8", interface: "length" }], interfaces }, /names no interface$/],
    [{ interfaces: [{ name: 5 }] }, /^interfaces\[0\].name of the result is not a string/],
    [{ dns: [] }, /^dns of the result is not an object$/],
    [{ dns: { nameservers: "x" } }, /^dns.nameservers of the result is not a list/],
  ];
  for (const [raw, message] of bad) {
    it(`refuses ${JSON.stringify(raw).slice(0, 80)}`, () => {
      assert.throws(
        () => parseResult(raw, "eth0", "ipv4"),
        (error) => error instanceof DomainError && message.test(error.message),
      );
    });
  }
});

describe("parseResultText", () => {
  it("puts a result of another version into the one of the list", () => {
    const old = JSON.stringify({ cniVersion: "0.4.0", ips: [{ version: "4", address: "10.0.0.2/8" }] });
    assert.deepEqual(parseResultText(old, "1.0.0"), { cniVersion: "1.0.0", ips: [{ address: "10.0.0.2/8" }] });
    assert.deepEqual(parseResultText(old, "0.4.0"), JSON.parse(old));
  });
  it("takes a result without a version as one of the list's", () => {
    assert.deepEqual(parseResultText("{}", "0.3.1"), { cniVersion: "0.3.1" });
  });
  it("refuses a version that nobody has published", () => {
    assert.throws(
      () => parseResultText('{"cniVersion":"7.0.0"}', "1.0.0"),
      /cniVersion "7.0.0" of the result is unknown/,
    );
  });
});

describe("convertResult", () => {
  it("adds the family that versions before 1.0.0 require", () => {
    const raw = { cniVersion: "1.0.0", ips: [{ address: "10.0.0.2/8" }, { address: "fd00::2/64" }], routes: [] };
    assert.deepEqual(convertResult(raw, "0.4.0"), {
      cniVersion: "0.4.0",
      ips: [
        { version: "4", address: "10.0.0.2/8" },
        { version: "6", address: "fd00::2/64" },
      ],
      routes: [],
    });
  });
});
