import assert from "node:assert/strict";
import test from "node:test";
import { parseReport } from "./junit.ts";

const report = `<testsuite name="CRI validation">
  <testcase name="[BeforeSuite]" status="passed" time="0"></testcase>
  <testcase name="[It] [k8s.io] Image Uid|Username &lt;empty&gt; &#39;x&#39; &amp;lt;" classname="c" status="passed" time="1.5"><system-err>noise</system-err></testcase>
  <testcase name="[It] [k8s.io] Skipped" status="skipped" time="0"><skipped message="skipped"/></testcase>
  <testcase name="[It] [k8s.io] Broken" status="failed" time="2"><failure message="m" type="failed">why &#xA;so</failure><system-err>log</system-err></testcase>
  <testcase name="[AfterSuite]" status="panicked" time="0"><error message="boom">boom</error></testcase>
</testsuite>`;

test("a report gives every spec once, with its name and reason decoded, and a failed tear-down", () => {
  assert.deepEqual(
    parseReport(report).map(({ name, status, output }) => [name, status, output]),
    [
      ["Image Uid|Username <empty> 'x' &lt;", "passed", ""],
      ["Skipped", "skipped", "\n"],
      ["Broken", "failed", "why \nso\nlog"],
      ["[AfterSuite]", "panicked", "boom\n"],
    ],
  );
});
