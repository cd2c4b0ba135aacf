import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

/** Unmounts everything below a folder, the folder's own mount not included. */
export async function unmountBelow(folder: string): Promise<void> {
  const table = await readFile("/proc/self/mountinfo", "utf8");
  const points = table.split("\n").map((line) => line.split(" ")[4] ?? "");
  for (const point of points.filter((path) => path.startsWith(`${folder}/`)).reverse()) {
    // Some are mounted twice and go together, by propagation.
    await run("umount", ["--lazy", point]).catch(() => {});
  }
}
