/** How the binary is built, and what its C may not use: read from the Makefile's objects, the binary, and the sources. */
import assert from "node:assert/strict";
import { globSync, mkdtempDisposableSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { describe, it } from "node:test";
import { closure, readSymbols, run, uses } from "./symbols.ts";

const native = join(import.meta.dirname, "..");
const build = join(native, "../build");
const binary = join(build, "nacelle-native");
const MOST_BYTES = 1_200_000;

run("make", "-s", "-C", native);
const sources = globSync("src/*.c", { cwd: native }).sort();
const objects = sources.map((source) => join(build, "native", `${basename(source, ".c")}.o`));
const symbols = objects.map(readSymbols);

describe("the binary", () => {
  it("is static and position-independent, with all relocations done and read-only, and no executable stack", () => {
    const text = run("readelf", "-hldW", binary);
    assert.match(text, /Type:\s+DYN/);
    assert.match(text, /FLAGS_1\).*NOW PIE/);
    assert.match(text, /BIND_NOW/);
    assert.match(text, /GNU_RELRO/);
    assert.match(text, /GNU_STACK(\s+0x0+){5}\s+RW\s/);
    assert.doesNotMatch(text, /INTERP|NEEDED|TEXTREL| RWE /);
  });

  it(`has at most ${MOST_BYTES} bytes`, () => {
    assert.ok(statSync(binary).size <= MOST_BYTES, `${statSync(binary).size} bytes`);
  });

  it("is hardened in each of its objects", () => {
    const switches = ["-fstack-protector-strong", "-fstack-clash-protection", "-ftrivial-auto-var-init=zero", "-fPIE"];
    if (process.arch === "x64") switches.push("-fcf-protection=full");
    for (const file of objects) {
      const used = run("readelf", "-p", ".GCC.command.line", file);
      for (const one of switches) assert.ok(used.includes(` ${one} `), `${file}: ${one}`);
    }
    // Macros leave no such trace. Where the size of a buffer is known the checked functions are in use.
    assert.ok(symbols.some(({ wants }) => wants.has("__memcpy_chk")));
    assert.match(run("make", "-n", "-B", "-C", native), /-D_FORTIFY_SOURCE=3 .*-Werror|-Werror .*-D_FORTIFY_SOURCE=3/);
  });
});

const OUTSIDE = /^(system|popen|execlp?e?|execvp?|execvpe|wordexp|posix_spawnp?)$/;
const DYING = /^(abort|__assert_fail|exit|quick_exit|errx?|raise)$/;
const UNBOUNDED = /^(v?sprintf|strn?cpy|strn?cat|strtok|stpcpy|gets|tmpnam|mktemp)$/;
const NAMES = /^(get(pw|gr|sp|serv|proto)\w+|gethost(by|ent)\w*|getaddrinfo|getnameinfo|initgroups|getlogin\w*)$/;
const LOADED = /^(dl(open|sym|mopen)|setlocale|newlocale|uselocale|iconv\w*|nl_langinfo|gettext|syslog|openlog)$/;
const INHERITED = /^(pipe|dup|accept|creat|epoll_create|inotify_init)$/;

describe("no role", () => {
  it("starts a shell, ends by itself with a message, or fills a buffer whose size it does not say", () => {
    for (const never of [OUTSIDE, DYING, UNBOUNDED]) assert.deepEqual(uses(symbols, never), []);
  });

  it("asks for users, hosts or locales, or loads code", () => {
    for (const never of [NAMES, LOADED]) assert.deepEqual(uses(symbols, never), []);
  });

  it("opens a descriptor that what is executed would inherit", () => {
    assert.deepEqual(uses(symbols, INHERITED), []);
    const inherited = sources.flatMap((source) => inheritable(readFileSync(join(native, source), "utf8")));
    assert.deepEqual(inherited, []);
  });

  it("could do so unseen", () => {
    using folder = mkdtempDisposableSync(join(tmpdir(), "nacelle-build-"));
    const source = join(folder.path, "planted.c");
    const text = `#include <pwd.h>
      #include <stdlib.h>
      #include <fcntl.h>
      void planted(char *to, const char *from, unsigned mode) {
        char *strcpy(char *, const char *);
        if (!getpwnam(from) && system(from) && open(from, O_RDONLY /* O_CLOEXEC */, (mode)) < 0) abort();
        strcpy(to, from);
      }`;
    writeFileSync(source, text);
    run("gcc", "-O0", "-fno-builtin", "-w", "-c", "-o", `${source}.o`, source);
    const planted = [readSymbols(`${source}.o`)];
    for (const never of [OUTSIDE, DYING, UNBOUNDED, NAMES]) assert.equal(uses(planted, never).length, 1, never.source);
    assert.deepEqual(
      inheritable(text).map((call) => call.slice(0, 9)),
      ["open(from"],
    );
  });
});

describe("the monitor", () => {
  const monitor = closure(symbols, "monitor_main");

  it("is made of these parts and of nothing that performs operations or unpacks", () => {
    const names = monitor.map(({ object }) => object);
    for (const part of ["monitor", "monitor-container", "log", "record", "spawn"])
      assert.ok(names.includes(part), part);
    assert.deepEqual(
      names.filter((name) => /^(launcher|operation|unpack|stats|main|pause|probe)/.test(name)),
      [],
    );
  });

  it("allocates nothing but the replies that it keeps", () => {
    assert.deepEqual(
      uses(monitor, /^(malloc|calloc|realloc|reallocarray|strn?dup|v?asprintf|getline|fopen|fdopen|sbrk)$/),
      ["monitor-request: malloc"],
    );
  });

  it("reads what containers say by lengths alone", () => {
    const payload = monitor.filter(({ object }) =>
      /^((log|pump|ring).*|monitor-(output|attach|input|connection|exec))$/.test(object),
    );
    assert.ok(payload.length > 4);
    // The path of a log is no payload.
    const allowed = /: (strrchr|strerror)$/;
    assert.deepEqual(
      uses(payload, /^(str\w+|sscanf|atoi|fgets|puts|f?printf)$/).filter((use) => !allowed.test(use)),
      [],
    );
  });
});

/** Calls that make a descriptor without CLOEXEC. */
function inheritable(source: string): string[] {
  const makers =
    /\b(open|openat|socket|socketpair|pipe2|accept4|epoll_create1|signalfd|timerfd_create|eventfd|memfd_create|open_tree|fsopen|fsmount|recvmsg|fopen|setmntent|dup3|inotify_init1)\s*\(/g;
  const text = source.replace(/\/\*[\s\S]*?\*\//g, "");
  return [...text.matchAll(makers)]
    .map(({ index }) => callAt(text, index))
    .filter((call) => !/CLOEXEC|"[rwa]\+?e"/.test(call));
}

/** A call from its name to its closing parenthesis. */
function callAt(text: string, start: number): string {
  let depth = 0;
  for (let at = text.indexOf("(", start); at < text.length; at++) {
    if (text[at] === "(") depth += 1;
    if (text[at] === ")") depth -= 1;
    if (depth === 0) return text.slice(start, at + 1);
  }
  return text.slice(start);
}
