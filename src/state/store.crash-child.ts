/** Run by store.test.ts: commits pairs of rows, prints what became durable, and is killed at its k-th commit. */
import { subscribe } from "node:diagnostics_channel";
import { writeSync } from "node:fs";
import { open } from "./store.fixture.ts";

const [root = "", killAt = ""] = process.argv.slice(2);
let commits = 0;
subscribe("nacelle.step", () => {
  commits += 1;
  if (commits === Number(killAt)) process.kill(process.pid, "SIGKILL");
});

const store = open(root);
const rows = store.table<{ readonly pair: string }, { readonly serial: number }>("sandboxes");
for (let serial = rows.size; ; serial += 1) {
  await store.save([
    rows.insert(`a${serial}`, { pair: `b${serial}` }, { serial }),
    rows.insert(`b${serial}`, { pair: `a${serial}` }, { serial }),
  ]);
  writeSync(1, `${serial}\n`);
}
